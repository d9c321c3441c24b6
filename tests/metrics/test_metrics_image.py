import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from cof.metrics.image import psnr, ssim, ssim_images


def cine(seed: int, shape: tuple[int, ...] = (4, 3, 24, 20)) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, np.float32)


def test_every_image_agrees_with_scikit_image() -> None:
    a, b = cine(0), np.clip(cine(0) + 0.3 * cine(1), 0, 1)
    expected = [
        structural_similarity(x, y, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1)
        for x, y in zip(a.reshape(-1, 24, 20), b.reshape(-1, 24, 20))
    ]
    np.testing.assert_allclose(ssim_images(a, b).ravel(), expected, rtol=1e-5)


def test_ssim_leaves_out_the_anchor() -> None:
    real = cine(0)
    generated = real.copy()
    generated[0] = 0
    assert ssim(generated, real) == pytest.approx(1)
    assert psnr(generated, real) == float("inf")
    generated[2] = 0
    assert ssim(generated, real) == pytest.approx((1 + ssim_images(generated[2], real[2]).mean() + 1) / 3)


def test_psnr_pools_the_squared_error_before_the_logarithm() -> None:
    real = np.zeros((3, 2, 12, 12))
    generated = real.copy()
    generated[1] = 0.2  # MSE .04 and 0 in the two frames that count: pooled .02
    assert psnr(generated, real) == pytest.approx(10 * np.log10(1 / 0.02))


def test_float16_cines_are_not_compared_in_half_precision() -> None:
    real = cine(3).astype(np.float16)
    assert psnr(real + np.float16(0.01), real) == pytest.approx(40, abs=0.2)


def test_images_smaller_than_the_window_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 11 x 11"):
        ssim(np.zeros((2, 1, 10, 30)), np.zeros((2, 1, 10, 30)))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**16), st.floats(0.01, 0.5))
def test_ssim_is_symmetric_bounded_and_one_for_equal_images(seed: int, noise: float) -> None:
    a = cine(seed, (2, 1, 14, 13))
    b = np.clip(a + noise * (cine(seed + 1, a.shape) - 0.5), 0, 1)
    assert ssim(a, b) == pytest.approx(ssim(b, a))
    assert -1 <= ssim(a, b) < 1
    assert ssim(a, a) == pytest.approx(1)


def test_a_cycle_has_the_similarity_of_its_images_to_the_last_bit() -> None:
    a, b = np.random.default_rng(5).random((2, 3, 2, 24, 20), dtype=np.float32)
    stacked = ssim_images(a.reshape(6, 24, 20), b.reshape(6, 24, 20))
    np.testing.assert_array_equal(ssim_images(a, b).ravel(), stacked)
