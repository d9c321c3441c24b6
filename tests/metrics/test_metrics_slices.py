import numpy as np
import pytest

from cof.metrics.slices import ranked_slices, slice_agreement

SIZE = 80


def disc(radius: float, x: float = 0) -> np.ndarray:
    rows, columns = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    return np.hypot(rows, columns - x) < radius


def short_axis(wall: float, cavity: float, right: float = 0) -> np.ndarray:
    """One slice: a ring of the radii `cavity` and `wall` in pixels, and a right ventricle beside it."""
    labels = np.zeros((SIZE, SIZE), np.uint8)
    labels[disc(right, -25)] = 3
    labels[disc(wall)] = 2
    labels[disc(cavity)] = 1
    return labels


def tapering() -> np.ndarray:
    """From base to apex; the ring of the last slice has less than 25 % of the largest ring's area."""
    radii = ((20, 15, 14), (20, 14, 12), (18, 12, 8), (14, 9, 0), (7, 5, 0))
    return np.stack([short_axis(*each) for each in radii])


def test_ranks_run_from_the_base_to_the_last_slice_with_enough_myocardium() -> None:
    np.testing.assert_array_equal(ranked_slices(tapering()), [0, 1, 2, 3])


def test_a_reversed_stack_has_the_same_ranks() -> None:
    np.testing.assert_array_equal(ranked_slices(tapering()[::-1]), [4, 3, 2, 1])


def test_a_hole_in_the_stack_gets_no_rank_and_takes_none() -> None:
    labels = tapering()
    labels[1] = 0
    np.testing.assert_array_equal(ranked_slices(labels), [0, 2, 3])


def test_a_base_with_hardly_any_wall_is_left_out() -> None:
    """Above the valve a slice shows a large right ventricle and a remnant of the wall: rank 1 is the slice below."""
    above = short_axis(20, 19.5, 16)
    np.testing.assert_array_equal(ranked_slices(np.concatenate([above[None], tapering()])), [1, 2, 3, 4])


def test_a_stack_without_its_base_begins_at_its_first_slice() -> None:
    np.testing.assert_array_equal(ranked_slices(tapering()[2:]), [0, 1])


def test_the_threshold_is_a_quarter_of_the_largest_area() -> None:
    labels = np.zeros((3, 20, 20), np.uint8)
    for z, pixels in enumerate((100, 25, 24)):
        labels[z].flat[:pixels] = 2
    np.testing.assert_array_equal(ranked_slices(labels), [0, 1])


def test_labels_without_myocardium_have_no_ranks() -> None:
    assert not len(ranked_slices(np.ones((4, 6, 6), np.uint8)))
    found = slice_agreement(*np.zeros((2, 3, 0, 6, 6), np.uint8), 1, (1.0, 1.0))
    assert found.dice.shape == found.missing.shape == (3, 0)


def test_shifted_discs_in_one_slice_of_one_frame() -> None:
    """Two discs of radius r at the distance d share the area 2 r^2 acos(d / 2r) - d / 2 sqrt(4 r^2 - d^2)."""
    radius, shift = 30, 6
    ours = np.tile(disc(radius).astype(np.uint8), (2, 3, 1, 1))
    theirs = ours.copy()
    theirs[1, 2] = disc(radius, shift)
    found = slice_agreement(ours, theirs, 1, (2.0, 1.5))
    shared = 2 * radius**2 * np.arccos(shift / 2 / radius) - shift / 2 * np.sqrt(4 * radius**2 - shift**2)
    dice = shared / (np.pi * radius**2)
    assert found.dice[1, 2] == pytest.approx(dice, abs=0.01)
    assert found.iou[1, 2] == pytest.approx(dice / (2 - dice), abs=0.01)
    assert found.hd95_mm[1, 2] == pytest.approx(1.5 * shift * np.cos(np.deg2rad(4.5)), abs=1)
    others = np.ones((2, 3), bool)
    others[1, 2] = False
    assert (found.dice[others] == 1).all()
    assert (found.hd95_mm[others] == 0).all()


def test_missed_and_absent_structures() -> None:
    ours, theirs = np.zeros((2, 1, 3, 8, 8), np.uint8)
    ours[0, :2, 2:5, 2:5], theirs[0, 0, 2:5, 2:5] = 3, 3
    found = slice_agreement(ours, theirs, 3, (1.0, 1.0))
    np.testing.assert_array_equal(found.dice, [[1, 0, np.nan]])
    np.testing.assert_array_equal(found.iou, [[1, 0, np.nan]])
    np.testing.assert_array_equal(found.hd95_mm, [[0, np.nan, np.nan]])
    np.testing.assert_array_equal(found.missing, [[False, True, False]])
