"""The motion grid, on which displacements are predicted and stored: the canonical grid at half in-plane resolution.

A motion voxel is a block of 1 x 2 x 2 canonical voxels. Motion index h therefore lies at canonical index h along z, and
at 2 h + 1/2 along y and x; the in-plane spacing is exactly twice as large.
"""

import torch.nn.functional as F
from torch import Tensor

from cof.config.base import Triple

IN_PLANE = 2


def motion_shape(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the shape (z, y, x) of the motion grid of a canonical grid of `shape` (z, y, x).

    Raises:
        ValueError: the number of rows or columns is odd.
    """
    z, y, x = shape
    if y % IN_PLANE or x % IN_PLANE:
        raise ValueError(f"the canonical grid has {y} rows and {x} columns, but both numbers must be even")
    return z, y // IN_PLANE, x // IN_PLANE


def motion_spacing(spacing_mm: Triple) -> Triple:
    """Return the spacing of the motion grid in mm (z, y, x) from that of the canonical grid."""
    z, y, x = spacing_mm
    return z, y * IN_PLANE, x * IN_PLANE


def to_canonical(field: Tensor) -> Tensor:
    """Interpolate a field [B, C, Z, Y/2, X/2] linearly from the motion grid to the canonical grid [B, C, Z, Y, X].

    Values are not rescaled, because displacements are in mm.
    """
    return F.interpolate(field, scale_factor=(1, IN_PLANE, IN_PLANE), mode="trilinear", align_corners=False)


def to_motion(field: Tensor) -> Tensor:
    """Average a field [B, C, Z, Y, X] on the canonical grid over blocks, to [B, C, Z, Y/2, X/2] on the motion grid."""
    return F.avg_pool3d(field, (1, IN_PLANE, IN_PLANE))


def voxel_to_motion(index: Tensor, axis: int) -> Tensor:
    """Convert canonical indices along `axis` (0, 1, 2 for z, y, x) to indices on the motion grid."""
    return index if axis == 0 else (index - (IN_PLANE - 1) / 2) / IN_PLANE
