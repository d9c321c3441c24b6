"""Agreement of labels with the expert's."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from hearts import PHASES, Heart
from monai.metrics import compute_hausdorff_distance

from cof.heart.structures import STRUCTURES
from cof.metrics.overlap import about_structures, dice

SHORT = {"LV": "LV", "myocardium": "Myo", "RV": "RV"}


def label_rows(heart: Heart, found: np.ndarray) -> list[dict[str, Any]]:
    """Return a row per phase and structure: agreement of labels [2, Z, Y, X] with the expert's."""
    return [
        {"phase": phase} | row
        for phase, made, drawn in zip(PHASES, found, heart.labels)
        for row in agreement(made, drawn, heart.spacing_mm)
    ]


def agreement(made: np.ndarray, drawn: np.ndarray, spacing_mm: tuple[float, float, float]) -> Iterator[dict[str, Any]]:
    """Yield Dice and HD95 (mm) of every structure of labels [Z, Y, X] against the expert's.

    HD95 is NaN where one of the two lacks the structure.
    """
    made, drawn = about_structures(made[None], drawn[None])
    for name, code in STRUCTURES.items():
        masks = [torch.from_numpy(labels == code)[None] for labels in (made, drawn)]
        far = float("nan")
        if all(mask.any() for mask in masks):
            far = float(compute_hausdorff_distance(*masks, include_background=True, percentile=95, spacing=spacing_mm))
        yield {"structure": SHORT[name], "dice": float(dice(made, drawn, code)[0]), "hd95_mm": far}
