import numpy as np
import pytest

from cof.cine.grid import Placement
from cof.truth.sampling import frames_at_phases, labels_on_motion_grid, motion_voxels

PLACEMENT = Placement(
    offset=(0.0, 2.0, -3.0),
    scale=(1.0, 2.0, 2.0),
    shape=(4, 8, 8),
    spacing_mm=(10.0, 3.0, 3.0),
    native_shape=(3, 20, 20),
    native_spacing_mm=(10.0, 1.5, 1.5),
    intensity=(0.0, 1.0),
    valid=(True, True, True, False),
)


def test_a_motion_voxel_is_the_middle_of_two_canonical_ones() -> None:
    z, y, x = motion_voxels(PLACEMENT)
    assert z == pytest.approx([0, 1, 2, 3])
    assert y == pytest.approx([3, 7, 11, 15])  # canonical .5, 2.5, ... at 2 + 2 c
    assert x == pytest.approx([-2, 2, 6, 10])


def test_labels_are_read_at_the_nearest_voxel_and_are_background_outside() -> None:
    labels = np.random.default_rng(0).integers(1, 4, (2, 3, 20, 20)).astype(np.uint8)
    sampled = labels_on_motion_grid(labels, PLACEMENT)
    assert sampled.shape == (2, 4, 4, 4)
    assert sampled.dtype == np.uint8
    np.testing.assert_array_equal(sampled[:, :3, :, 1:], labels[:, :, 3:16:4, 2:11:4])
    assert not sampled[:, 3].any()  # beyond the last slice
    assert not sampled[..., 0].any()  # left of the stack


def test_phases() -> None:
    np.testing.assert_array_equal(frames_at_phases(20, 20), np.arange(20))
    np.testing.assert_array_equal(frames_at_phases(50, 25), np.arange(0, 50, 2))
    assert frames_at_phases(5, 50).max() == 4
    assert frames_at_phases(5, 50)[-1] == 0  # the last phase is nearest to the next beat's first frame
