import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monai.metrics import compute_hausdorff_distance
from scipy.spatial.distance import cdist

from cof.metrics.hausdorff import hd95, one_empty, surface

PIXELS, VOXELS = (1.5, 2.25), (10.0, 1.5, 2.25)


def brute_surface(mask: np.ndarray) -> np.ndarray:
    """The surface voxels [n, axes], by a look at every neighbour of every voxel."""
    inside = {tuple(index) for index in np.argwhere(mask)}
    steps = [step for step in itertools.product((-1, 0, 1), repeat=mask.ndim) if np.abs(step).sum() == 1]
    on = [v for v in sorted(inside) if any(tuple(np.add(v, step)) not in inside for step in steps)]
    return np.array(on, float).reshape(-1, mask.ndim)


def brute_hd95(a: np.ndarray, b: np.ndarray, spacing: tuple[float, ...]) -> float:
    """The larger directed percentile of all distances, from the whole matrix of them."""
    on_a, on_b = (brute_surface(mask) * spacing for mask in (a, b))
    if not len(on_a) or not len(on_b):
        return np.nan
    distances = cdist(on_a, on_b)
    return max(np.quantile(distances.min(1), 0.95), np.quantile(distances.min(0), 0.95))


@settings(max_examples=60, deadline=None)
@given(arrays(bool, (2, 3, 5, 4)), arrays(bool, (2, 3, 5, 4)))
def test_brute_force_finds_the_same_in_volumes(a: np.ndarray, b: np.ndarray) -> None:
    expected = [brute_hd95(*masks, VOXELS) for masks in zip(a, b)]
    np.testing.assert_allclose(hd95(a, b, VOXELS), expected, atol=1e-9, rtol=0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**16), st.floats(0, 1), st.floats(0, 1))
def test_brute_force_finds_the_same_in_images(seed: int, share_a: float, share_b: float) -> None:
    rng = np.random.default_rng(seed)
    a, b = (rng.random((3, 9, 12)) < share for share in (share_a, share_b))  # from empty to full
    expected = [brute_hd95(*masks, PIXELS) for masks in zip(a, b)]
    np.testing.assert_allclose(hd95(a, b, PIXELS), expected, atol=1e-9, rtol=0)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**16), st.floats(0.05, 1))
def test_monai_finds_the_same_in_single_precision(seed: int, share: float) -> None:
    """Its percentile is interpolated between ranks that have rounding errors, too."""
    a, b = np.random.default_rng(seed).random((2, 2, 3, 8, 9)) < share
    a[:, 0, 0, 0] = b[:, 2, 7, 8] = True  # neither is empty
    both = (torch.from_numpy(masks)[:, None] for masks in (a, b))
    expected = compute_hausdorff_distance(*both, include_background=True, percentile=95, spacing=list(VOXELS))
    np.testing.assert_allclose(hd95(a, b, VOXELS), expected[:, 0], atol=1e-4, rtol=0)


@settings(max_examples=30, deadline=None)
@given(arrays(bool, (1, 2, 4, 4)), arrays(bool, (1, 2, 4, 4)), st.floats(0.1, 10))
def test_it_is_symmetric_and_grows_with_the_spacing(a: np.ndarray, b: np.ndarray, factor: float) -> None:
    np.testing.assert_array_equal(hd95(a, b, VOXELS), hd95(b, a, VOXELS))
    scaled = tuple(factor * length for length in VOXELS)
    np.testing.assert_allclose(hd95(a, b, scaled), factor * hd95(a, b, VOXELS))
    np.testing.assert_array_equal(hd95(a, a, VOXELS), 0 if a.any() else np.nan)


def test_parallel_planes_are_as_far_apart_as_their_slices() -> None:
    a, b = np.zeros((2, 1, 6, 7, 7), bool)
    a[0, 1], b[0, 4] = True, True
    assert hd95(a, b, VOXELS) == [30]


def test_the_percentile_of_a_line_and_a_point() -> None:
    """The pixels of a row lie 0, 1, ... 40 pixels from its first one: the 95th percentile is 38 pixels."""
    a, b = np.zeros((2, 1, 3, 41), bool)
    a[0, 1], b[0, 1, 0] = True, True
    assert hd95(a, b, PIXELS) == pytest.approx([38 * 2.25])


def test_shifted_discs_are_apart_by_almost_the_shift() -> None:
    """The contour at the angle t is |cos t| d from that of a disc shifted by d << r; 5 % lie beyond d cos 4.5 deg."""
    y, x = np.mgrid[-100:101, -100:101]
    a, b = (np.hypot(y, x - shift)[None] < 80 for shift in (0, 10))
    assert hd95(a, b, (0.5, 0.5)) == pytest.approx([5 * np.cos(np.deg2rad(4.5))], abs=0.25)


def test_concentric_discs_are_apart_by_the_difference_of_their_radii() -> None:
    y, x = np.mgrid[-100:101, -100:101]
    a, b = (np.hypot(y, x)[None] < radius for radius in (90, 70))
    assert hd95(a, b, (0.5, 0.5)) == pytest.approx([10], abs=0.5)


def test_the_edge_of_the_array_is_surface() -> None:
    assert surface(np.ones((1, 3, 4), bool)).sum() == 10
    assert surface(np.ones((1, 1, 4, 4), bool)).all()  # a single slice: above and below lies background


def test_an_empty_mask_has_no_distance_and_is_told_from_two_empty_ones() -> None:
    a, b = np.zeros((2, 3, 4, 4), bool)
    a[:2], b[0] = True, True
    np.testing.assert_array_equal(hd95(a, b, PIXELS), [0, np.nan, np.nan])
    np.testing.assert_array_equal(one_empty(a, b), [False, True, False])


def test_masks_that_do_not_fit_are_refused() -> None:
    mask = np.ones((1, 3, 3), bool)
    with pytest.raises(ValueError, match="shapes"):
        hd95(mask, mask[:, 1:], PIXELS)
    with pytest.raises(ValueError, match="3 distances"):
        hd95(mask, mask, VOXELS)
