import numpy as np
import pytest

from cof.heart.function import pearson
from cof.metrics.image import ssim_images
from cof.metrics.motion import anchor_referenced, end_point_error, frame_to_frame


def beating(amplitude: float, frames: int = 10, noise: float = 0.0) -> np.ndarray:
    """A bright disc whose radius follows a cosine, [T, 1, 32, 32]."""
    y, x = np.mgrid[:32, :32] - 15.5
    radius = 9 - amplitude * (1 - np.cos(2 * np.pi * np.arange(frames) / frames))
    disc = 1 / (1 + np.exp(np.hypot(y, x) - radius[:, None, None]))
    return (disc + noise * np.random.default_rng(0).standard_normal(disc.shape))[:, None]


def test_correlation_is_that_of_all_signed_differences() -> None:
    real, generated = beating(2, noise=0.02), beating(1.5)
    steps = [np.diff(c, axis=0).ravel() for c in (generated, real)]
    assert frame_to_frame(generated, real).correlation == pytest.approx(np.corrcoef(*steps)[0, 1], abs=1e-6)
    moved = [(c[1:] - c[0]).ravel() for c in (generated, real)]
    assert anchor_referenced(generated, real).correlation == pytest.approx(np.corrcoef(*moved)[0, 1], abs=1e-6)


def test_motion_ssim_is_that_of_the_difference_images() -> None:
    real, generated = beating(2), beating(1.5)
    steps = [np.diff(c, axis=0) for c in (generated, real)]
    assert frame_to_frame(generated, real).ssim == pytest.approx(ssim_images(*steps).mean(), abs=1e-6)
    moved = [c[1:] - c[0] for c in (generated, real)]
    assert anchor_referenced(generated, real).ssim == pytest.approx(ssim_images(*moved).mean(), abs=1e-6)


@pytest.mark.parametrize("compare", [frame_to_frame, anchor_referenced])
def test_a_heart_that_never_moves_scores_zero_and_is_flagged(compare) -> None:
    real = beating(2)
    still = np.repeat(real[:1], len(real), axis=0)
    agreement = compare(still, real)
    assert agreement.correlation == 0
    assert agreement.flat
    assert not compare(real, real).flat


@pytest.mark.parametrize("compare", [frame_to_frame, anchor_referenced])
def test_equal_motion_scores_one_and_opposite_motion_minus_one(compare) -> None:
    real = beating(2)
    assert compare(real, real).correlation == pytest.approx(1)
    assert compare(real, real).ssim == pytest.approx(1)
    assert compare(2 * real[:1] - real, real).correlation == pytest.approx(-1, abs=1e-6)


def test_differences_ignore_a_constant_brightness() -> None:
    real = beating(2)
    assert frame_to_frame(real + 0.3, real).ssim == pytest.approx(1)


def test_pearson_of_a_constant_is_undefined() -> None:
    assert np.isnan(pearson(np.ones(4), np.arange(4)))


def test_end_point_error_is_the_mean_distance_inside_the_mask() -> None:
    reference = np.zeros((3, 3, 2, 4, 4))
    generated = reference.copy()
    generated[:, :, :, :2] = np.array([2.0, 3.0, 6.0])[:, None, None, None]  # length 7
    mask = np.zeros((3, 2, 4, 4), bool)
    mask[0, :, :2] = True
    mask[1] = True
    error = end_point_error(generated, reference, mask)
    assert error[:2] == pytest.approx([7, 3.5])
    assert np.isnan(error[2])
    assert end_point_error(generated[:, 1:], reference[:, 1:], mask)[0] == pytest.approx(np.hypot(3, 6))
