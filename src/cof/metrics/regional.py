"""Regional function of the left ventricle, from the anchor's labels warped by a displacement.

The cavity and the wall are divided into the 16 segments of the American Heart Association (Cerqueira et al.,
Circulation 105:539, 2002). The borders are planes through the LV's centre in every slice. They do not move with the
heart, as in a reading by an expert. The direction from the centre of the LV to that of the RV is the border between the
two septal segments. In systole the base moves out of the basal slices, so basal segments thicken less here than their
tissue does: compare hearts with each other, not levels.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from cof.cine.grid import Placement, labels_to_canonical
from cof.cine.volume import Cine
from cof.heart.function import time_to_end_systole
from cof.heart.structures import STRUCTURES
from cof.motion.resolution import to_canonical
from cof.motion.warp import fill_invalid, reachable, warp

SEGMENTS = 16
# Centres of the segments in degrees, from lateral over anterior, seen from the apex. Ring: anterior, anteroseptal,
# inferoseptal, inferior, inferolateral, anterolateral. Apex: anterior, septal, inferior, lateral.
_RING = (90.0, 150.0, 210.0, 270.0, 330.0, 30.0)
_APEX = (90.0, 180.0, 270.0, 0.0)
_SEPTAL_DEG = 180.0


@dataclass(frozen=True)
class RegionalFunction:
    """Function of each segment; arrays [16] in the order of the segments 1 to 16.

    Attributes:
        peak_ms: time at which the segment's cavity has lost 90 % of its volume loss, computed as the time to ES of the
            whole LV; NaN for a segment that never shrinks.
        thickening_pct: relative change of the mean wall thickness from ED to the frame with the smallest LV.
    """

    peak_ms: np.ndarray
    thickening_pct: np.ndarray

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
    segments, widths = aha_segments(labels, placement, mirrored)
    cavity, heart = labels == STRUCTURES["LV"], (labels == STRUCTURES["LV"]) | (labels == STRUCTURES["myocardium"])
    area = float(np.prod(placement.spacing_mm[1:]))
    inside, whole = area * _carried_sums(np.stack([cavity, heart]), displacement, placement, segments)
    slices = np.array([np.any(segments == k + 1, axis=(1, 2)).sum() for k in range(SEGMENTS)])
    with np.errstate(invalid="ignore", divide="ignore"):
        # A sector with angle w and area A has the radius sqrt(2 A / w).
        thickness = np.sqrt(2 * whole / (widths * slices)) - np.sqrt(2 * inside / (widths * slices))
        systole = int(inside.sum(1).argmin())
        thickening = 100 * (thickness[systole] / thickness[0] - 1)
    # A smaller change is rounding, not motion.
    moves = np.ptp(inside, axis=0) > 1e-3 * np.maximum(inside[0], 1e-9)
    peak = [time_to_end_systole(curve, rr_ms) if moved else math.nan for curve, moved in zip(inside.T, moves)]
    return RegionalFunction(np.array(peak), thickening)


def is_mirrored(cine: Cine) -> bool:
    """Tell whether rows or columns of a stack run the other way than in a short-axis view from the apex."""
    # In that view, the cross product of the directions of columns and rows points to the base, against the order of the
    # slices. A positive determinant is therefore a mirror image.
    return cine.oriented and float(np.linalg.det(cine.affine[:3, :3])) > 0


def aha_segments(labels: np.ndarray, placement: Placement, mirrored: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the segment, 1 to 16, of each voxel of the canonical grid.

    Args:
        labels: labels [Z, Y, X] of the anchor on the canonical grid.
        placement: placement of the canonical grid.
        mirrored: as in `regional_function`.

    Returns:
        The segments [Z, Y, X], 0 in slices without a cavity, and the angular widths [16] in rad.
    """
    cavity = labels == STRUCTURES["LV"]
    held = [z for z in range(len(labels)) if cavity[z].any() and placement.valid[z]]
    right = np.argwhere(labels == STRUCTURES["RV"])
    result = np.zeros(labels.shape, np.uint8)
    widths = 2 * np.pi / np.repeat([6, 6, 4], [6, 6, 4])
    if not held or not len(right):
        return result, widths
    centre = np.argwhere(cavity)[:, 1:].mean(0)
    down, across = right[:, 1:].mean(0) - centre
    septal = _angle(down, across, mirrored)
    rows, columns = np.indices(labels.shape[1:])
    for place, z in enumerate(held):
        y, x = np.argwhere(cavity[z]).mean(0)
        angle = _angle(rows - y, columns - x, mirrored) - septal + _SEPTAL_DEG
        level = min(3 * place // len(held), 2)
        centres = np.array(_APEX if level == 2 else _RING)
        distance = np.abs((angle[..., None] - centres + 180) % 360 - 180)
        result[z] = distance.argmin(-1) + 1 + 6 * level
    return result, widths


def _angle(down: np.ndarray, across: np.ndarray, mirrored: bool) -> np.ndarray:
    """Return angles in degrees, from the right of the image over its top; over its bottom in a mirrored image."""
    return np.rad2deg(np.arctan2(down if mirrored else -down, across))


def _carried_sums(
    masks: np.ndarray, displacement: np.ndarray, placement: Placement, segments: np.ndarray
) -> np.ndarray:
    """Return the voxel counts [M, T, 16] of warped masks [M, Z, Y, X] in each segment.

    Partly covered voxels count with their share, so that small motion changes the counts.
    """
    fields = torch.from_numpy(np.asarray(displacement, np.float32))
    filled = fill_invalid(torch.from_numpy(masks.astype(np.float32)), placement.valid)
    box = reachable(filled.any(0), fields, placement.spacing_mm)
    within, part = segments[box].ravel(), filled[(slice(None), *box)][None]
    sums = []
    for field in fields:
        moved = warp(part, to_canonical(field[None])[(..., *box)], placement.spacing_mm)[0].numpy()
        sums.append([np.bincount(within, mask.ravel(), SEGMENTS + 1)[1:] for mask in moved])
    return np.array(sums).swapaxes(0, 1)
