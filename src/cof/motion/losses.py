"""The terms of the registration's objective, equations (4) and (5) of the paper."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from cof.config.base import Triple
from cof.config.motion import RegistrationSettings
from cof.motion.warp import warp

EPSILON = 1e-5


def ncc_loss(warped: Tensor, target: Tensor, window: tuple[int, int, int], valid: Tensor) -> Tensor:
    """1 - mean of the squared local correlation coefficient (Avants et al. 2008); zero for identical images.

    Args:
        warped: [B, 1, Z, Y, X].
        target: the same shape.
        window: odd numbers of voxels (z, y, x); beyond the edges both images are zero.
        valid: bool [B, Z], the slices over which the mean is taken.
    """
    if not all(size % 2 for size in window):
        raise ValueError(f"a correlation window needs odd numbers of voxels, not {window}")
    count = window[0] * window[1] * window[2]
    images = torch.cat([warped, target, warped * warped, target * target, warped * target], dim=1)
    sums = _box_sum(images, window)
    sum_a, sum_b, sum_aa, sum_bb, sum_ab = sums.unbind(1)
    cross = sum_ab - sum_a * sum_b / count
    # Rounding can push the variance of a flat patch below zero.
    variance_a = (sum_aa - sum_a * sum_a / count).clamp(min=0)
    variance_b = (sum_bb - sum_b * sum_b / count).clamp(min=0)
    squared = cross * cross / (variance_a * variance_b + EPSILON)
    weight = valid[:, :, None, None].to(squared.dtype)
    return 1 - (squared * weight).sum() / (weight.sum() * squared.shape[2] * squared.shape[3])


def _box_sum(images: Tensor, window: tuple[int, int, int]) -> Tensor:
    """Sums over a window around every voxel, axis by axis, as products with band matrices.

    Pooling does the same, but its backward pass takes a CPU many times as long as that of a product.
    """
    along_z, along_y, along_x = (
        _band(length, size, images.device, images.dtype) for length, size in zip(images.shape[2:], window)
    )
    rows = along_z @ images.flatten(3)
    return along_y @ rows.unflatten(3, images.shape[3:]) @ along_x


@lru_cache(maxsize=16)
def _band(length: int, size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """A matrix [length, length] with ones within `size // 2` of its diagonal."""
    position = torch.arange(length, device=device)
    return ((position[:, None] - position).abs() <= size // 2).to(dtype)


def image_loss(warped: Tensor, target: Tensor, valid: Tensor, settings: RegistrationSettings) -> Tensor:
    """The term of the images, L_rec, by `settings.similarity`; arguments as of `ncc_loss`."""
    if settings.similarity == "mse":
        return mse_loss(warped, target, valid)
    return ncc_loss(warped, target, settings.ncc_window, valid)


def mse_loss(warped: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Mean squared difference of images [B, 1, Z, Y, X] over the slices where `valid`, bool [B, Z], is true."""
    weight = valid[:, None, :, None, None].to(warped.dtype)
    squared = (warped - target).square() * weight
    return squared.sum() / (weight.sum() * warped.shape[3] * warped.shape[4])


def dice_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Soft multi-class Dice loss with squared denominator, equation (4) of the paper.

    Sums run over the volume of each sample; the mean over its foreground classes and then over samples.

    Args:
        student: probabilities [B, C, Z, Y, X], class 0 background.
        teacher: one-hot labels of the same shape.
    """
    axes = (2, 3, 4)
    overlap = (student * teacher).sum(axes)
    size = student.square().sum(axes) + teacher.square().sum(axes)
    return 1 - (2 * overlap / (size + EPSILON))[:, 1:].mean()


def labels_loss(source: Tensor, target: Tensor, displacement_mm: Tensor, spacing_mm: Triple, valid: Tensor) -> Tensor:
    """The Dice loss of one frame's labels, warped, against another's, over the slices that both frames have.

    Args:
        source: shares of the labels, [B, C, Z, Y, X], class 0 background.
        target: of the same shape.
        displacement_mm: [B, 3, Z, Y, X], pulls the target's grid back to the source; gradients flow to it.
        spacing_mm: of all of them (z, y, x).
        valid: bool [B, Z].
    """
    seen = valid[:, None, :, None, None].to(source.dtype)
    return dice_loss(warp(source, displacement_mm, spacing_mm) * seen, target * seen)


def diffusion_energy(field_mm: Tensor, spacing_mm: Triple) -> Tensor:
    """Mean squared norm of the gradient of a field [B, 3, Z, Y, X] in mm: dimensionless, by forward differences."""
    energy = field_mm.new_zeros(())
    for axis, spacing in zip((2, 3, 4), spacing_mm):
        energy = energy + (field_mm.diff(dim=axis) / spacing).square().sum(1).mean()
    return energy


def excess(displacement_mm: Tensor, limit_mm: float) -> Tensor:
    """Mean squared excess of the components' magnitude over a limit, in square mm: the hinge form of the max field."""
    return F.relu(displacement_mm.abs() - limit_mm).square().mean()
