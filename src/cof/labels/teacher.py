"""The trained nnU-Net as a frozen, differentiable function of the image."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from nnunetv2.inference.sliding_window_prediction import compute_gaussian, compute_steps_for_sliding_window
from nnunetv2.preprocessing.cropping.cropping import crop_to_nonzero
from torch.nn import functional

from cof.labels import artefact

_TILE_STEP = 0.5  # nnU-Net's default: tiles overlap by half


def intensity_statistics(volume: np.ndarray) -> tuple[float, float]:
    """Mean and population standard deviation by which nnU-Net normalises a stack [Z, Y, X].

    nnU-Net takes them over the bounding box of the non-zero voxels.
    """
    cropped, _, _ = crop_to_nonzero(np.array(volume, np.float32)[None])
    return float(cropped.mean()), float(cropped.std())


def _padding(size: list[int], wanted: list[int]) -> list[int]:
    """Padding of the last two axes for `functional.pad`, centred as nnU-Net does."""
    (above, below), (left, right) = (
        ((target - length) // 2, (target - length) - (target - length) // 2) for length, target in zip(size, wanted)
    )
    return [left, right, above, below]


class Teacher:
    """The frozen labeller. Gradients reach the image; the weights never change. Made by `Teacher.load`.

    It differs from nnU-Net's official prediction in two ways only: slices are resampled by bilinear rather than cubic
    interpolation, and neither cropped to their non-zero box nor mirrored.
    """

    def __init__(self, trained: artefact.Trained) -> None:
        self._network = trained.network
        self._spacing_mm = trained.configuration.spacing
        self._patch = tuple(trained.configuration.patch_size)
        self.device = trained.device

    @classmethod
    def load(cls, folder: Path) -> "Teacher":
        """Check the hashes of a labeller folder and load it.

        Raises:
            UsageError: the folder is incomplete or was changed.
        """
        return cls(artefact.load(folder))

    def _logits(self, images: torch.Tensor) -> torch.Tensor:
        """Logits [N, 4, H, W] of images [N, 1, H, W] not smaller than the patch, in nnU-Net's tiles where larger."""
        height, width = self._patch
        rows, columns = compute_steps_for_sliding_window(tuple(images.shape[2:]), (height, width), _TILE_STEP)
        if len(rows) == len(columns) == 1:
            return self._network(images)
        gaussian = compute_gaussian(
            (height, width), sigma_scale=1.0 / 8, value_scaling_factor=10, dtype=images.dtype, device=images.device
        )
        logits: torch.Tensor | float = 0.0
        weight: torch.Tensor | float = 0.0
        for row, column in itertools.product(rows, columns):
            around = [column, images.shape[3] - width - column, row, images.shape[2] - height - row]
            tile = self._network(images[:, :, row : row + height, column : column + width])
            logits = logits + functional.pad(tile * gaussian, around)
            weight = weight + functional.pad(gaussian, around)
        return torch.as_tensor(logits / weight)

    def probabilities(
        self,
        volume: torch.Tensor,
        spacing_mm: tuple[float, float, float],
        mean: float | torch.Tensor,
        std: float | torch.Tensor,
        slices: Sequence[int] | None = None,
    ) -> torch.Tensor:
        """Class probabilities of whole slices, differentiable in `volume`.

        Args:
            volume: [B, 1, Z, Y, X], native intensities, on the native grid.
            spacing_mm: native spacing along z, y, x.
            mean: of the real stack (`intensity_statistics`), one number or one for each of the B; a constant.
            std: likewise.
            slices: indices of the slices to see; all if left out.

        Returns:
            [B, 4, len(slices), Y, X]: background, LV, myocardium, RV; sums to 1 over the classes.
        """
        shape = (-1, 1, 1, 1)
        mean = torch.as_tensor(mean, dtype=volume.dtype, device=volume.device).detach().reshape(shape)
        std = torch.as_tensor(std, dtype=volume.dtype, device=volume.device).detach().reshape(shape)
        seen = volume[:, 0] if slices is None else volume[:, 0, list(slices)]
        batch, count, *native = seen.shape
        images = ((seen - mean) / std.clamp_min(1e-8)).reshape(batch * count, 1, *native)

        size = [round(n * have / want) for n, have, want in zip(native, spacing_mm[1:], self._spacing_mm)]
        if size != native:
            images = functional.interpolate(images, size=size, mode="bilinear", align_corners=False)
        # Instance normalisation sees the padding, so it must be as in training: up to the patch size, with zeros.
        padding = _padding(size, [max(n, p) for n, p in zip(size, self._patch)])
        logits = self._logits(functional.pad(images, padding))
        logits = logits[..., padding[2] : padding[2] + size[0], padding[0] : padding[0] + size[1]]
        if size != native:
            logits = functional.interpolate(logits, size=native, mode="bilinear", align_corners=False)
        return logits.softmax(1).reshape(batch, count, -1, *native).transpose(1, 2)
