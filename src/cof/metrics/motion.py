"""Agreement of generated and real motion: by image differences over time (M-Corr, M-SSIM), and in millimetres (EPE).

The paper names M-Corr and M-SSIM without defining them. Here they compare the signed difference images
D_t = I_{t+1} - I_t of the two cines. The anchor-referenced variants compare I_t - I_0, in which noise has less weight
and a heart that never moves has a low value.
"""

import math
from dataclasses import dataclass

import numpy as np

from cof.heart.function import pearson
from cof.metrics.image import mean_ssim, ssim_images


@dataclass(frozen=True)
class MotionAgreement:
    """Agreement of two cines' difference images.

    Attributes:
        correlation: Pearson correlation over all differences, frames, slices and pixels; 0 where `flat`.
        ssim: mean SSIM of the difference images, data range 1.
        flat: whether one of the cines does not change at all, so that the correlation is undefined.
    """

    correlation: float
    ssim: float
    flat: bool


def _agreement(generated: np.ndarray, real: np.ndarray, region: np.ndarray | None) -> MotionAgreement:
    """Compare difference images [T, Z, Y, X], or their voxels in a region; an empty region gives NaN."""
    if region is not None and not region.any():
        return MotionAgreement(math.nan, math.nan, flat=False)
    within = slice(None) if region is None else region
    correlation = pearson(generated[:, within], real[:, within])
    flat = bool(np.isnan(correlation))
    return MotionAgreement(0.0 if flat else correlation, mean_ssim(generated, real, region), flat)


def frame_to_frame(generated: np.ndarray, real: np.ndarray, region: np.ndarray | None = None) -> MotionAgreement:
    """Return M-Corr and M-SSIM of two cines [T, Z, Y, X] in [0, 1], from D_t = I_{t+1} - I_t, t = 0 to T - 2.

    Args:
        generated, real: the cines.
        region: bool [Z, Y, X], the voxels to compare; None for all.
    """
    return _agreement(_steps(generated), _steps(real), region)


def anchor_referenced(generated: np.ndarray, real: np.ndarray) -> MotionAgreement:
    """Return M-Corr and M-SSIM of two cines [T, Z, Y, X] in [0, 1], from D_t = I_t - I_0, t = 1 to T - 1."""
    generated, real = (cine[1:].astype(np.float32) - cine[:1].astype(np.float32) for cine in (generated, real))
    return _agreement(generated, real, None)


def ssim_in_range(generated: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Return the SSIM of each pair of difference images, with the range of the real one as its data range.

    With a data range of 1 the constants of the SSIM outweigh differences, which are far below 1. The range of the real
    image is the same for every generated heart.

    Args:
        generated, real: cines [T, Z, Y, X] in [0, 1].

    Returns:
        [T - 1, Z]; NaN where the real image does not change, so that it has no range.
    """
    ours, theirs = _steps(generated), _steps(real)
    ranges = np.ptp(theirs, axis=(-2, -1))
    return ssim_images(ours, theirs, np.where(ranges > 0, ranges, np.nan))


def _steps(cine: np.ndarray) -> np.ndarray:
    return np.diff(cine.astype(np.float32), axis=0)


def end_point_error(generated_mm: np.ndarray, reference_mm: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the mean length in mm of the difference of two displacements inside a mask, per frame.

    Args:
        generated_mm: [T, C, Z, Y, X] in mm; channels z, y, x, or y, x for the in-plane error.
        reference_mm: as `generated_mm`.
        mask: bool [T, Z, Y, X].

    Returns:
        [T] in mm; NaN for a frame whose mask is empty.
    """
    length = np.linalg.norm(generated_mm.astype(np.float32) - reference_mm.astype(np.float32), axis=1)
    count = mask.sum(axis=(1, 2, 3))
    total = (length * mask).sum(axis=(1, 2, 3), dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
