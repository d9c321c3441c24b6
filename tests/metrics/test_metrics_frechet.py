"""The Fréchet distance against closed forms, and what goes into it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg

from cof.metrics.frechet import (
    ITEMS_A_COMPONENT,
    Components,
    Moments,
    frechet_distance,
    split_halves,
    temporal_cosines,
)


def gaussian(seed: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(width, width))
    return rng.normal(size=width), root @ root.T


def test_equal_covariances_leave_the_squared_distance_of_the_means() -> None:
    mean, covariance = gaussian(0, 6)
    step = np.array([3.0, 4.0, 0, 0, 0, 0])
    assert frechet_distance(mean, covariance, mean + step, covariance) == pytest.approx(25)


def test_diagonal_covariances_add_the_squared_differences_of_the_deviations() -> None:
    a, b = np.array([1.0, 2.0, 0.5]), np.array([3.0, 2.0, 0.0])
    found = frechet_distance(np.zeros(3), np.diag(a**2), np.zeros(3), np.diag(b**2))
    assert found == pytest.approx(((a - b) ** 2).sum())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**5), st.integers(0, 10**5), st.integers(1, 8))
def test_it_is_the_published_formula_symmetric_and_zero_on_itself(a: int, b: int, width: int) -> None:
    one, other = gaussian(a, width), gaussian(b + 10**6, width)
    found = float(frechet_distance(*one, *other))
    root = linalg.sqrtm(one[1] @ other[1])
    expected = ((one[0] - other[0]) ** 2).sum() + np.trace(one[1] + other[1] - 2 * np.real(root))
    scale = np.trace(one[1]) + np.trace(other[1])
    assert found == pytest.approx(expected, abs=1e-5 * scale)
    assert found == pytest.approx(float(frechet_distance(*other, *one)), abs=1e-5 * scale)
    assert float(frechet_distance(*one, *one)) == pytest.approx(0, abs=1e-6 * scale)


def test_a_covariance_without_full_rank_is_fine() -> None:
    flat = np.diag([1.0, 0.0])
    assert frechet_distance(np.zeros(2), flat, np.zeros(2), flat) == pytest.approx(0, abs=1e-9)


def test_weighted_moments_are_those_of_repeated_units() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=(count, 3)) for count in (5, 1, 7)]
    moments = Moments(3, 3)
    for unit, part in enumerate(parts):
        moments.add(unit, part[:2])
        moments.add(unit, part[2:])
    weights = np.array([[1.0, 1, 1], [2, 0, 1]])
    for row, (mean, covariance) in zip(weights, zip(*moments.gaussian(weights))):
        drawn = np.concatenate([part for part, times in zip(parts, row) for _ in range(int(times))])
        np.testing.assert_allclose(mean, drawn.mean(0))
        np.testing.assert_allclose(covariance, np.cov(drawn.T), atol=1e-12)


def test_components_are_the_directions_of_most_spread() -> None:
    rng = np.random.default_rng(0)
    items = rng.normal(size=(4000, 4)) * [0.1, 5, 0.2, 2] + 7
    moments = Moments(1, 4)
    moments.add(0, items)
    components = Components.of(moments, 2)
    assert abs(components.axes[1, 0]) > 0.99
    assert abs(components.axes[3, 1]) > 0.99
    np.testing.assert_allclose(components(items).std(0), [5, 2], rtol=0.05)
    few = Moments(1, 4)
    few.add(0, items[: ITEMS_A_COMPONENT + 1])
    assert Components.of(few, 4).axes.shape == (4, 1)


def test_cosines_of_a_course() -> None:
    """A constant course has its mean alone, and the number of frames plays no part."""
    constant = np.broadcast_to(np.array([[1.0, 2.0]]), (12, 1, 2))
    np.testing.assert_allclose(temporal_cosines(constant, 3), [[1, 2, 0, 0, 0, 0]], atol=1e-12)

    def wave(frames: int) -> np.ndarray:
        middle = (np.arange(frames) + 0.5) / frames
        return np.cos(2 * np.pi * middle)[:, None, None]

    found = temporal_cosines(wave(20), 4)
    np.testing.assert_allclose(found, [[0, 0, np.sqrt(0.5), 0]], atol=1e-12)
    np.testing.assert_allclose(temporal_cosines(wave(50), 4), found, atol=1e-12)


def test_halves_share_no_unit() -> None:
    halves = split_halves(7, 5, 0)
    assert halves.shape == (5, 2, 7)
    np.testing.assert_array_equal(halves.sum(1), 1)
    np.testing.assert_array_equal(halves.sum(2), [[3, 4]] * 5)
    assert len({row.tobytes() for row in halves[:, 0]}) > 1
