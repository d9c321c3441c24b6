"""Effect of each optimisation of the two trainings: seconds per step, peak memory, and whether the loss stays the same.

Run with `--help`; README.md explains the comparison.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from cof.artefacts.parquet import read_table
from cof.config.flow import CofSettings, VelocitySettings
from cof.config.motion import RegistrationSettings
from cof.labels.teacher import Teacher
from cof.models.base import Example
from cof.models.data import Artefacts
from cof.models.flow import training as flow_training
from cof.models.flow.objective import flow_matching
from cof.motion import training as toppr_training
from cof.motion.dataset import find_subjects, open_subject
from cof.training.run import Run

WARM = 2
HEARTS = 16

FLOW = {"batch": 8, "phases": 8, "modes": 32}
FLOW_VARIANTS: dict[str, dict[str, Any]] = {
    "64 hearts, one phase each, phase in every block": {"batch": 64, "phases": 1, "modes": 0},
    "8 hearts, 8 phases of one encoding": {"modes": 0},
    "the same with 32 modes": {},
    "32 modes, blocks computed again": {"recompute": True},
    "32 modes, two hearts at a time": {"micro_batch": 2},
    "32 modes, compiled": {"compile": True},
}
TOPPR_VARIANTS: dict[str, dict[str, Any]] = {
    "teacher sees all slices": {"seg_slices": "all"},
    "teacher sees 4 slices": {},
    "4 slices, one pair at a time": {"micro_batch": 1},
    "without the teacher": {"lambda_seg": 0.0},
    "4 slices, compiled": {"compile": True},
}
# Rows whose loss must be that of another: they are the same computation in another order.
ALIKE = {
    "32 modes, blocks computed again": "the same with 32 modes",
    "32 modes, two hearts at a time": "the same with 32 modes",
    "4 slices, one pair at a time": "teacher sees 4 slices",
    "32 modes, compiled": "the same with 32 modes",
    "4 slices, compiled": "teacher sees 4 slices",
}

Fit = Callable[[int, Path], float]


def flow(results: Path, changes: dict[str, Any]) -> Fit:
    """Return a training of the velocity field on the first hearts, a function from iterations and checkpoint to mean
    loss.
    """
    options = FLOW | changes
    field = VelocitySettings(modes=options.pop("modes"))
    cohort = read_table(results / "cohort/subjects.parquet")
    places = [sorted((results / stage).glob("b*")) for stage in ("grid", "labels", "fields/toppr")]
    artefacts = Artefacts.of(sorted((results / "beats").glob("*.parquet")), *places)
    opened = (
        artefacts.open(name, with_displacement=True, with_cine=False)
        for name in sorted(cohort.loc[cohort["split"] == "train", "subject"])[:HEARTS]
    )
    hearts: list[Example] = [heart for heart in opened if heart is not None]

    def fit(iterations: int, checkpoint: Path) -> float:
        settings = CofSettings(field=field, iterations=iterations, checkpoint_every=iterations, **options)
        _, log = flow_training.fit(hearts, [], settings, 0, Run(checkpoint, None, 1, "flow"), flow_matching(0))
        return float(log["train_loss"].iloc[-1])

    return fit


def toppr(results: Path, changes: dict[str, Any]) -> Fit:
    """Return a training of TOPPR on the first hearts: a function from iterations and checkpoint to the mean loss."""
    places = [sorted((results / stage).glob("b*")) for stage in ("grid", "cine", "labels")]
    hearts = [open_subject(files) for files in find_subjects(results / "cohort/subjects.parquet", *places)[:HEARTS]]
    teacher = Teacher.load(results / "labeller")

    def fit(iterations: int, checkpoint: Path) -> float:
        settings = RegistrationSettings(iterations=iterations, **changes)
        _, log = toppr_training.fit(hearts, settings, teacher, 0, Run(checkpoint, None, 1, "toppr"))
        return float(log["loss"].mean())

    return fit


def measure(fit: Fit, steps: int) -> dict[str, float]:
    """Return CPU and wall seconds per step, peak memory in MiB above that before the training, and the mean loss."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as scratch:
        fit(WARM, Path(scratch, "warm.pt"))
        took = []
        for iterations in (WARM, WARM + steps):
            cpu, wall = time.process_time(), time.perf_counter()
            loss = fit(iterations, Path(scratch, f"{iterations}.pt"))
            took.append((time.process_time() - cpu, time.perf_counter() - wall))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (few_cpu, few_wall), (many_cpu, many_wall) = took
    return {
        "cpu": (many_cpu - few_cpu) / steps,
        "wall": (many_wall - few_wall) / steps,
        "memory": (after - before) / 1024,
        "loss": loss,
    }


def main() -> None:
    """Measure each variant in a process of its own, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, required=True, help="results of a run, such as results/bench")
    parser.add_argument("--steps", type=int, default=6, help="measured steps of each variant")
    parser.add_argument("--only", nargs=2, metavar=("STAGE", "VARIANT"), help="measure one variant, and print JSON")
    arguments = parser.parse_args()
    stages = {"flow": (flow, FLOW_VARIANTS), "toppr": (toppr, TOPPR_VARIANTS)}
    if arguments.only:
        stage, variant = arguments.only
        make, variants = stages[stage]
        print(json.dumps(measure(make(arguments.results, variants[variant]), arguments.steps)))
        return
    print(f"{torch.get_num_threads()} threads, {arguments.steps} steps\n")
    for stage, (_, variants) in stages.items():
        print(f"| {stage} | CPU s per step | wall s per step | steps per minute | peak memory, MiB | loss differs by |")
        print("|---|---:|---:|---:|---:|---:|")
        found: dict[str, dict[str, float]] = {}
        for variant in variants:
            command = [sys.executable, __file__, "--results", str(arguments.results), "--steps", str(arguments.steps)]
            done = subprocess.run([*command, "--only", stage, variant], check=True, stdout=subprocess.PIPE, text=True)
            row = found[variant] = json.loads(done.stdout.splitlines()[-1])
            alike = found[ALIKE[variant]]["loss"] if variant in ALIKE else None
            differs = "–" if alike is None else f"{abs(row['loss'] / alike - 1):.1e}"
            print(
                f"| {variant} | {row['cpu']:.2f} | {row['wall']:.2f} | {60 / row['wall']:.0f} | {row['memory']:.0f} "
                f"| {differs} |",
                flush=True,
            )
        print()


if __name__ == "__main__":
    main()
