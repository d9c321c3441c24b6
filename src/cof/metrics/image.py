"""Image similarity of generated and real frames: SSIM and PSNR.

Both take canonical cines [T, Z, Y, X] with intensities in [0, 1]. Frame 0 is the anchor, which every generator copies,
so it is left out. A region, bool [Z, Y, X], restricts them to its voxels.
"""

from functools import cache

import numpy as np
from scipy.ndimage import gaussian_filter1d

SIGMA = 1.5
WINDOW = 11
K1, K2 = 0.01, 0.03
_RADIUS = WINDOW // 2


def ssim_images(a: np.ndarray, b: np.ndarray, data_range: float | np.ndarray = 1.0) -> np.ndarray:
    """Return the mean structural similarity [...] of each pair of images in a and b [..., Y, X], as `ssim_maps` has it.

    Raises:
        ValueError: as `ssim_maps`.
    """
    return ssim_maps(a, b, data_range).mean(axis=(-2, -1))


def ssim_maps(a: np.ndarray, b: np.ndarray, data_range: float | np.ndarray = 1.0) -> np.ndarray:
    """Return the structural similarity of a and b [..., Y, X] at each pixel whose window lies inside the image.

    Gaussian window of 11 x 11 pixels, sigma 1.5, K1 = .01, K2 = .03, population covariance (Wang et al., IEEE TIP
    13:600, 2004; the same as `skimage.metrics.structural_similarity(gaussian_weights=True,
    use_sample_covariance=False)`).

    Args:
        a, b: images [..., Y, X].
        data_range: range of the intensities L in C1 = (K1 L)^2 and C2 = (K2 L)^2; one number, or one per image [...].

    Returns:
        float64 [..., Y - 10, X - 10].

    Raises:
        ValueError: the shapes differ, or an image is smaller than the window.
    """
    if a.shape != b.shape:
        raise ValueError(f"images of different shapes: {a.shape} and {b.shape}")
    if min(a.shape[-2:]) < WINDOW:
        raise ValueError(f"SSIM needs images of at least {WINDOW} x {WINDOW} pixels, not {a.shape[-2:]}")
    ranges = np.broadcast_to(np.asarray(data_range, np.float64), a.shape[:-2])
    if a.ndim > 3:  # frame by frame, since the sums of a whole cycle do not fit the processor's cache
        return np.stack([ssim_maps(*of_frame) for of_frame in zip(a, b, ranges)])
    a, b = a.astype(np.float64), b.astype(np.float64)
    rows, columns = (_window(length) for length in a.shape[-2:])
    mean_a, mean_b, squares, product = rows @ np.stack([a, b, a * a + b * b, a * b]) @ columns.T
    squared_means = mean_a**2 + mean_b**2
    variances = squares - squared_means  # the sum of both variances; they are not needed separately
    covariance = product - mean_a * mean_b
    c1, c2 = ((k * ranges[..., None, None]) ** 2 for k in (K1, K2))
    similarity = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    similarity /= (squared_means + c1) * (variances + c2)
    return similarity


@cache
def _window(length: int) -> np.ndarray:
    """Return the Gaussian window as a band matrix [length - 10, length]; a product is faster than a convolution."""
    return gaussian_filter1d(np.eye(length), SIGMA, axis=0, radius=_RADIUS)[_RADIUS:-_RADIUS]


def mean_ssim(a: np.ndarray, b: np.ndarray, region: np.ndarray | None = None) -> float:
    """Return the mean structural similarity of all images of a and b [T, Z, Y, X], data range 1.

    Args:
        a, b: frames or difference images.
        region: bool [Z, Y, X]; the mean is taken over its pixels whose window lies inside the image.

    Returns:
        NaN if the region has no such pixel.
    """
    if region is None:
        return float(ssim_images(a, b).mean())
    centres = region[:, _RADIUS:-_RADIUS, _RADIUS:-_RADIUS]
    if not centres.any():
        return float("nan")
    rows, columns = (np.flatnonzero(centres.any(axis=others)) for others in ((0, 2), (0, 1)))
    y, x = (slice(int(held[0]), int(held[-1]) + WINDOW) for held in (rows, columns))
    part = centres[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return float(ssim_maps(a[..., y, x], b[..., y, x])[:, part].mean())


def ssim(generated: np.ndarray, real: np.ndarray, region: np.ndarray | None = None) -> float:
    """Return the mean SSIM of two cines [T, Z, Y, X] in [0, 1] over frames 1 to T - 1, as `mean_ssim`."""
    return mean_ssim(generated[1:], real[1:], region)


def psnr(generated: np.ndarray, real: np.ndarray, region: np.ndarray | None = None) -> float:
    """Return the peak signal-to-noise ratio in dB, 10 log10(1 / MSE), of two cines [T, Z, Y, X] in [0, 1].

    The squared error is averaged over frames 1 to T - 1 and all voxels, or those of a region, before the logarithm.
    Equal cines give infinity, an empty region NaN.
    """
    error = generated[1:].astype(np.float64) - real[1:].astype(np.float64)
    if region is not None:
        error = error[:, region]
    if not error.size:
        return float("nan")
    mse = float(np.mean(error**2))
    return float("inf") if mse == 0 else float(-10 * np.log10(mse))
