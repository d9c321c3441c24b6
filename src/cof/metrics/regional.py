"""Wall thickness and timing of the left ventricle's segments, from the anchor's labels warped by a displacement.

The segments are those of `cof.heart.segments`. Their borders are planes through the LV's centre in every slice. They do
not move with the heart, as in a reading by an expert. In systole the base moves out of the basal slices, so basal
segments thicken less here than their tissue does: compare hearts with each other, not levels. The radial strain of
`cof.metrics.strain` follows the tissue instead.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from cof.cine.grid import Placement, labels_to_canonical
from cof.cine.volume import Cine
from cof.heart.function import time_to_end_systole
from cof.heart.segments import SEGMENTS, WIDTHS_RAD, aha_segments
from cof.heart.structures import STRUCTURES
from cof.motion.resolution import to_canonical
from cof.motion.warp import fill_invalid, reachable, stack_share, warp


@dataclass(frozen=True)
class RegionalFunction:
    """Function of each segment; the last axis is in the order of the segments 1 to 16.

    Attributes:
        peak_ms: [16], time at which the segment's cavity has lost 90 % of its volume loss, computed as the time to ES
            of the whole LV; NaN for a segment that never shrinks.
        thickness_mm: [T, 16], mean wall thickness in every frame; NaN where a segment has no wall.
        es_frame: frame with the smallest LV.
    """

    peak_ms: np.ndarray
    thickness_mm: np.ndarray
    es_frame: int

    @property
    def thickening_pct(self) -> np.ndarray:
        """Relative change [16] of the mean wall thickness from ED to ES in %."""
        with np.errstate(invalid="ignore", divide="ignore"):
            change: np.ndarray = 100 * (self.thickness_mm[self.es_frame] / self.thickness_mm[0] - 1)
        return change

    @property
    def peak_sd_ms(self) -> float:
        """The dyssynchrony: SD of the segments' `peak_ms`; NaN if fewer than half of the segments have a value."""
        known = self.peak_ms[np.isfinite(self.peak_ms)]
        return float(known.std()) if len(known) >= SEGMENTS / 2 else math.nan


def regional_function(
    anchor_labels: np.ndarray, displacement: np.ndarray, placement: Placement, rr_ms: float, mirrored: bool
) -> RegionalFunction:
    """Return the regional function of the heart that results from warping an anchor by a displacement.

    Args:
        anchor_labels: native labels [Z, Y, X] of the anchor.
        displacement: [T, 3, Z, Y/2, X/2] in mm on the motion grid; frame 0 is zero.
        placement: placement of the canonical grid.
        rr_ms: duration of the cycle.
        mirrored: whether the image is a mirror image of the short-axis view from the apex.
    """
    labels = labels_to_canonical(anchor_labels, placement)
    segments = aha_segments(labels, placement.spacing_mm, placement.valid, mirrored)
    cavity, heart = labels == STRUCTURES["LV"], (labels == STRUCTURES["LV"]) | (labels == STRUCTURES["myocardium"])
    area = float(np.prod(placement.spacing_mm[1:]))
    inside, whole = area * _carried_sums(np.stack([cavity, heart]), displacement, placement, segments)
    slices = np.array([np.any(segments == k + 1, axis=(1, 2)).sum() for k in range(SEGMENTS)])
    with np.errstate(invalid="ignore", divide="ignore"):
        # A sector with angle w and area A has the radius sqrt(2 A / w).
        thickness = np.sqrt(2 * whole / (WIDTHS_RAD * slices)) - np.sqrt(2 * inside / (WIDTHS_RAD * slices))
    # What is smaller is rounding, and neither wall nor motion.
    thickness[whole - inside <= 1e-3 * whole] = math.nan
    moves = np.ptp(inside, axis=0) > 1e-3 * np.maximum(inside[0], 1e-9)
    peak = [time_to_end_systole(curve, rr_ms) if moved else math.nan for curve, moved in zip(inside.T, moves)]
    return RegionalFunction(np.array(peak), thickness, int(inside.sum(1).argmin()))


def is_mirrored(cine: Cine) -> bool:
    """Tell whether rows or columns of a stack run the other way than in a short-axis view from the apex."""
    # In that view, the cross product of the directions of columns and rows points to the base, against the order of the
    # slices. A positive determinant is therefore a mirror image.
    return cine.oriented and float(np.linalg.det(cine.affine[:3, :3])) > 0


def _carried_sums(
    masks: np.ndarray, displacement: np.ndarray, placement: Placement, segments: np.ndarray
) -> np.ndarray:
    """Return the voxel counts [M, T, 16] of warped masks [M, Z, Y, X] in each segment.

    Partly covered voxels count with their share, so that small motion changes the counts. The heart can leave the stack
    (`stack_share`).
    """
    fields = torch.from_numpy(np.asarray(displacement, np.float32))
    filled = fill_invalid(torch.from_numpy(masks.astype(np.float32)), placement.valid)
    box = reachable(filled.any(0), fields, placement.spacing_mm)
    within, part = segments[box].ravel(), filled[(slice(None), *box)][None]
    valid = np.flatnonzero(placement.valid) - box[0].start
    sums = []
    for field in fields:
        u = to_canonical(field[None])[(..., *box)]
        share = stack_share(u[0, 0], placement.spacing_mm[0], int(valid[0]), int(valid[-1]))
        moved = (warp(part, u, placement.spacing_mm)[0] * share).numpy()
        sums.append([np.bincount(within, mask.ravel(), SEGMENTS + 1)[1:] for mask in moved])
    return np.array(sums).swapaxes(0, 1)
