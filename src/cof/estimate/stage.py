"""The verb that estimates the cost of a cohort: `cof estimate`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from cof import config
from cof.inputs import File
from cof.options import Seed


def estimate_cost(
    *,
    files: Annotated[
        list[Path], typer.Argument(help="Configuration files; later ones are merged over the first."), File()
    ],
    subjects: Annotated[int, typer.Option(help="Number of subjects of the cohort.")],
    gpu_factor: Annotated[
        float, typer.Option(help="Number of cores of this machine that do the work of one GPU (an assumption).")
    ] = 40.0,
    as_json: Annotated[bool, typer.Option("--json", help="JSON with the calibration instead of Markdown.")] = False,
    seed: Seed = 0,
) -> str:
    """Print core-hours, GPU-hours, bytes and files of every stage, from a short calibration on this machine.

    Raises:
        UsageError: the configuration is not valid.
    """
    chosen = config.load(*files)  # before the imports below, which take seconds

    from cof.estimate import cost
    from cof.estimate.calibration import calibrate

    calibration = calibrate(chosen, seed)
    rows = cost.estimate(chosen, subjects, calibration, gpu_factor)
    if as_json:
        typer.echo(json.dumps(cost.to_json(rows, calibration), indent=1))
    else:
        typer.echo(cost.to_markdown(rows, subjects, calibration, gpu_factor))
    whole = cost.total(rows)
    return (
        f"{subjects} subjects take {whole.core_hours:,.1f} core-hours, {whole.gpu_hours:,.1f} GPU-hours and "
        f"{whole.bytes / 1e9:,.1f} GB; docs/how-to/scale.md explains the assumptions"
    )
