"""The verb that checks a configuration: `cof config`."""

import json
from pathlib import Path
from typing import Annotated

import typer
import yaml

from cof import config
from cof.inputs import File


def check_config(
    *,
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Configuration files, each merged over those before, and all over config.yaml beside Snakefile."
        ),
        File(),
    ] = None,
    schema: Annotated[bool, typer.Option(help="Print the JSON schema instead.")] = False,
) -> str | None:
    """Print a configuration with every default filled in.

    Raises:
        UsageError: the configuration is not valid.
    """
    if schema:
        typer.echo(json.dumps(config.schema(), indent=1))
        return None
    chosen, base = list(files or ()), Path("config.yaml")
    if not chosen or (Path("Snakefile").is_file() and base.is_file() and base not in chosen):
        chosen = [base, *chosen]  # as the workflow does
    parsed = config.load(*chosen)
    typer.echo(yaml.safe_dump(parsed.model_dump(mode="json"), sort_keys=False))
    laid = " ".join(str(file) for file in chosen if file != base)
    return (
        f"valid: {', '.join(map(str, chosen))}. {len(parsed.models)} models, {len(parsed.tables)} tables, results in "
        f"{parsed.results}/. To run it: snakemake --cores 2 {f'--configfile {laid} -- ' if laid else ''}all"
    )
