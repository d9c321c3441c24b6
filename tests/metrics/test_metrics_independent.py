"""Every metric that another package also has, against it: on random input, and on input that is extreme."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from sklearn.metrics import f1_score, jaccard_score, root_mean_squared_error

from cof.heart.function import curve_correlation, curve_error, pearson
from cof.metrics.image import psnr, ssim, ssim_images
from cof.metrics.motion import anchor_referenced, end_point_error, frame_to_frame, ssim_in_range
from cof.metrics.overlap import dice, iou

SHAPE = (3, 2, 16, 13)
EXACT = {"abs": 1e-6, "rel": 1e-6}


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(SHAPE, np.float32)


def point() -> np.ndarray:
    cine = np.zeros(SHAPE, np.float32)
    cine[:, :, 8, 6] = 1
    return cine


CINES = {
    "noise": noise(0),
    "other noise": noise(1),
    "faint noise": 0.9 + 0.001 * noise(2),
    "black": np.zeros(SHAPE, np.float32),
    "white": np.ones(SHAPE, np.float32),
    "grey": np.full(SHAPE, 0.7, np.float32),
    "point": point(),
    "checkerboard": np.broadcast_to(np.indices(SHAPE[2:]).sum(0) % 2, SHAPE).astype(np.float32),
    "half precision": noise(3).astype(np.float16),
    "fading": np.linspace(0, 1, SHAPE[0], dtype=np.float32)[:, None, None, None] * noise(4),
}
PAIRS = [(a, b) for a in CINES for b in CINES]


def of_skimage(a: np.ndarray, b: np.ndarray, data_range: float = 1.0, full: bool = False):
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": data_range}
    return structural_similarity(a.astype(np.float64), b.astype(np.float64), full=full, **options)


def images(cine: np.ndarray) -> np.ndarray:
    return cine.reshape(-1, *cine.shape[2:])


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_ssim_of_scikit_image(first: str, second: str) -> None:
    a, b = CINES[first], CINES[second]
    expected = [of_skimage(*pair) for pair in zip(images(a), images(b))]
    np.testing.assert_allclose(ssim_images(a, b).ravel(), expected, atol=1e-6)
    assert ssim(a, b) == pytest.approx(np.mean(expected[SHAPE[1] :]), **EXACT)


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_psnr_of_scikit_image(first: str, second: str) -> None:
    a, b = (CINES[name][1:].astype(np.float64) for name in (first, second))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # its division by an error of zero
        expected = peak_signal_noise_ratio(b, a, data_range=1)
    assert psnr(CINES[first], CINES[second]) == pytest.approx(expected, **EXACT)


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_motion_metrics_of_scipy_and_scikit_image(first: str, second: str) -> None:
    a, b = (CINES[name].astype(np.float32) for name in (first, second))
    ours = frame_to_frame(a, b), anchor_referenced(a, b)
    steps = [np.diff(cine, axis=0) for cine in (a, b)], [cine[1:] - cine[0] for cine in (a, b)]
    for agreement, (one, other) in zip(ours, steps):
        flat = np.ptp(one) == 0 or np.ptp(other) == 0
        assert agreement.flat == flat
        r = 0 if flat else stats.pearsonr(one.ravel().astype(float), other.ravel().astype(float)).statistic
        assert agreement.correlation == pytest.approx(r, **EXACT)
        expected = np.mean([of_skimage(*pair) for pair in zip(images(one), images(other))])
        assert agreement.ssim == pytest.approx(expected, **EXACT)


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_motion_ssim_in_the_range_of_each_image(first: str, second: str) -> None:
    a, b = (CINES[name].astype(np.float32) for name in (first, second))
    steps = zip(*(images(np.diff(cine, axis=0)) for cine in (a, b)))
    expected = [of_skimage(one, other, np.ptp(other)) if np.ptp(other) > 0 else np.nan for one, other in steps]
    np.testing.assert_allclose(ssim_in_range(a, b).ravel(), expected, atol=1e-6)


@pytest.mark.parametrize(("rows", "columns"), [((4, 12), (3, 9)), ((0, 16), (0, 7)), ((8, 9), (6, 7))])
def test_metrics_of_a_region_are_those_of_its_pixels(rows: tuple[int, int], columns: tuple[int, int]) -> None:
    a, b = noise(0), noise(1)
    region = np.zeros(SHAPE[1:], bool)
    region[0, slice(*rows), slice(*columns)] = True
    window = np.zeros(SHAPE[2:], bool)
    window[5:-5, 5:-5] = True
    maps = [of_skimage(a[t, 0], b[t, 0], full=True)[1] for t in (1, 2)]
    assert ssim(a, b, region) == pytest.approx(np.mean([m[region[0] & window] for m in maps]), **EXACT)
    error = np.mean((a[1:, region].astype(float) - b[1:, region]) ** 2)
    assert psnr(a, b, region) == pytest.approx(-10 * np.log10(error), **EXACT)
    one, other = np.diff(a, axis=0), np.diff(b, axis=0)
    agreement = frame_to_frame(a, b, region)
    r = stats.pearsonr(one[:, region].ravel().astype(float), other[:, region].ravel().astype(float)).statistic
    assert agreement.correlation == pytest.approx(r, **EXACT)
    maps = [of_skimage(one[t, 0], other[t, 0], full=True)[1] for t in (0, 1)]
    assert agreement.ssim == pytest.approx(np.mean([m[region[0] & window] for m in maps]), **EXACT)


def test_what_lies_outside_a_region_does_not_count() -> None:
    real = noise(0)
    region = np.zeros(SHAPE[1:], bool)
    region[0, 7:9, 6:8] = True
    other = real.copy()
    other[:, 1] = 0  # the other slice
    assert ssim(other, real, region) == pytest.approx(1)
    assert psnr(other, real, region) == float("inf")
    assert frame_to_frame(other, real, region).correlation == pytest.approx(1)


def test_an_empty_region_has_no_value() -> None:
    a, b, nothing = noise(0), noise(1), np.zeros(SHAPE[1:], bool)
    agreement = frame_to_frame(a, b, nothing)
    assert np.isnan([ssim(a, b, nothing), psnr(a, b, nothing), agreement.correlation, agreement.ssim]).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**16), st.integers(1, 4), st.integers(1, 3))
def test_overlap_of_scikit_learn(seed: int, classes: int, label: int) -> None:
    """With few classes the label may be absent from both maps, which scikit-learn is told to call NaN."""
    a, b = np.random.default_rng(seed).integers(0, classes, (2, 3, 2, 2, 3))
    for ours, theirs in ((dice, f1_score), (iou, jaccard_score)):
        expected = []
        for one, other in zip(a == label, b == label):
            absent = not (one.any() or other.any())
            expected.append(np.nan if absent else theirs(one.ravel(), other.ravel(), zero_division=0))
        np.testing.assert_allclose(ours(a, b, label), expected, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**16), st.integers(3, 60), st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
def test_curves_of_scipy_and_scikit_learn(seed: int, frames: int, scale: float, offset: float) -> None:
    a, b = scale * np.random.default_rng(seed).random((2, frames)) + offset
    expected = stats.pearsonr(a, b).statistic
    assert pearson(a, b) == curve_correlation(a, b) == pytest.approx(expected, **EXACT)
    volumes = np.abs(b) + 1
    assert curve_error(a, volumes) == pytest.approx(root_mean_squared_error(volumes, a) / volumes[0], **EXACT)


def test_end_point_errors_voxel_by_voxel() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(size=(2, 2, 3, 2, 4, 4))
    mask = rng.random((2, 2, 4, 4)) < 0.5
    between = ours - theirs
    expected = [np.mean([np.linalg.norm(between[t, :, z, y, x]) for z, y, x in np.argwhere(mask[t])]) for t in (0, 1)]
    assert end_point_error(ours, theirs, mask) == pytest.approx(expected, **EXACT)
