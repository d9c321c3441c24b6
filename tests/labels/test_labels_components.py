"""The largest component is exact: against scipy's labelling, and on shapes where connectivity decides."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from cof.labels.components import largest_components


def border(part: np.ndarray, wall: np.ndarray) -> int:
    """Faces in the plane between a part and the wall, counted voxel by voxel."""
    return sum(
        bool(wall[z, y + dy, x + dx])
        for z, y, x in np.argwhere(part)
        for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0))
        if 0 <= y + dy < part.shape[1] and 0 <= x + dx < part.shape[2]
    )


def expected(labels: np.ndarray) -> list[np.ndarray]:
    """The components of each structure of which any may stay, by scipy (26-connected).

    They are the largest, and of the LV those with the longest border to the wall.
    """
    result = []
    for structure in range(1, 4):
        parts, count = ndimage.label(labels == structure, structure=np.ones((3, 3, 3)))
        sizes = ndimage.sum_labels(parts > 0, parts, range(1, count + 1))
        ranks = [
            (border(parts == 1 + index, labels == 2) if structure == 1 else 0, size) for index, size in enumerate(sizes)
        ]
        result.append([parts == 1 + index for index, rank in enumerate(ranks) if rank == max(ranks)])
    return result


@given(arrays(np.uint8, (3, 6, 6), elements=st.integers(0, 3)))
@settings(max_examples=40, deadline=None)
def test_keeps_one_largest_component_of_each_structure(labels: np.ndarray) -> None:
    kept = largest_components(labels)
    assert kept.dtype == np.uint8
    for structure, candidates in enumerate(expected(labels), start=1):
        mask = kept == structure
        assert any(np.array_equal(mask, part) for part in candidates) if candidates else not mask.any()


@given(arrays(np.uint8, (3, 6, 6), elements=st.integers(0, 3)))
@settings(max_examples=20, deadline=None)
def test_twice_changes_nothing_more(labels: np.ndarray) -> None:
    once = largest_components(labels)
    np.testing.assert_array_equal(largest_components(once), once)


def test_corner_neighbours_across_slices_belong_together() -> None:
    labels = np.zeros((2, 4, 4), np.uint8)
    labels[0, 0, 0] = labels[1, 1, 1] = 2
    labels[0, 3, 3] = 2
    kept = largest_components(labels)
    assert kept[0, 0, 0] == 2
    assert kept[1, 1, 1] == 2
    assert kept[0, 3, 3] == 0


def test_structures_that_touch_stay_apart() -> None:
    labels = np.zeros((1, 1, 6), np.uint8)
    labels[0, 0] = [1, 1, 2, 1, 1, 1]
    np.testing.assert_array_equal(largest_components(labels)[0, 0], [0, 0, 2, 1, 1, 1])


def test_an_empty_volume_stays_empty() -> None:
    assert not largest_components(np.zeros((2, 3, 4), np.uint8)).any()


def test_the_cavity_in_the_ring_wins_over_a_larger_part_outside() -> None:
    """Where a network takes most of the RV for LV."""
    labels = np.zeros((1, 12, 20), np.uint8)
    labels[0, 1:8, 1:8] = 2
    labels[0, 3:6, 3:6] = 1
    labels[0, 1:10, 10:19] = 1
    kept = largest_components(labels)
    assert (kept[0, 3:6, 3:6] == 1).all()
    assert (kept == 1).sum() == 9
    without_wall = np.where(labels == 2, 0, labels).astype(np.uint8)
    assert (largest_components(without_wall) == 1).sum() == 81
