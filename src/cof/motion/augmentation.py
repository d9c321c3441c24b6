"""Random affine maps of training pairs, and the conversion of a displacement between mapped images to the originals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cof.config.base import Triple
from cof.config.training import AffineSettings
from cof.motion.warp import warp


@dataclass(frozen=True)
class AffineMaps:
    """A batch of affine maps y = A x + b, one per pair, in mm relative to the centre of the grid, axes (z, y, x).

    Attributes:
        matrices: A, [B, 3, 3].
        shifts: b, [B, 3].
    """

    matrices: Tensor
    shifts: Tensor

    @classmethod
    def draw(cls, settings: AffineSettings, count: int, rng: np.random.Generator, device: torch.device) -> "AffineMaps":
        """Draw random in-plane rotations, scalings, translations and reflections."""
        angles = np.deg2rad(rng.uniform(-settings.rotation_deg, settings.rotation_deg, count))
        factors = 1 + rng.uniform(-settings.scale, settings.scale, (count, 1, 1))
        matrices = np.tile(np.eye(3), (count, 1, 1))
        rotations = np.array([[np.cos(angles), -np.sin(angles)], [np.sin(angles), np.cos(angles)]])
        matrices[:, 1:, 1:] = factors * rotations.transpose(2, 0, 1)
        if settings.mirror:
            matrices[rng.random(count) < settings.mirror, :, 2] *= -1
        shifts = np.zeros((count, 3))
        shifts[:, 1:] = rng.uniform(-settings.translation_mm, settings.translation_mm, (count, 2))
        return cls(torch.from_numpy(matrices).float().to(device), torch.from_numpy(shifts).float().to(device))

    @classmethod
    def together(cls, maps: Sequence["AffineMaps"]) -> "AffineMaps":
        """Concatenate batches of maps."""
        return cls(torch.cat([one.matrices for one in maps]), torch.cat([one.shifts for one in maps]))

    def one(self, index: int) -> "AffineMaps":
        """Return one of the maps as a batch of one."""
        return AffineMaps(self.matrices[index : index + 1], self.shifts[index : index + 1])

    def to(self, device: torch.device) -> "AffineMaps":
        """Return the same maps on `device`."""
        return AffineMaps(self.matrices.to(device), self.shifts.to(device))

    def map_images(self, images: Tensor, spacing_mm: Triple) -> Tensor:
        """Resample images [B, C, Z, Y, X] by the maps: out(x) = image(A x + b)."""
        positions = _positions(images, spacing_mm)
        mapped = torch.einsum("bij,jzyx->bizyx", self.matrices, positions) + self.shifts[:, :, None, None, None]
        return warp(images, mapped - positions, spacing_mm)

    def unmap_displacement(self, displacement_mm: Tensor, spacing_mm: Triple) -> Tensor:
        """Convert u' between mapped images to u(y) = A u'(A^-1 (y - b)) between the original images.

        Args:
            displacement_mm: u', [B, 3, Z, Y, X] in mm (z, y, x), on a grid with the same centre as that of the images.
            spacing_mm: spacing of that grid (z, y, x).
        """
        positions = _positions(displacement_mm, spacing_mm)
        inverse = torch.linalg.inv(self.matrices)
        back = torch.einsum("bij,bjzyx->bizyx", inverse, positions - self.shifts[:, :, None, None, None])
        resampled = warp(displacement_mm, back - positions, spacing_mm)
        return torch.einsum("bij,bjzyx->bizyx", self.matrices, resampled)


def _positions(like: Tensor, spacing_mm: Triple) -> Tensor:
    """Return voxel positions [3, Z, Y, X] in mm relative to the centre of the grid."""
    axes = [
        (torch.arange(size, device=like.device) - (size - 1) / 2) * spacing
        for size, spacing in zip(like.shape[2:], spacing_mm)
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))
