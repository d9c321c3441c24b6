"""Measures of a stack from its labels: alignment of the slices, and coverage of base and apex.

UK Biobank's stacks have been screened for misaligned and missing slices by learned detectors (Tarroni et al., IEEE
Trans Med Imaging 38:1127, 2019); here they are measured on the labels.
"""

import numpy as np

from cof.config.base import Triple
from cof.heart.structures import STRUCTURES

# At the valves a slice may show only a part of the wall, whose centroid is not that of the ventricle.
_SMALLEST_OUTLINE = 0.4
_FEWEST_SLICES = 4


def outline(labels: np.ndarray) -> np.ndarray:
    """Return the mask of the left ventricle and its wall, bool, of labels of any shape."""
    return np.isin(labels, (STRUCTURES["LV"], STRUCTURES["myocardium"]))


def slice_shift_mm(labels: np.ndarray, spacing_mm: Triple) -> float:
    """Measure the in-plane misalignment of neighbouring slices: root mean square over pairs of neighbours, mm.

    The centre of a slice is the centroid of the left ventricle and its wall. A straight line through the centres, which
    a tilted but well aligned heart has too, is subtracted first. Misalignment that grows evenly along the stack is
    therefore not measured.

    Args:
        labels: [Z, Y, X] of one frame.
        spacing_mm: z, y, x.

    Returns:
        The misalignment; NaN if fewer than four slices show enough of the ventricle.
    """
    heart = outline(labels)
    area = heart.sum(axis=(1, 2))
    used = np.flatnonzero(area > _SMALLEST_OUTLINE * area.max()) if area.any() else np.empty(0, int)
    if len(used) < _FEWEST_SLICES:
        return float("nan")
    centres = np.array([[axis.mean() for axis in np.nonzero(heart[index])] for index in used]) * spacing_mm[1:]
    return misalignment_mm(centres, used)


def misalignment_mm(centres: np.ndarray, slices: np.ndarray) -> float:
    """Return the root mean square in-plane step between neighbouring slices after subtraction of a straight line.

    Args:
        centres: [K, 2] mm, y and x of a point that should be on a line.
        slices: [K] indices of their slices, ascending.
    """
    line = np.polynomial.polynomial.polyfit(slices, centres, 1)
    residual = centres - np.polynomial.polynomial.polyval(slices, line).T
    steps = np.diff(residual, axis=0)[np.diff(slices) == 1]
    return float(np.sqrt((steps**2).sum(axis=1).mean()))


def end_cuts(labels: np.ndarray) -> tuple[float, float]:
    """Measure how far the left ventricle is cut off by the stack at base and apex.

    Args:
        labels: [Z, Y, X] of one frame, slices from base to apex.

    Returns:
        Area of the left ventricle and its wall in the first and in the last slice, as shares of its largest area: 0
        where the stack extends beyond the ventricle, near 1 where it begins or ends in its middle. NaN without a
        ventricle.
    """
    area = outline(labels).sum(axis=(1, 2))
    if not area.any():
        return float("nan"), float("nan")
    return float(area[0] / area.max()), float(area[-1] / area.max())
