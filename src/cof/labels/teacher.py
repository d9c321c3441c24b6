"""The trained nnU-Net as a frozen, differentiable function of the image."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from acvl_utils.cropping_and_padding.bounding_boxes import bounding_box_to_slice, get_bbox_from_mask
from nnunetv2.inference.sliding_window_prediction import compute_gaussian, compute_steps_for_sliding_window
from torch.nn import functional

from cof.labels import artefact
from cof.labels.neighbours import channels

_TILE_STEP = 0.5  # nnU-Net's default: tiles overlap by half


def intensity_statistics(volume: np.ndarray) -> tuple[float, float]:
    """Compute the mean and population SD by which nnU-Net normalises a stack [Z, Y, X].

    nnU-Net takes both over the bounding box of the non-zero voxels. Its `crop_to_nonzero` fills holes first; this takes
    most of its time and cannot change the box, so it is left out here.
    """
    box = bounding_box_to_slice(get_bbox_from_mask(volume != 0))
    cropped = volume[box].astype(np.float32)
    return float(cropped.mean()), float(cropped.std())


class Stack(NamedTuple):
    """A native stack as input of the teacher.

    Attributes:
        volume: native intensities [Z, Y, X] of whole slices.
        spacing_mm: along z, y, x.
        mean: mean intensity of the real stack, by `intensity_statistics`; no gradient flows through it.
        std: SD of the real stack's intensity, likewise.
    """

    volume: torch.Tensor
    spacing_mm: tuple[float, float, float]
    mean: float
    std: float


def _padding(size: list[int], wanted: list[int]) -> list[int]:
    """Return the padding of the last two axes for `functional.pad`, centred as in nnU-Net."""
    (above, below), (left, right) = (
        ((target - length) // 2, (target - length) - (target - length) // 2) for length, target in zip(size, wanted)
    )
    return [left, right, above, below]


class Teacher:
    """The frozen labeller. Gradients reach the image; the weights never change. Made by `Teacher.load`.

    It differs from nnU-Net's official prediction in four ways: slices are resampled by bilinear instead of cubic
    interpolation, are not cropped to their non-zero box, and are not mirrored; and neighbours, if the network gets
    them, are normalised by the statistics of the stack, not by those of the shifted stack.
    """

    def __init__(self, trained: artefact.Trained) -> None:
        self._network = trained.network
        self._channels = trained.channels
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
        """Compute logits [N, 4, H, W] of images [N, C, H, W], which are at least as large as the patch.

        Larger images are cut into nnU-Net's tiles.
        """
        self._network.to(images.device)  # with several GPUs, each process has its own
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

    def see(self, stacks: Sequence[Stack]) -> list[torch.Tensor]:
        """Compute class probabilities [4, Z, Y, X] of each stack, differentiable with respect to its volume.

        Slices of all stacks go through the network in one batch, where they have the same size after padding.
        """
        images = []
        for stack in stacks:
            normalised = (stack.volume - stack.mean) / max(stack.std, 1e-8)
            images.append((torch.stack(channels(normalised, self._channels), dim=1), stack.spacing_mm))
        return [logits.softmax(1).transpose(0, 1) for logits in self._logits_of(images)]

    def _logits_of(self, normalised: Sequence[tuple[torch.Tensor, tuple[float, float, float]]]) -> list[torch.Tensor]:
        """Compute logits [N, 4, Y, X] of each group of native images [N, C, Y, X] with its spacing (z, y, x) in mm."""
        sizes, paddings, inputs = [], [], []
        for images, spacing_mm in normalised:
            native = images.shape[2:]
            size = [round(n * have / want) for n, have, want in zip(native, spacing_mm[1:], self._spacing_mm)]
            if size != list(native):
                images = functional.interpolate(images, size=size, mode="bilinear", align_corners=False)
            # Instance normalisation includes the padding, so pad as in training: with zeros, to the patch size.
            padding = _padding(size, [max(n, p) for n, p in zip(size, self._patch)])
            sizes.append(size)
            paddings.append(padding)
            inputs.append(functional.pad(images, padding))
        found: list[torch.Tensor] = list(inputs)
        # Most stacks are not larger than the patch, and so have the same size after padding.
        for shape in dict.fromkeys(images.shape[2:] for images in inputs):
            group = [index for index, images in enumerate(inputs) if images.shape[2:] == shape]
            logits = self._logits(torch.cat([inputs[index] for index in group]))
            for index, own in zip(group, logits.split([len(inputs[index]) for index in group])):
                found[index] = own
        for index, (logits, size, padding) in enumerate(zip(found, sizes, paddings)):
            native = normalised[index][0].shape[2:]
            logits = logits[..., padding[2] : padding[2] + size[0], padding[0] : padding[0] + size[1]]
            if size != list(native):
                logits = functional.interpolate(logits, size=tuple(native), mode="bilinear", align_corners=False)
            found[index] = logits
        return found
