"""The motion grid: the canonical grid at half its in-plane resolution, on which displacements are predicted and stored.

A motion voxel is a 1 x 2 x 2 block of canonical voxels. Motion index h is therefore the canonical index h along z and
2 h + 1/2 along y and x, and the spacing doubles exactly in-plane.
"""

import torch.nn.functional as F
from torch import Tensor

from cof.config.base import Triple

IN_PLANE = 2


def motion_shape(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Voxels of the motion grid of a canonical grid of `shape` (z, y, x), whose rows and columns must be even."""
    z, y, x = shape
    if y % IN_PLANE or x % IN_PLANE:
        raise ValueError(f"the canonical grid needs an even number of rows and columns, not {y} x {x}")
    return z, y // IN_PLANE, x // IN_PLANE


def motion_spacing(spacing_mm: Triple) -> Triple:
    """Spacing of the motion grid in mm (z, y, x) from that of the canonical grid."""
    z, y, x = spacing_mm
    return z, y * IN_PLANE, x * IN_PLANE


def to_canonical(field: Tensor) -> Tensor:
    """A field [B, C, Z, Y/2, X/2] on the motion grid, interpolated linearly to the canonical one [B, C, Z, Y, X].

    Millimetres stay millimetres, so that values are not rescaled.
    """
    return F.interpolate(field, scale_factor=(1, IN_PLANE, IN_PLANE), mode="trilinear", align_corners=False)


def to_motion(field: Tensor) -> Tensor:
    """A field [B, C, Z, Y, X] on the canonical grid as block means [B, C, Z, Y/2, X/2] on the motion grid."""
    return F.avg_pool3d(field, (1, IN_PLANE, IN_PLANE))


def voxel_to_motion(index: Tensor, axis: int) -> Tensor:
    """Motion-grid indices of canonical indices along `axis` (0, 1, 2 for z, y, x)."""
    return index if axis == 0 else (index - (IN_PLANE - 1) / 2) / IN_PLANE
