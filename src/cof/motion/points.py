"""Points of the tissue, carried along by a displacement that pulls frames back: along the inverse of its map."""

import torch
import torch.nn.functional as F
from torch import Tensor

from cof.cine.grid import Placement
from cof.motion.integrate import INVERSION_STEPS, RELAXATION, TOLERANCE_MM
from cof.motion.native import native_displacement
from cof.motion.warp import normalising_factors


def follow(points_mm: Tensor, knots: Tensor, placement: Placement) -> tuple[Tensor, Tensor]:
    """Find where points of the anchor lie in every frame.

    With phi_t = id + u_t, what frame t shows at x lay at phi_t(x) in the anchor. A point X of the anchor therefore lies
    at x = phi_t^-1(X) in frame t: phi_t(x) = X. Half steps approach it, x <- x - (phi_t(x) - X) / 2, as in
    `cof.motion.integrate.invert`. On the native stack u is what moves its images and labels (`native_displacement`);
    between slices it is interpolated linearly, and beyond the first and the last it goes on with their values.

    Args:
        points_mm: X, float64 [V, 3] in mm (z, y, x) from the centre of native voxel 0.
        knots: u_t, [T, 3, Z, Y/2, X/2] in mm (z, y, x) on the motion grid.
        placement: the canonical grid in the native stack.

    Returns:
        x, float64 [T, V, 3]; and the distance of phi_t(x) from X in mm, [T, V], which is small where u does not fold.
    """
    spacing = points_mm.new_tensor(placement.native_spacing_mm)
    factors = points_mm.new_tensor(normalising_factors(placement.native_shape, placement.native_spacing_mm))
    middle = (points_mm.new_tensor(placement.native_shape) - 1) / 2 * spacing
    found, left = [], []
    at = points_mm
    for motion in knots:
        field = native_displacement(motion[None].float(), placement).double()
        for _ in range(INVERSION_STEPS):
            grid = ((at - middle) * factors).flip(-1)[None, None, None]
            u = F.grid_sample(field, grid, mode="bilinear", padding_mode="border", align_corners=True)[0, :, 0, 0].T
            residual = at + u - points_mm
            if float(residual.abs().max()) < TOLERANCE_MM:
                break
            at = at - RELAXATION * residual  # the next frame begins where this one ends
        found.append(at)
        left.append(residual.norm(dim=-1))
    return torch.stack(found), torch.stack(left)
