"""How much of what hearts differ in, their ejection fraction, does a registration keep, and what does refinement bring?

Run with `--help`; README.md tells what is compared.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from cof.cine.grid import Placement, read_grid
from cof.cine.volume import read_cine, read_labels
from cof.config import PathSettings, RefinementSettings
from cof.labels import STRUCTURES
from cof.metrics.statistics import pearson, r2, r2_centred
from cof.metrics.truth import Truth
from cof.motion.cycle import register_cycle
from cof.motion.native import warp_native
from cof.motion.stage import load
from cof.tables import read_table

LV = STRUCTURES["LV"]


def ejected_pct(labels: np.ndarray, moved: np.ndarray) -> float:
    """EF in % of the LV of labels [Z, Y, X] at ED and after a motion."""
    return 100 * (1 - float((moved == LV).sum()) / float((labels == LV).sum()))


def carried(labels: np.ndarray, displacement: torch.Tensor, placement: Placement) -> np.ndarray:
    """Native labels [Z, Y, X] moved by one displacement [1, 3, Z, Y/2, X/2]; the largest share wins."""
    masks = np.stack([labels == value for value in (0, *STRUCTURES.values())])
    shares = warp_native(torch.from_numpy(masks), displacement, placement)[0]
    return np.array([0, *STRUCTURES.values()])[shares.argmax(0).numpy()]


def measure(results: Path, registration: str, steps: list[int], step_mm: float, split: str) -> dict[str, np.ndarray]:
    """For each way to find it, the EF of every subject beside the exact one: [N, 2]."""
    trained = load(results / "registrations" / registration)
    cohort = read_table(results / "cohort/subjects.parquet")
    found: dict[str, list[tuple[float, float]]] = {}
    chosen = cohort[cohort["split"] == split]
    for name, batch in zip(chosen["subject"], chosen["batch"]):
        path = results / "grid" / batch / f"{name}.nii"
        if not path.is_file():
            continue
        frames, placement, _ = read_grid(path)
        native = read_cine(results / "cine" / batch / f"{name}.nii")
        labels = read_labels(results / "labels" / batch / f"{name}.nii.gz")
        truth = Truth.read(results / "phantom/truth", name.replace("-v", "_"), native)
        end_systole = int((truth.labels == LV).sum((1, 2, 3)).argmin())
        exact = ejected_pct(truth.labels[0], truth.labels[end_systole])

        def add(way: str, ef_pct: float, exact: float = exact) -> None:
            found.setdefault(way, []).append((ef_pct, exact))

        add("nnU-Net on the real cine", ejected_pct(labels[0], labels[end_systole]))
        pair = torch.from_numpy(frames[[0, round(end_systole / len(labels) * len(frames)) % len(frames)]])
        for count in steps:
            refinement = RefinementSettings(steps=count, step_mm=step_mm)
            settings = trained.settings.model_copy(update={"path": PathSettings(refinement=refinement)})
            cycle = register_cycle(trained.network, pair, placement.valid, settings)
            add(f"TOPPR, {count} steps", ejected_pct(labels[0], carried(labels[0], cycle.displacement[1:], placement)))
        motion = truth.on_motion_grid(placement, len(labels))
        if motion is not None:
            moved = carried(truth.labels[0], torch.from_numpy(motion[0][[end_systole]]), placement)
            add("exact motion of the exact anchor", ejected_pct(truth.labels[0], moved))
    return {way: np.array(pairs) for way, pairs in found.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, required=True, help="results of a synthetic run, such as results/bench")
    parser.add_argument("--registration", default="toppr")
    parser.add_argument("--split", default="test")
    parser.add_argument("--steps", type=int, nargs="+", default=[0, 5, 20], help="of refinement")
    parser.add_argument("--step-mm", type=float, default=1.0, help="length of a step")
    arguments = parser.parse_args()
    found = measure(arguments.results, arguments.registration, arguments.steps, arguments.step_mm, arguments.split)
    print("| EF by | n | bias | SD of the error | R2 | R2 centred | r | slope |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for way, pairs in found.items():
        error = pairs[:, 0] - pairs[:, 1]
        slope = np.polyfit(pairs[:, 1], pairs[:, 0], 1)[0]
        shares = [float(value) for value in (r2(pairs), r2_centred(pairs), pearson(pairs), slope)]
        print(f"| {way} | {len(pairs)} | {error.mean():+.2f} | {error.std():.2f} |", *(f"{v:.2f} |" for v in shares))


if __name__ == "__main__":
    main()
