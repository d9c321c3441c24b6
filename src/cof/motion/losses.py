"""Terms of the registration objective, eqs (4) and (5) of the paper."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from cof.config.base import Triple
from cof.config.motion import RegistrationSettings
from cof.motion.warp import warp

EPSILON = 1e-5


def ncc_loss(warped: Tensor, target: Tensor, window: tuple[int, int, int], valid: Tensor) -> Tensor:
    """Compute 1 - mean of the squared local correlation coefficient (Avants et al. 2008); zero for identical images.

    Args:
        warped: [B, 1, Z, Y, X].
        target: the same shape.
        window: size of the window in voxels (z, y, x), odd numbers; beyond the edges both images are zero.
        valid: bool [B, Z], true for the slices over which the mean is taken.

    Raises:
        ValueError: a size of the window is even.
    """
    if not all(size % 2 for size in window):
        raise ValueError(f"ncc_window is {window}, but its sizes must be odd numbers of voxels")
    count = window[0] * window[1] * window[2]
    images = torch.cat([warped, target, warped * warped, target * target, warped * target], dim=1)
    sums = _box_sum(images, window)
    sum_a, sum_b, sum_aa, sum_bb, sum_ab = sums.unbind(1)
    cross = sum_ab - sum_a * sum_b / count
    # By rounding, the variance of a constant patch can be below zero.
    variance_a = (sum_aa - sum_a * sum_a / count).clamp(min=0)
    variance_b = (sum_bb - sum_b * sum_b / count).clamp(min=0)
    squared = cross * cross / (variance_a * variance_b + EPSILON)
    weight = valid[:, :, None, None].to(squared.dtype)
    return 1 - (squared * weight).sum() / (weight.sum() * squared.shape[2] * squared.shape[3])


def _box_sum(images: Tensor, window: tuple[int, int, int]) -> Tensor:
    """Sum over a window around every voxel, axis by axis, by products with band matrices.

    Pooling does the same, but its backward pass on a CPU takes many times as long as that of a product.
    """
    along_z, along_y, along_x = (
        _band(length, size, images.device, images.dtype) for length, size in zip(images.shape[2:], window)
    )
    rows = along_z @ images.flatten(3)
    return along_y @ rows.unflatten(3, images.shape[3:]) @ along_x


@lru_cache(maxsize=16)
def _band(length: int, size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return a matrix [length, length] with ones within `size // 2` of its diagonal, else zeros."""
    position = torch.arange(length, device=device)
    return ((position[:, None] - position).abs() <= size // 2).to(dtype)


def image_loss(warped: Tensor, target: Tensor, valid: Tensor, settings: RegistrationSettings) -> Tensor:
    """Compute the image term L_rec, as `settings.similarity` names it; for the arguments, see `ncc_loss`."""
    if settings.similarity == "mse":
        return mse_loss(warped, target, valid)
    return ncc_loss(warped, target, settings.ncc_window, valid)


def mse_loss(warped: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Compute the mean squared difference of images [B, 1, Z, Y, X] over the slices where `valid` [B, Z] is true."""
    weight = valid[:, None, :, None, None].to(warped.dtype)
    squared = (warped - target).square() * weight
    return squared.sum() / (weight.sum() * warped.shape[3] * warped.shape[4])


def dice_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Compute the soft multi-class Dice loss with squared denominator, eq (4) of the paper.

    Sums are over the volume of each sample; the mean is over foreground classes and samples.

    Args:
        student: probabilities [B, C, Z, Y, X]; class 0 is background.
        teacher: one-hot labels of the same shape.
    """
    axes = (2, 3, 4)
    overlap = (student * teacher).sum(axes)
    size = student.square().sum(axes) + teacher.square().sum(axes)
    return 1 - (2 * overlap / (size + EPSILON))[:, 1:].mean()


def labels_loss(source: Tensor, target: Tensor, displacement_mm: Tensor, spacing_mm: Triple, valid: Tensor) -> Tensor:
    """Compute the Dice loss between the warped labels of the source and the labels of the target, on valid slices.

    Args:
        source: label shares [B, C, Z, Y, X]; class 0 is background.
        target: label shares of the same shape.
        displacement_mm: [B, 3, Z, Y, X], from the target to the source; gradients flow to it.
        spacing_mm: voxel spacing (z, y, x) of all of them.
        valid: bool [B, Z], true for slices that hold an image.
    """
    seen = valid[:, None, :, None, None].to(source.dtype)
    return dice_loss(warp(source, displacement_mm, spacing_mm) * seen, target * seen)


def diffusion_energy(field_mm: Tensor, spacing_mm: Triple) -> Tensor:
    """Compute the mean squared norm of the gradient of a field [B, 3, Z, Y, X] in mm, by forward differences.

    It has no unit, because the spacing (z, y, x) is in mm too.
    """
    energy = field_mm.new_zeros(())
    for axis, spacing in zip((2, 3, 4), spacing_mm):
        energy = energy + (field_mm.diff(dim=axis) / spacing).square().sum(1).mean()
    return energy


def excess(displacement_mm: Tensor, limit_mm: float) -> Tensor:
    """Compute the mean squared excess of the components' magnitude over a limit, mm^2: the hinge on the max field."""
    return F.relu(displacement_mm.abs() - limit_mm).square().mean()
