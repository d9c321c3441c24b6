"""Regional function of the left ventricle, from the anchor's labels carried by a displacement.

The cavity and the wall are cut into the 16 segments of the American Heart Association (Cerqueira et al., Circulation
105:539, 2002). The cuts are planes through the LV's centre in every slice, at rest in space as those of a reader are;
the direction from the LV's centre to the RV's lies between the two septal segments. Since the base leaves the basal
slices in systole, basal segments thicken less here than their tissue does: compare hearts, not levels.
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
# Anterior, anteroseptal, inferoseptal, inferior, inferolateral, anterolateral; and the four of the apex: degrees from
# lateral over anterior, as seen from the apex.
_RING = (90.0, 150.0, 210.0, 270.0, 330.0, 30.0)
_APEX = (90.0, 180.0, 270.0, 0.0)
_SEPTAL_DEG = 180.0


@dataclass(frozen=True)
class RegionalFunction:
    """What each segment does; [16] in the order of the segments 1 to 16.

    Attributes:
        peak_ms: when the segment's cavity has lost 90 % of what it loses, as the time to ES of the whole; NaN for one
            that never shrinks.
        thickening_pct: growth of the mean wall thickness from ED to the frame of the smallest LV.
    """

    peak_ms: np.ndarray
    thickening_pct: np.ndarray

    @property
    def peak_sd_ms(self) -> float:
        """SD of the segments' times to peak, the dyssynchrony; NaN where fewer than half of them have one."""
        known = self.peak_ms[np.isfinite(self.peak_ms)]
        return float(known.std()) if len(known) >= SEGMENTS / 2 else math.nan


def regional_function(
    anchor_labels: np.ndarray, displacement: np.ndarray, placement: Placement, rr_ms: float, mirrored: bool
) -> RegionalFunction:
    """Regional function of the heart that a displacement makes of an anchor.

    Args:
        anchor_labels: native labels [Z, Y, X] of the anchor.
        displacement: [T, 3, Z, Y/2, X/2] in mm on the motion grid, frame 0 zero.
        placement: the canonical grid.
        rr_ms: duration of the cycle.
        mirrored: the rows or columns of the image run the other way than in a short-axis view from the apex.
    """
    labels = labels_to_canonical(anchor_labels, placement)
    segments, widths = aha_segments(labels, placement, mirrored)
    cavity, heart = labels == STRUCTURES["LV"], (labels == STRUCTURES["LV"]) | (labels == STRUCTURES["myocardium"])
    area = float(np.prod(placement.spacing_mm[1:]))
    inside, whole = area * _carried_sums(np.stack([cavity, heart]), displacement, placement, segments)
    slices = np.array([np.any(segments == k + 1, axis=(1, 2)).sum() for k in range(SEGMENTS)])
    with np.errstate(invalid="ignore", divide="ignore"):
        # In a sector of angle w the radius of an area A is sqrt(2 A / w).
        thickness = np.sqrt(2 * whole / (widths * slices)) - np.sqrt(2 * inside / (widths * slices))
        systole = int(inside.sum(1).argmin())
        thickening = 100 * (thickness[systole] / thickness[0] - 1)
    # A lack of motion shows as rounding.
    moves = np.ptp(inside, axis=0) > 1e-3 * np.maximum(inside[0], 1e-9)
    peak = [time_to_end_systole(curve, rr_ms) if moved else math.nan for curve, moved in zip(inside.T, moves)]
    return RegionalFunction(np.array(peak), thickening)


def is_mirrored(cine: Cine) -> bool:
    """Tell whether rows or columns of a stack run the other way than in a short-axis view from the apex."""
    # In that view columns cross rows towards the base, against the order of the slices.
    return cine.oriented and float(np.linalg.det(cine.affine[:3, :3])) > 0


def aha_segments(labels: np.ndarray, placement: Placement, mirrored: bool) -> tuple[np.ndarray, np.ndarray]:
    """Which segment, 1 to 16, each voxel of the canonical grid belongs to.

    Args:
        labels: [Z, Y, X] of the anchor on the canonical grid.
        placement: the canonical grid.
        mirrored: as in `regional_function`.

    Returns:
        [Z, Y, X], 0 in slices without a cavity; and the angular widths [16] in rad.
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
    """Degrees from an image's right over its top; turned the other way in a mirrored image."""
    return np.rad2deg(np.arctan2(down if mirrored else -down, across))


def _carried_sums(
    masks: np.ndarray, displacement: np.ndarray, placement: Placement, segments: np.ndarray
) -> np.ndarray:
    """Voxels of masks [M, Z, Y, X] in each segment, [M, T, 16]; shares of voxels, so that they follow the motion."""
    fields = torch.from_numpy(np.asarray(displacement, np.float32))
    filled = fill_invalid(torch.from_numpy(masks.astype(np.float32)), placement.valid)
    box = reachable(filled.any(0), fields, placement.spacing_mm)
    within, part = segments[box].ravel(), filled[(slice(None), *box)][None]
    sums = []
    for field in fields:
        moved = warp(part, to_canonical(field[None])[(..., *box)], placement.spacing_mm)[0].numpy()
        sums.append([np.bincount(within, mask.ravel(), SEGMENTS + 1)[1:] for mask in moved])
    return np.array(sums).swapaxes(0, 1)
