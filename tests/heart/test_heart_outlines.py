import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cof.heart.outlines import labels_within, outline_distances, signed_distance
from cof.heart.structures import SURFACES

SPACING = (10.0, 1.5, 2.0)


def disc(radius_mm: float, centre=(31.0, 40.0), shape=(44, 40)) -> np.ndarray:
    y, x = (np.arange(size) * step for size, step in zip(shape, SPACING[1:]))
    return np.hypot(y[:, None] - centre[0], x - centre[1]) - radius_mm


def heart(seed: int, slices: int = 5) -> np.ndarray:
    """Random blocks of random labels, some slices empty: as no heart looks."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, (slices, 6, 7)).repeat(rng.integers(1, 3), 1).repeat(rng.integers(1, 3), 2)
    labels[rng.random(slices) < 0.3] = 0
    labels[rng.random(slices) < 0.3] *= labels[0, 0, 0] != 1
    return labels.astype(np.uint8)


def test_the_distance_of_a_disc_is_that_of_its_circle():
    exact = -disc(22)
    found = signed_distance(exact > 0, SPACING[1:])
    assert ((found > 0) == (exact > 0)).all()
    near = np.abs(exact) < 15
    assert np.abs(found - exact)[near].max() < np.hypot(*SPACING[1:])
    assert abs((found - exact)[near].mean()) < 0.3


def test_beyond_the_image_lies_nothing_of_a_mask():
    found = signed_distance(np.ones((5, 9), bool), (1.0, 2.0))
    np.testing.assert_allclose(found[2], [1.5, 2.5, 2.5, 2.5, 2.5, 2.5, 2.5, 2.5, 1.5])


@given(seed=st.integers(0, 400))
def test_labels_come_back_from_their_outlines(seed):
    labels = heart(seed)
    np.testing.assert_array_equal(labels_within(outline_distances(labels, SPACING)), labels)


@given(seed=st.integers(0, 400))
def test_the_endocardium_lies_within_the_epicardium(seed):
    labels = heart(seed)
    endocardium, epicardium, _ = outline_distances(labels, SPACING)
    held = (labels == 1).any((1, 2))
    assert (endocardium <= epicardium)[held].all()


def test_a_structure_ends_half_way_to_a_slice_without_it():
    labels = np.zeros((6, 44, 40), np.uint8)
    for index, radius in ((2, 20), (3, 12)):
        labels[index][disc(radius) < 0] = 1
    distances = outline_distances(labels, SPACING)
    for empty, nearest in ((1, 2), (0, 2), (4, 3), (5, 3)):
        np.testing.assert_array_equal(distances[0, empty], -np.abs(distances[0, nearest]))
    for share, kept in ((0.49, True), (0.51, False)):
        between = labels_within((1 - share) * distances[:, 2] + share * distances[:, 1])
        assert np.array_equal(between, labels[2]) if kept else not between.any()


def test_a_gap_between_two_slices_is_outside_of_both():
    labels = np.zeros((3, 44, 40), np.uint8)
    labels[0][disc(20) < 0] = labels[2][disc(12) < 0] = 3
    right = outline_distances(labels, SPACING)[2]
    np.testing.assert_array_equal(right[1], -np.minimum(np.abs(right[0]), np.abs(right[2])))


def test_a_structure_that_is_nowhere_has_no_inside():
    assert (outline_distances(np.zeros((3, 5, 6), np.uint8), SPACING) < 0).all()
    assert outline_distances(np.full((3, 5, 6), 3, np.uint8), SPACING).shape == (len(SURFACES), 3, 5, 6)


@pytest.mark.parametrize(
    ("endocardium", "epicardium", "right", "label"),
    [
        (1, 2, -1, 1),
        (-1, 2, -1, 2),
        (0, 2, -1, 2),  # on the outline is not inside
        (-1, 0, 0, 0),
        (-1, -1, 0.1, 3),
        (-1, 1, 2, 3),  # deeper inside the RV
        (-1, 2, 1, 2),
        (-1, 1, 1, 2),  # a tie is the left ventricle's
        (1, 1, 1, 1),
        (0.5, 1, 2, 3),
    ],
)
def test_a_voxel_belongs_to_the_outline_that_it_lies_deepest_inside(endocardium, epicardium, right, label):
    found = labels_within(np.array([endocardium, epicardium, right], np.float32))
    assert (found, found.dtype) == (label, np.uint8)
