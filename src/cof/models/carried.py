"""The anchor's left ventricle, carried through the cycle by a displacement."""

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from cof.cine.grid import Placement
from cof.errors import CofError, Reason
from cof.heart.structures import STRUCTURES
from cof.models.base import Subject
from cof.motion.resolution import to_canonical
from cof.motion.warp import fill_invalid, stack_share, warp

# Range of the factor by which a motion is scaled.
FACTORS = (0.0, 3.0)


def _lv_voxels(labels: np.ndarray, displacement: Tensor, placement: Placement) -> list[float]:
    """Sum the LV shares of all voxels of valid slices in every frame, of the LV of the anchor after warping.

    The LV can leave the stack (`stack_share`).
    """
    cavity = torch.from_numpy((labels == STRUCTURES["LV"]).astype(np.float32))
    filled = fill_invalid(cavity, placement.valid)[None, None]
    valid = torch.tensor(placement.valid)
    held = np.flatnonzero(placement.valid)
    voxels = []
    for motion in displacement:
        u = to_canonical(motion[None])
        share = stack_share(u[0, 0], placement.spacing_mm[0], int(held[0]), int(held[-1]))
        voxels.append(float((warp(filled, u, placement.spacing_mm)[0, 0] * share)[valid].sum()))
    return voxels


def carried_volumes(labels: np.ndarray, displacement: Tensor, placement: Placement) -> np.ndarray:
    """Compute the LV volume curve from the LV of the anchor, warped by a displacement.

    Args:
        labels: [Z, Y, X], labels of the anchor on the canonical grid.
        displacement: [T, 3, Z, Y/2, X/2] in mm, to the anchor.
        placement: placement of the canonical grid.

    Returns:
        LV volume [T] in mL. It is the sum of the LV shares of all voxels of valid slices, so it changes continuously
        with the displacement.
    """
    return np.array(_lv_voxels(labels, displacement, placement)) * float(np.prod(placement.spacing_mm)) / 1000


def carried_ef(labels: np.ndarray, displacement: Tensor, placement: Placement) -> float:
    """Compute the EF between the anchor and one frame, from the LV of the anchor, warped by a displacement.

    Args:
        labels: [Z, Y, X], labels of the anchor on the canonical grid.
        displacement: [3, Z, Y/2, X/2] in mm, of the frame.
        placement: placement of the canonical grid.

    Returns:
        EF in %. It is computed from sums of the LV shares of voxels, so it changes continuously with the displacement.

    Raises:
        CofError: HEART_NOT_FOUND, the labels of the anchor have no LV on a valid slice.
    """
    voxels = np.count_nonzero(labels[np.array(placement.valid)] == STRUCTURES["LV"])
    if not voxels:
        raise CofError(Reason.HEART_NOT_FOUND, "the labels of the anchor show no LV, so that it has no EF")
    (moved,) = _lv_voxels(labels, displacement[None], placement)
    return 100 * (1 - moved / voxels)


def scale_to_ef(subject: Subject, displacement: Tensor, wanted_pct: float) -> float:
    """Find the factor within `FACTORS` by which a displacement [T, 3, Z, Y/2, X/2] must be scaled to reach an EF in %.

    End systole is the frame with the smallest LV before scaling. For an EF that no factor reaches, the result is the
    nearer end of the range.
    """
    labels, placement = subject.anchor_labels, subject.placement
    systole = max(displacement, key=lambda frame: carried_ef(labels, frame, placement))

    def excess(factor: float) -> float:
        return carried_ef(labels, factor * systole, placement) - wanted_pct

    low, high = FACTORS
    if excess(low) >= 0:
        return low
    if excess(high) <= 0:
        return high
    return round(float(brentq(excess, low, high, xtol=1e-4)), 6)
