"""Motion on a subject's native stack: the displacement of the motion grid, interpolated to native voxels.

Both grids have parallel axes, so trilinear interpolation is a product with three small matrices, one per axis. Only the
part of the stack inside the canonical grid moves. A cosine taper at its in-plane edges keeps the image continuous.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from cof.cine.grid import Placement
from cof.errors import CofError, Reason
from cof.motion.resolution import motion_shape, voxel_to_motion
from cof.motion.warp import identity_grid, normalising_factors

TAPER_VOXELS = 5


@dataclass(frozen=True)
class NativeCrop:
    """The box of native voxels inside the canonical grid, and the interpolation weights from the motion grid to it.

    Attributes:
        placement: where the canonical grid lies in the native stack.
        box: native voxels (z, y, x) that can move.
        weights: for each axis, [native voxels of the box, motion voxels]; the in-plane weights include the taper.
    """

    placement: Placement
    box: tuple[slice, slice, slice]
    weights: tuple[Tensor, Tensor, Tensor]

    @classmethod
    def of(cls, placement: Placement) -> "NativeCrop":
        """Compute the crop of one subject.

        Raises:
            CofError: the canonical grid does not overlap the native stack.
        """
        boxes, weights = zip(*(_axis(placement, axis) for axis in range(3)))
        return cls(placement, boxes, weights)

    def to(self, device: torch.device) -> "NativeCrop":
        """Return the same crop with its weights on `device`."""
        along_z, along_y, along_x = (weight.to(device) for weight in self.weights)
        return NativeCrop(self.placement, self.box, (along_z, along_y, along_x))

    @property
    def slices(self) -> range:
        """Native slices inside the box."""
        return range(self.box[0].start, self.box[0].stop)

    def displacement(self, u: Tensor, slices: Tensor | None = None) -> Tensor:
        """Interpolate a displacement to the voxels of the box.

        Args:
            u: [B, 3, Z, Y/2, X/2] on the motion grid, in mm (z, y, x); gradients flow through.
            slices: indices of the native slices to compute, inside the box; None for all of the box.

        Returns:
            [B, 3, z, y, x] in mm (z, y, x).
        """
        along_z, along_y, along_x = self.weights
        if slices is not None:
            along_z = along_z[slices - self.box[0].start]
        batch, channels, depth, height, width = u.shape
        rows = torch.matmul(along_z, u.reshape(batch, channels, depth, height * width)).reshape(
            batch, channels, len(along_z), height, width
        )
        return torch.matmul(torch.matmul(along_y, rows), along_x.T)

    def sample(self, volume: Tensor, u: Tensor, slices: Tensor | None = None) -> Tensor:
        """Warp a native volume [Z, Y, X] (float) by each displacement u [B, 3, Z, Y/2, X/2] in mm, inside the box.

        `slices` is as in `displacement`. The result is [B, z, y, x].
        """
        shape = self.placement.native_shape
        dz, dy, dx = self.displacement(u, slices).unbind(1)
        fz, fy, fx = normalising_factors(shape, self.placement.native_spacing_mm)
        rows = identity_grid(shape, u.device)[(0, *self.box)]
        if slices is not None:
            rows = rows[slices - self.box[0].start]
        grid = torch.stack([rows[..., 0] + fx * dx, rows[..., 1] + fy * dy, rows[..., 2] + fz * dz], dim=-1)
        volumes = volume.expand(len(u), 1, *shape)
        return F.grid_sample(volumes, grid, mode="bilinear", padding_mode="border", align_corners=True)[:, 0]


def _axis(placement: Placement, axis: int) -> tuple[slice, Tensor]:
    """Return the native voxels of the crop along one axis, and their interpolation weights on the motion grid."""
    voxels = torch.arange(placement.native_shape[axis], dtype=torch.float64)
    canonical = (voxels - placement.offset[axis]) / placement.scale[axis]
    # A canonical voxel reaches half a voxel to both sides of its centre.
    inside = torch.nonzero((canonical > -0.5) & (canonical < placement.shape[axis] - 0.5)).flatten()
    if not len(inside):
        raise CofError(Reason.CINE_GEOMETRY, "the canonical grid does not overlap the native stack")
    canonical = canonical[inside]
    size = motion_shape(placement.shape)[axis]
    position = voxel_to_motion(canonical, axis).clamp(0, size - 1)
    below = position.floor().long().clamp(max=max(size - 2, 0))
    weights = torch.zeros(len(inside), size, dtype=torch.float64)
    weights.scatter_(1, below[:, None], (1 - (position - below))[:, None])
    weights.scatter_add_(1, (below + 1).clamp(max=size - 1)[:, None], (position - below)[:, None])
    if axis > 0:  # no taper along z, because slices are separate images
        from_edge = placement.scale[axis] * torch.minimum(canonical + 0.5, placement.shape[axis] - 0.5 - canonical)
        weights *= (0.5 - 0.5 * torch.cos(torch.pi * (from_edge / TAPER_VOXELS).clamp(max=1)))[:, None]
    return slice(int(inside[0]), int(inside[-1]) + 1), weights.float()


def native_displacement(u: Tensor, placement: Placement) -> Tensor:
    """Interpolate a displacement to the whole native grid: [B, 3, Z, Y, X] in mm (z, y, x), zero outside the crop.

    Args:
        u: [B, 3, Z, Y/2, X/2] in mm (z, y, x) on the motion grid.
        placement: where the canonical grid lies in the native stack.
    """
    crop = NativeCrop.of(placement).to(u.device)
    whole = u.new_zeros(len(u), 3, *placement.native_shape)
    whole[(slice(None), slice(None), *crop.box)] = crop.displacement(u)
    return whole


def warp_native(anchor: Tensor, u: Tensor, placement: Placement) -> Tensor:
    """Warp the anchor on its native grid: frame t is anchor(x + u_t(x)) inside the crop, and the anchor outside.

    Frames are computed one by one in reused memory, without gradients. `NativeCrop.sample` has gradients.

    Args:
        anchor: [Z, Y, X], native intensities of any number type.
        u: [T, 3, Z, Y/2, X/2] in mm (z, y, x) on the motion grid.
        placement: where the canonical grid lies in the native stack.

    Returns:
        float32 [T, Z, Y, X]; a frame whose u is zero is exactly the anchor.
    """
    crop = NativeCrop.of(placement).to(u.device)
    shape = placement.native_shape
    factors = normalising_factors(shape, placement.native_spacing_mm)
    with torch.no_grad():
        source = anchor.to(u.device, torch.float32)
        frames = source.repeat(len(u), 1, 1, 1)
        rest = identity_grid(shape, u.device)[(slice(None), *crop.box)].contiguous()
        grid = torch.empty_like(rest)
        for frame, motion in zip(frames, u):
            if not motion.any():
                continue
            moved = crop.displacement(motion[None].float())
            for channel, factor in enumerate(factors):
                torch.add(rest[..., 2 - channel], moved[:, channel], alpha=factor, out=grid[..., 2 - channel])
            frame[crop.box] = F.grid_sample(
                source[None, None], grid, mode="bilinear", padding_mode="border", align_corners=True
            )[0, 0]
    return frames
