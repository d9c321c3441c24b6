"""Measure how well a registration and a trained model preserve differences in ejection fraction between hearts.

Run with `--help`; README.md explains the comparison.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from cof.artefacts.parquet import read_table
from cof.cine.grid import Placement, read_grid
from cof.cine.volume import read_cine, read_labels
from cof.config.motion import PathSettings, RefinementSettings
from cof.heart.structures import STRUCTURES
from cof.models.data import Artefacts
from cof.models.trained import load as load_model
from cof.motion.cycle import register_cycle
from cof.motion.labels import warp_native_labels
from cof.motion.stage import load
from cof.tables.statistics import pearson, r2, r2_centred
from cof.truth.artefacts import Truth

LV = STRUCTURES["LV"]
REFINEMENTS = [
    RefinementSettings(),
    RefinementSettings(steps=5, step_mm=1),
    RefinementSettings(steps=20),
    RefinementSettings(steps=5, step_mm=1, control_mm=40),
]
LATE = 0.8  # a phase with little motion, where the registered displacement is mostly noise


def ejected_pct(labels: np.ndarray, moved: np.ndarray) -> float:
    """Return the EF in % of the LV of labels [Z, Y, X] at ED and after a motion."""
    return 100 * (1 - float((moved == LV).sum()) / float((labels == LV).sum()))


def carried(labels: np.ndarray, displacement: torch.Tensor, placement: Placement) -> np.ndarray:
    """Return native labels [Z, Y, X] warped by one displacement [1, 3, Z, Y/2, X/2]."""
    return warp_native_labels(torch.from_numpy(labels.astype(np.uint8)), displacement, placement)[0].numpy()


def name_of(refinement: RefinementSettings) -> str:
    """Return the printed name of a refinement."""
    if not refinement.steps:
        return "TOPPR"
    where = f"{refinement.control_mm:g} mm apart" if refinement.control_mm else "at every voxel"
    return f"TOPPR, {refinement.steps} steps of {refinement.step_mm:g} mm {where}"


def measure(
    results: Path, registration: str, models: list[Path], split: str, subjects: int | None
) -> dict[str, np.ndarray]:
    """Return every subject's EF, exact EF, and in-plane errors in mm at ES and at a late phase, by method: [N, 4]."""
    trained = load(results / "registrations" / registration)
    generators = {f"the model {path.name}": load_model(path).model for path in models}
    beats, grids, labelled = (sorted((results / stage).glob("b*")) for stage in ("beats", "grid", "labels"))
    artefacts = Artefacts.of(beats, grids, labelled, [])
    cohort = read_table(results / "cohort/subjects.parquet")
    found: dict[str, list[tuple[float, ...]]] = {}
    chosen = cohort[cohort["split"] == split].sort_values("subject").head(subjects or len(cohort))
    for name, batch in zip(chosen["subject"], chosen["batch"]):
        path = results / "grid" / batch / f"{name}.nii"
        if not path.is_file():
            continue
        frames, placement, _ = read_grid(path)
        native = read_cine(results / "cine" / batch / f"{name}.nii")
        labels = read_labels(results / "labels" / batch / f"{name}.nii.gz")
        truth = Truth.read(results / "phantom/truth", name.replace("-v", "_"), native)
        known = truth.on_motion_grid(placement, len(frames))
        if known is None:  # the exact motion is not available for a cine that was rolled
            continue
        motion, inside = known
        end_systole = int((truth.labels == LV).sum((1, 2, 3)).argmin())
        exact = ejected_pct(truth.labels[0], truth.labels[end_systole])
        at = [round(end_systole / len(labels) * len(frames)) % len(frames), round(LATE * len(frames))]

        def add(way: str, ef_pct: float, *errors: float, exact: float = exact) -> None:
            found.setdefault(way, []).append((ef_pct, exact, *(errors or (np.nan, np.nan))))

        add("nnU-Net on the real cine", ejected_pct(labels[0], labels[end_systole]))
        motions: dict[str, torch.Tensor] = {}  # at ES and late
        for refinement in REFINEMENTS:
            settings = trained.settings.model_copy(update={"path": PathSettings(refinement=refinement)})
            cycle = register_cycle(trained.network, torch.from_numpy(frames[[0, *at]]), placement.valid, settings)
            motions[name_of(refinement)] = cycle.displacement[1:]
        heart = artefacts.open(name, with_displacement=False, with_cine=False)
        for way, model in generators.items():
            motions[way] = model.generate(heart, len(frames), seed=0).displacement[at].cpu()
        for way, displacement in motions.items():
            off = (displacement.numpy() - motion[at])[:, 1:]
            errors = [float(np.linalg.norm(part, axis=0)[inside[k]].mean()) for part, k in zip(off, at)]
            add(way, ejected_pct(labels[0], carried(labels[0], displacement[:1], placement)), *errors)
        moved = carried(truth.labels[0], torch.from_numpy(motion[at[:1]]), placement)
        add("exact motion of the exact anchor", ejected_pct(truth.labels[0], moved), 0.0, 0.0)
    return {way: np.array(rows) for way, rows in found.items()}


def main() -> None:
    """Run the measurements and print the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, required=True, help="results of a synthetic run, such as results/bench")
    parser.add_argument("--registration", default="toppr")
    parser.add_argument("--model", type=Path, action="append", default=[], help="folder of a trained model that moves")
    parser.add_argument("--split", default="test")
    parser.add_argument("--subjects", type=int, help="so many of them; all without it")
    arguments = parser.parse_args()
    found = measure(arguments.results, arguments.registration, arguments.model, arguments.split, arguments.subjects)
    print("| EF by | n | bias | SD of the error | R2 | R2 centred | r | slope | error at ES, mm | late, mm |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for way, rows in found.items():
        pairs, error = rows[:, :2], rows[:, 0] - rows[:, 1]
        slope = np.polyfit(pairs[:, 1], pairs[:, 0], 1)[0]
        shares = [float(value) for value in (r2(pairs), r2_centred(pairs), pearson(pairs), slope, *rows[:, 2:].mean(0))]
        print(f"| {way} | {len(pairs)} | {error.mean():+.2f} | {error.std():.2f} |", *(f"{v:.2f} |" for v in shares))


if __name__ == "__main__":
    main()
