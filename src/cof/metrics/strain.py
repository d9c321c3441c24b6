"""Regional strain of the left ventricle: the anchor's wall, carried along by a displacement.

A stored displacement u_t pulls a frame back: what it shows at x lay at x + u_t(x) in the anchor. Strain belongs to the
opposite map, from the anchor to the frame, so the points of the wall go along the inverse of x -> x + u_t(x).
"""

import numpy as np
import torch

from cof.cine.grid import Placement
from cof.heart.strain import Stretch
from cof.heart.wall import Wall
from cof.motion.native import NativeCrop
from cof.motion.points import follow

# A point whose inverse is off by more, as where u folds, is left out.
_OFF_MM = 0.1
# Share of the distance of slices by which a point may leave the stack with its motion along z still taken as known.
_BEYOND = 0.1


def wall_stretch(anchor_labels: np.ndarray, displacement: np.ndarray, placement: Placement, mirrored: bool) -> Stretch:
    """Return the stretch of the wall in each frame of a displacement.

    Args:
        anchor_labels: native labels [Z, Y, X] of the anchor.
        displacement: [T, 3, Z, Y/2, X/2] in mm on the motion grid, pulling frames back to the anchor.
        placement: placement of the canonical grid.
        mirrored: whether the image is a mirror image of the short-axis view from the apex.

    Raises:
        CofError: the canonical grid does not overlap the native stack.
    """
    slices = NativeCrop.of(placement).slices
    spacing = placement.native_spacing_mm
    wall = Wall.of(anchor_labels, spacing, slices, mirrored)
    known = np.isfinite(wall.points_mm).all(-1)
    moved = np.full((len(displacement), *wall.points_mm.shape), np.nan)
    if known.any():
        points = torch.from_numpy(wall.points_mm[known])
        found, off = follow(points, torch.from_numpy(np.asarray(displacement, np.float32)), placement)
        moved[:, known] = torch.where((off <= _OFF_MM)[..., None], found, torch.nan).numpy()
    reach = _BEYOND * spacing[0]
    return Stretch.of(wall, moved, slices[0] * spacing[0] - reach, slices[-1] * spacing[0] + reach)
