"""Measure the EF of labels that the exact motion of phantoms moves, against the exact labels, by several rules.

Run with `--help`; README.md explains the comparison.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from cof.cine.grid import place
from cof.config.data import GridSettings, PhantomSettings
from cof.heart.outlines import labels_within, outline_distances
from cof.heart.structures import CLASSES, STRUCTURES
from cof.metrics.overlap import dice
from cof.motion.labels import warp_labels
from cof.motion.native import native_displacement
from cof.motion.warp import warp
from cof.phantom.population import sample
from cof.phantom.stack import SLICE_DISTANCE_MM
from cof.phantom.stage import scan_heart
from cof.truth.artefacts import Truth

Spacing = tuple[float, float, float]
Arm = Literal["population", "enriched"]
# Stacks of 10 slices reach above the base; those of 8 begin below it in some hearts.
COHORTS: list[tuple[Arm, int, int]] = [("population", 10, 10), ("enriched", 10, 4), ("population", 8, 4)]
SHIFTS_MM = (1.5, 0.0)


def largest_share(labels: Tensor, u: Tensor, spacing_mm: Spacing) -> Tensor:
    """Warp masks [Z, Y, X] of the labels by u [1, 3, Z, Y, X]; the largest share wins."""
    masks = F.one_hot(labels.long(), CLASSES).movedim(-1, 0)[None].float()
    return warp(masks, u, spacing_mm).argmax(1)


def staying(labels: Tensor, u: Tensor, spacing_mm: Spacing) -> Tensor:
    """Move outlines as `warp_labels` does, but continue the border values beyond the stack."""
    distances = torch.from_numpy(outline_distances(labels.numpy(), spacing_mm))[None]
    return torch.from_numpy(labels_within(warp(distances, u, spacing_mm)[0].numpy()))[None]


RULES: dict[str, Callable[[Tensor, Tensor, Spacing], Tensor]] = {
    "masks, largest share": largest_share,
    "outlines, border continued": staying,
    "outlines that leave the stack": warp_labels,
}


def measure(name: str, arm: Arm, slices: int, shift_mm: float, grid: GridSettings) -> list[dict[str, float | str]]:
    """Return a row for each field and rule of one phantom at ES: EF error in points, Dice, and CPU seconds."""
    settings = PhantomSettings(frames=20, slices=slices, slice_shift_mm=shift_mm)
    _, stack, scan = scan_heart(sample(name, 0, arm), settings, 0, truth=True)
    spacing = (SLICE_DISTANCE_MM, stack.spacing_mm, stack.spacing_mm)
    truth = Truth(scan.labels, scan.displacement, (0, stack.box[0], stack.box[2]), 0.0)
    volume = (scan.labels == STRUCTURES["LV"]).sum((1, 2, 3))
    es = int(volume.argmin())
    labels = torch.from_numpy(scan.labels[0])
    everywhere = torch.zeros(1, 3, *labels.shape)
    top, bottom, left, right = stack.box
    assert scan.displacement is not None
    everywhere[0, :, :, top:bottom, left:right] = torch.from_numpy(scan.displacement[es].astype(np.float32))
    placement = place(scan.frames[0].astype(np.int16), scan.labels[0], spacing, grid)
    known = truth.on_motion_grid(placement, len(scan.labels))
    assert known is not None
    coarse = native_displacement(torch.from_numpy(known[0][es : es + 1]), placement)
    rows = []
    for field, u in (("every voxel", everywhere), ("motion grid", coarse)):
        for rule, move in RULES.items():
            start = time.process_time()
            moved = move(labels, u, spacing).numpy()
            taken = time.process_time() - start
            ef, exact = (100 * (1 - count / volume[0]) for count in ((moved == STRUCTURES["LV"]).sum(), volume[es]))
            overlap = {key: float(dice(moved, scan.labels[es : es + 1], code)[0]) for key, code in STRUCTURES.items()}
            heart = f"{arm} {slices} {name}"
            rows.append(
                {"heart": heart, "shift_mm": shift_mm, "field": field, "rule": rule, "ef_error": ef - exact}
                | overlap
                | {"cpu_s": taken}
            )
    return rows


def main() -> None:
    """Run the measurements and print the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", type=int, nargs=3, default=(10, 64, 64), help="canonical grid; default: the bench's")
    parser.add_argument("--spacing-mm", type=float, nargs=3, default=(10.0, 2.7, 2.7))
    parser.add_argument("--out", type=Path, help="CSV of all rows")
    arguments = parser.parse_args()
    grid = GridSettings(shape=tuple(arguments.shape), spacing_mm=tuple(arguments.spacing_mm))
    found = pd.DataFrame(
        row
        for shift in SHIFTS_MM
        for arm, slices, count in COHORTS
        for number in range(count)
        for row in measure(f"heart-{number}", arm, slices, shift, grid)
    )
    if arguments.out:
        found.to_csv(arguments.out, index=False)
    print(
        "| breath-hold shifts, SD | exact motion at | rule | n | bias | MAE | largest | LV | myocardium | RV | CPU ms |"
    )
    print("|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for (shift, field, rule), rows in found.groupby(["shift_mm", "field", "rule"], sort=False):
        error = rows["ef_error"]
        overlap = " | ".join(f"{rows[name].mean():.3f}" for name in STRUCTURES)
        print(
            f"| {shift:g} mm | {field} | {rule} | {len(rows)} | {error.mean():+.2f} | {error.abs().mean():.2f} | "
            f"{error.abs().max():.1f} | {overlap} | {1000 * rows['cpu_s'].mean():.0f} |"
        )


if __name__ == "__main__":
    main()
