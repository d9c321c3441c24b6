"""Warping by a displacement in mm: V_t^(x) = V_s(x + u(x)), eq (2) of the paper."""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from cof.config.base import Triple


@lru_cache(maxsize=16)
def identity_grid(shape: tuple[int, int, int], device: torch.device) -> Tensor:
    """Return normalised sampling positions [1, Z, Y, X, 3] of all voxels; last axis (x, y, z), corners aligned."""
    axes = [torch.linspace(-1, 1, size, device=device) if size > 1 else torch.zeros(1, device=device) for size in shape]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([x, y, z], dim=-1)[None]


def normalising_factors(shape: tuple[int, int, int], spacing_mm: Triple) -> Triple:
    """Return the factors (z, y, x) from millimetres to the [-1, 1] coordinates of a grid of `shape`."""
    z, y, x = (2.0 / (spacing * max(size - 1, 1)) for size, spacing in zip(shape, spacing_mm))
    return z, y, x


def warp(volume: Tensor, displacement_mm: Tensor, spacing_mm: Triple) -> Tensor:
    """Warp `volume` by a displacement: out(x) = volume(x + u(x)).

    Interpolation is linear; beyond the edges the border values continue.

    Args:
        volume: [B, C, Z, Y, X], or [1, C, Z, Y, X] for one volume warped by every displacement.
        displacement_mm: [B, 3, Z, Y, X], channels (z, y, x) in mm, on the grid of the result.
        spacing_mm: voxel spacing (z, y, x) of both.
    """
    z, y, x = displacement_mm.shape[2:]
    factors = normalising_factors((z, y, x), spacing_mm)
    scale = displacement_mm.new_tensor(factors[::-1])
    grid = torch.addcmul(
        identity_grid((z, y, x), displacement_mm.device), displacement_mm.flip(1).movedim(1, -1), scale
    )
    if len(volume) != len(grid):
        volume = volume.expand(len(grid), -1, -1, -1, -1)
    return F.grid_sample(volume, grid, mode="bilinear", padding_mode="border", align_corners=True)


def stack_share(along_z_mm: Tensor, distance_mm: float, first: int, last: int) -> Tensor:
    """Return for each voxel the share, 0 to 1, of what is warped there from the stack, and not from beyond its ends.

    In the first and the last slice of a stack a ventricle may be cut off anywhere within one slice distance beyond: a
    further slice was not needed to show it. The border values therefore continue up to there, and no farther. The share
    is 1 up to half a slice distance beyond, 1/2 at one, and 0 from one and a half on.

    Args:
        along_z_mm: component z of a displacement, [..., Z, Y, X] in mm.
        distance_mm: of the slices.
        first, last: indices along z of the ends of the stack.
    """
    depth = along_z_mm.shape[-3]
    index = torch.arange(depth, device=along_z_mm.device)[:, None, None] + along_z_mm / distance_mm
    return (1.5 - torch.maximum(first - index, index - last)).clamp(0, 1)


def reachable(mask: Tensor, displacement_mm: Tensor, spacing_mm: Triple) -> tuple[slice, slice, slice]:
    """Return the box (z, y, x) of voxels that a mask can reach when it is warped by displacements, plus one voxel.

    A volume that is zero outside the mask can be cut to this box before a warp; the result inside the box is the same.

    Args:
        mask: bool [Z, Y, X]; for a mask without any true voxel, the box is the whole grid.
        displacement_mm: [T, 3, ...], channels (z, y, x) in mm, on any grid.
        spacing_mm: voxel spacing of the mask (z, y, x).
    """

    def along(axis: int) -> slice:
        held = mask.movedim(axis, 0).flatten(1).any(1).nonzero()
        if not len(held):
            return slice(0, mask.shape[axis])
        reach = math.ceil(float(displacement_mm[:, axis].abs().max()) / spacing_mm[axis]) + 1
        return slice(max(int(held[0]) - reach, 0), int(held[-1]) + reach + 1)

    return along(0), along(1), along(2)


def fill_invalid(volume: Tensor, valid: tuple[bool, ...]) -> Tensor:
    """Fill canonical slices that lie outside the native stack with copies of the nearest valid slice.

    The stack then continues beyond its ends as on the native grid, and a warp does not bring empty voxels into the
    heart.

    Args:
        volume: [..., Z, Y, X].
        valid: Z flags, true for slices inside the native stack; at least one is true.
    """
    if all(valid):
        return volume
    slices = [index for index, there in enumerate(valid) if there]
    nearest = [min(slices, key=lambda other: abs(other - index)) for index in range(len(valid))]
    return volume[..., nearest, :, :]
