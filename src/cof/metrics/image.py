"""Image similarity of generated and real frames: SSIM and PSNR.

Both take canonical cines [T, Z, Y, X] with intensities in [0, 1]. Frame 0 is the anchor, which every generator copies,
so it is left out.
"""

from functools import cache

import numpy as np
from scipy.ndimage import gaussian_filter1d

SIGMA = 1.5
WINDOW = 11
K1, K2 = 0.01, 0.03
_RADIUS = WINDOW // 2


def ssim_images(a: np.ndarray, b: np.ndarray, data_range: float = 1.0) -> np.ndarray:
    """Return the mean structural similarity [...] of each pair of images in a and b [..., Y, X].

    Gaussian window of 11 x 11 pixels, sigma 1.5, K1 = .01, K2 = .03, population covariance, averaged over the pixels
    whose window lies inside the image (Wang et al., IEEE TIP 13:600, 2004; the same as
    `skimage.metrics.structural_similarity(gaussian_weights=True, use_sample_covariance=False)`).

    Raises:
        ValueError: the shapes differ, or an image is smaller than the window.
    """
    if a.shape != b.shape:
        raise ValueError(f"images of different shapes: {a.shape} and {b.shape}")
    if min(a.shape[-2:]) < WINDOW:
        raise ValueError(f"SSIM needs images of at least {WINDOW} x {WINDOW} pixels, not {a.shape[-2:]}")
    if a.ndim > 3:  # frame by frame, since the sums of a whole cycle do not fit the processor's cache
        return np.stack([ssim_images(one, other, data_range) for one, other in zip(a, b)])
    a, b = a.astype(np.float32), b.astype(np.float32)
    rows, columns = (_window(length) for length in a.shape[-2:])
    mean_a, mean_b, squares, product = rows @ np.stack([a, b, a * a + b * b, a * b]) @ columns.T
    squared_means = mean_a**2 + mean_b**2
    variances = squares - squared_means  # the sum of both variances; they are not needed separately
    covariance = product - mean_a * mean_b
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    similarity = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    similarity /= (squared_means + c1) * (variances + c2)
    return similarity.mean(axis=(-2, -1), dtype=np.float64)


@cache
def _window(length: int) -> np.ndarray:
    """Return the Gaussian window as a band matrix [length - 10, length]; a product is faster than a convolution."""
    return gaussian_filter1d(np.eye(length, dtype=np.float32), SIGMA, axis=0, radius=_RADIUS)[_RADIUS:-_RADIUS]


def ssim(generated: np.ndarray, real: np.ndarray) -> float:
    """Return the SSIM of two cines [T, Z, Y, X] in [0, 1], averaged over slices and over frames 1 to T - 1."""
    return float(ssim_images(generated[1:], real[1:]).mean())


def psnr(generated: np.ndarray, real: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio in dB, 10 log10(1 / MSE), of two cines [T, Z, Y, X] in [0, 1].

    The squared error is averaged over frames 1 to T - 1 and all voxels before the logarithm. Equal cines give infinity.
    """
    error = float(np.mean((generated[1:].astype(np.float64) - real[1:].astype(np.float64)) ** 2))
    return float("inf") if error == 0 else float(-10 * np.log10(error))
