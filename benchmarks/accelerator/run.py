"""Speed and memory of both trainings and of generation on an accelerator: steps per second, peak memory, ms per heart.

Run with `--help`; README.md explains the measurements.
"""

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cof import config
from cof.artefacts.parquet import read_table
from cof.cine.grid import read_grid
from cof.config.flow import CofSettings
from cof.config.motion import RegistrationSettings
from cof.labels.teacher import Teacher
from cof.models.base import Example
from cof.models.data import Artefacts
from cof.models.flow import training as flow_training
from cof.models.flow.cof import CofModel
from cof.models.flow.objective import flow_matching
from cof.models.flow.velocity import VelocityField
from cof.motion import training as toppr_training
from cof.motion.cycle import register_cycle
from cof.motion.dataset import find_subjects, open_subject
from cof.motion.pairs import TrainingSubject
from cof.motion.toppr import Toppr
from cof.training.run import Run
from cof.twins.generation import native_frames

Fit = Callable[[int, Path], float]

REPOSITORY = Path(__file__).parents[2]
PAPER = (REPOSITORY / "config.yaml", REPOSITORY / "workflow/config/paper.yaml")
WARM = 3
SMALL = {"channels": (16, 32, 64), "blocks": 1, "embedding": 128, "ecg_channels": (32, 64, 128), "attention": False}
MODES = {"modes": 32}

TOPPR: dict[str, dict[str, Any]] = {
    "as the paper's, single precision": {},
    "as the paper's, bf16": {"precision": "bf16"},
    "bf16, teacher sees 4 slices": {"precision": "bf16", "seg_slices": 4},
}
FLOW: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "as the paper's, single precision": ({}, {}),
    "as the paper's, bf16": ({"precision": "bf16"}, {}),
    "bf16, blocks computed again": ({"precision": "bf16", "recompute": True}, {}),
    "16-32-64, bf16, 8 phases, 32 modes": ({"precision": "bf16", "phases": 8}, SMALL | MODES),
    "the same, compiled": ({"precision": "bf16", "phases": 8, "compile": True}, SMALL | MODES),
}
GENERATION: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "as the paper's: phase in every block, Simpson": ({}, {}),
    "the paper's sizes, 32 modes, 12 harmonics": (MODES, {"method": "fourier"}),
    "16-32-64, 32 modes, 12 harmonics": (SMALL | MODES, {"method": "fourier"}),
}


def synchronise() -> None:
    """Wait for the device, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@contextmanager
def peak() -> Iterator[Callable[[], tuple[float, float]]]:
    """Return the peak GiB that tensors filled and that the device reserved, since this call began.

    Without a device what the process has gained is both: right for the first of its rows alone (`--only`).
    """
    if not torch.cuda.is_available():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        yield lambda: 2 * ((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20,)
        return
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    yield lambda: (torch.cuda.max_memory_allocated() / 2**30, torch.cuda.max_memory_reserved() / 2**30)


def measure(fit: Fit, steps: int, batch: int) -> str:
    """Return the cells of a training: steps and pairs per second of wall time with reading, memory, and loss."""
    try:
        with peak() as used, tempfile.TemporaryDirectory() as scratch:
            fit(WARM, Path(scratch, "warm.pt"))
            took = []
            for iterations in (WARM, WARM + steps):
                begun = time.perf_counter()
                loss = fit(iterations, Path(scratch, f"{iterations}.pt"))
                synchronise()
                took.append(time.perf_counter() - begun)
            filled, held = used()
    except torch.cuda.OutOfMemoryError:
        return "– | – | more than there is | – | –"
    rate = steps / (took[1] - took[0])
    return f"{rate:.2f} | {rate * batch:.0f} | {filled:.1f} | {held:.1f} | {loss:.4g}"


def batches(results: Path, *stages: str) -> list[list[Path]]:
    """Return the folders of all batches of some stages."""
    return [sorted((results / stage).glob("b*")) for stage in stages]


def cines(results: Path) -> list[TrainingSubject]:
    """Return a run's training hearts in the form that TOPPR learns from."""
    files = find_subjects(results / "cohort/subjects.parquet", *batches(results, "grid", "cine", "labels"))
    return [open_subject(subject) for subject in files]


def examples(results: Path) -> list[Example]:
    """Return a run's training hearts with their registered motion, in the form that the flow learns from."""
    cohort = read_table(results / "cohort/subjects.parquet")
    tables = sorted((results / "beats").glob("*.parquet"))
    artefacts = Artefacts.of(tables, *batches(results, "grid", "labels", "fields/toppr"))
    opened = (
        artefacts.open(name, with_displacement=True, with_cine=False)
        for name in sorted(cohort.loc[cohort["split"] == "train", "subject"])
    )
    return [heart for heart in opened if heart is not None]


def toppr(hearts: list[TrainingSubject], teacher: Teacher, settings: RegistrationSettings) -> Fit:
    """Return a training of TOPPR: a function from iterations and checkpoint to the mean loss."""

    def fit(iterations: int, checkpoint: Path) -> float:
        changes = {"iterations": iterations, "checkpoint_every": iterations}
        run = Run(checkpoint, None, 1, "toppr")
        _, log = toppr_training.fit(hearts, settings.model_copy(update=changes), teacher, 0, run)
        return float(log["loss"].mean())

    return fit


