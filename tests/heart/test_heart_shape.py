import numpy as np
import pytest

from cof.heart.shape import SHAPE, shape
from cof.heart.structures import STRUCTURES

SPACING_MM = (8.0, 0.5, 0.5)


def cylinders(inner_mm: float, outer_mm: float, right_mm: float, slices: int = 6) -> np.ndarray:
    """A cavity in a ring of muscle, and a second cylinder beside them: [Z, Y, X]."""
    y, x = np.mgrid[:200, :320] * SPACING_MM[1]
    from_left, from_right = np.hypot(y - 50, x - 50), np.hypot(y - 50, x - 120)
    plane = np.zeros(y.shape, np.uint8)
    plane[from_left < outer_mm] = STRUCTURES["myocardium"]
    plane[from_left < inner_mm] = STRUCTURES["LV"]
    plane[from_right < right_mm] = STRUCTURES["RV"]
    return np.repeat(plane[None], slices, axis=0)


def test_the_shape_of_cylinders_is_known():
    found = dict(zip(SHAPE, np.exp(shape(cylinders(20, 30, 25), SPACING_MM))))
    height = 6 * SPACING_MM[0] / 1000
    assert found["lv_ml"] == pytest.approx(np.pi * 20**2 * height, rel=0.01)
    assert found["myocardium_ml"] == pytest.approx(np.pi * (30**2 - 20**2) * height, rel=0.01)
    assert found["rv_ml"] == pytest.approx(np.pi * 25**2 * height, rel=0.01)
    assert found["myocardium_per_lv"] == pytest.approx(30**2 / 20**2 - 1, rel=0.01)
    assert found["rv_per_lv"] == pytest.approx(25**2 / 20**2, rel=0.01)
    assert found["diameter_mm"] == pytest.approx(40, rel=0.01)
    assert found["wall_mm"] == pytest.approx(10, rel=0.01)
    assert found["wall_per_radius"] == pytest.approx(0.5, rel=0.01)


def test_size_and_shape_are_of_the_heart_and_not_of_the_grid():
    labels = cylinders(20, 30, 25)
    fine, coarse = shape(labels, SPACING_MM), shape(labels[:, ::2, ::2], (8.0, 1.0, 1.0))
    assert np.allclose(fine, coarse, atol=0.03)
    turned = shape(labels.transpose(0, 2, 1)[:, ::-1], SPACING_MM)
    assert np.allclose(fine, turned)


@pytest.mark.parametrize("missing", ["LV", "myocardium", "RV"])
def test_a_heart_that_lacks_a_structure_has_no_shape(missing):
    labels = cylinders(20, 30, 25)
    labels[labels == STRUCTURES[missing]] = 0
    assert np.isnan(shape(labels, SPACING_MM)).all()
