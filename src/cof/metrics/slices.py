"""Agreement of two segmentations slice by slice, by the rank of a slice between base and apex.

Ranks come from the reference labels at ED alone, and are the same in every phase and for every generated heart. A
slice has a rank if its myocardial area is at least 25 % of the largest one. Rank 1 is the base: the end of these slices
with the larger area of LV and RV. A slice between them without enough myocardium is skipped and takes no rank.
"""

from dataclasses import dataclass

import numpy as np

from cof.heart.structures import STRUCTURES
from cof.metrics.hausdorff import hd95, one_empty
from cof.metrics.overlap import dice, iou

LEAST_SHARE = 0.25


def ranked_slices(reference_ed: np.ndarray) -> np.ndarray:
    """Return the indices [R] of the slices with a rank, from the base on: rank r is element r - 1.

    Args:
        reference_ed: reference labels [Z, Y, X] at ED, in either order of slices. If both ends have the same area, the
            first slice is the base, as in all our stacks.

    Returns:
        An empty array for labels without myocardium.
    """
    myocardium = (reference_ed == STRUCTURES["myocardium"]).sum(axis=(1, 2))
    kept = np.flatnonzero((myocardium > 0) & (myocardium >= LEAST_SHARE * myocardium.max(initial=0)))
    if not len(kept):
        return kept
    first, last = (np.isin(reference_ed[z], (STRUCTURES["LV"], STRUCTURES["RV"])).sum() for z in kept[[0, -1]])
    return kept if first >= last else kept[::-1]


@dataclass(frozen=True)
class SliceAgreement:
    """Agreement of one structure in each slice of each frame; all arrays [T, R].

    Attributes:
        dice, iou: overlap of the areas; 0 where exactly one mask is empty, NaN where both are.
        hd95_mm: HD95 in the plane of the slice; NaN where a mask is empty.
        missing: whether exactly one mask is empty, so that the HD95 lacks although the labels differ.
    """

    dice: np.ndarray
    iou: np.ndarray
    hd95_mm: np.ndarray
    missing: np.ndarray


def slice_agreement(
    ours: np.ndarray, reference: np.ndarray, label: int, in_plane_mm: tuple[float, float]
) -> SliceAgreement:
    """Compare one structure in each slice.

    Args:
        ours: labels [T, R, Y, X].
        reference: labels of the same frames and slices.
        label: the structure's label.
        in_plane_mm: spacing (y, x) of the pixels.
    """
    frames, slices, *image = ours.shape
    a, b = (labels.reshape(frames * slices, 1, *image) for labels in (ours, reference))
    mask_a, mask_b = (labels[:, 0] == label for labels in (a, b))
    found = dice(a, b, label), iou(a, b, label), hd95(mask_a, mask_b, in_plane_mm), one_empty(mask_a, mask_b)
    return SliceAgreement(*(values.reshape(frames, slices) for values in found))