def flow(hearts: list[Example], settings: CofSettings) -> Fit:
    """Return a training of the velocity field: a function from iterations and checkpoint to the mean loss."""

    def fit(iterations: int, checkpoint: Path) -> float:
        changes = {"iterations": iterations, "checkpoint_every": iterations}
        run = Run(checkpoint, None, 1, "flow")
        settled = settings.model_copy(update=changes)
        _, log = flow_training.fit(hearts, [], settled, 0, run, flow_matching(settings.displacement_weight))
        return float(log["train_loss"].iloc[-1])

    return fit


def milliseconds(work: Callable[[], object], rounds: int) -> float:
    """Return the median wall time in ms, after two runs that do not count."""
    took = []
    for number in range(rounds + 2):
        begun = time.perf_counter()
        work()
        synchronise()
        if number >= 2:
            took.append(1000 * (time.perf_counter() - begun))
    return statistics.median(took)


def generation(heart: Example, anchor: np.ndarray, paper: CofSettings, frames: int, rounds: int) -> None:
    """Print how long a warm model takes for the motion of a heart, and for its native frames from the native anchor."""
    shape = " x ".join(map(str, anchor.shape))
    print(f"\n| generation, {frames} frames of {shape} | motion, ms | native frames, ms | peak, GiB |")
    print("|---|---:|---:|---:|")
    for name, (field, ode) in GENERATION.items():
        settings = paper.model_copy(
            update={
                "field": paper.field.model_copy(update=field),
                "ode": paper.ode.model_copy(update={"closure": "project"} | ode),
            }
        )
        torch.manual_seed(0)
        network = VelocityField(settings.field)
        last = network.modes.maps if settings.field.modes else network.head.last
        torch.nn.init.normal_(last.weight, std=0.02)
        network.sigma.fill_(20.0)
        model = CofModel(network, settings)
        with peak() as used:
            motion = milliseconds(lambda m=model: m.generate(heart, frames, 0), rounds)
            made = model.generate(heart, frames, 0)
            placed = milliseconds(lambda g=made: native_frames(g, anchor, heart.placement, frames), rounds)
            print(f"| {name} | {motion:.0f} | {placed:.0f} | {used()[0]:.2f} |", flush=True)


def registration(results: Path, settings: RegistrationSettings, rounds: int) -> None:
    """Print how long the registration of a whole cycle takes."""
    path = sorted(results.glob("grid/b*/*.nii"))[0]
    frames, placement, _ = read_grid(path)
    torch.manual_seed(0)
    network = Toppr.of(settings, placement.spacing_mm).eval()
    if torch.cuda.is_available():
        network = network.cuda()
    images = torch.from_numpy(frames)
    took = milliseconds(lambda: register_cycle(network, images, placement.valid, settings), rounds)
    print(f"\nA cycle of {len(frames)} frames registered in {took:.0f} ms.")


def main() -> None:
    """Run the measurements and print the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, required=True, help="results of a run at the scale to measure")
    parser.add_argument("--steps", type=int, default=20, help="measured steps of each training")
    parser.add_argument("--rounds", type=int, default=10, help="measured generations of each model")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--only", nargs=2, metavar=("STAGE", "ROW"), help="one row of toppr or flow, and nothing else")
    arguments = parser.parse_args()
    settings = config.load(*PAPER)
    if torch.cuda.is_available():
        device = torch.cuda.get_device_properties(0)
        print(f"{device.name}, {device.total_memory / 2**30:.0f} GiB; torch {torch.__version__}")
    else:
        print(f"no accelerator: {torch.get_num_threads()} threads; torch {torch.__version__}")
    head = "steps a second | {} a second | tensors, GiB | held, GiB | loss |\n|---|---:|---:|---:|---:|---:|"

    paper = settings.registrations["toppr"].model_copy(update={"batch": arguments.batch})
    cof = settings.models["cof"]
    assert isinstance(cof, CofSettings)
    cof = cof.model_copy(update={"batch": arguments.batch})
    stage, row = arguments.only or (None, None)
    seen, hearts = cines(arguments.results), examples(arguments.results)
    if not seen or not hearts:
        raise SystemExit(f"{arguments.results}: no training heart with cine, labels and registered motion")
    if stage is None:
        registration(arguments.results, paper, arguments.rounds)
        anchors = {heart.name: heart.native for heart in seen}
        anchor = np.array(anchors[hearts[0].subject][0])
        generation(hearts[0], anchor, cof, settings.grid.frames, arguments.rounds)

    if stage != "flow":
        print(f"\n| TOPPR, batch {arguments.batch} | {head.format('pairs')}", flush=True)
        teacher = Teacher.load(arguments.results / "labeller")
        for name, changes in TOPPR.items():
            if row in (None, name):
                fit = toppr(seen, teacher, paper.model_copy(update=changes))
                print(f"| {name} | {measure(fit, arguments.steps, arguments.batch)} |", flush=True)

    if stage != "toppr":
        print(f"\n| velocity field, batch {arguments.batch} | {head.format('hearts')}", flush=True)
        for name, (changes, field) in FLOW.items():
            if row in (None, name):
                changed = cof.model_copy(update=changes | {"field": cof.field.model_copy(update=field)})
                print(f"| {name} | {measure(flow(hearts, changed), arguments.steps, arguments.batch)} |", flush=True)


if __name__ == "__main__":
    main()
