import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cof.cine.grid import (
    Placement,
    from_canonical,
    label_shares,
    labels_to_canonical,
    make_grid,
    place,
    read_grid,
    read_placement,
    resample_phase,
    to_canonical,
    write_grid,
)
from cof.cine.volume import Cine
from cof.config.data import GridSettings
from cof.errors import CofError, Reason

SMALL = GridSettings(shape=(6, 12, 10), spacing_mm=(10.0, 3.0, 3.0), frames=8)


def heart_at(shape, centre, radius=3):
    z, y, x = np.meshgrid(*map(np.arange, shape), indexing="ij")
    labels = np.zeros(shape, np.uint8)
    distance = np.hypot(y - centre[1], x - centre[2])
    labels[(distance < radius + 2) & (abs(z - centre[0]) < 2)] = 2
    labels[(distance < radius) & (abs(z - centre[0]) < 2)] = 1
    return labels


def ramp(shape, slopes=(3.0, 2.0, 1.0)):
    """A volume in which linear interpolation is exact."""
    z, y, x = np.meshgrid(*map(np.arange, shape), indexing="ij")
    return 100 + slopes[0] * z + slopes[1] * y + slopes[2] * x


def placed(shape=(8, 40, 44), centre=(3.0, 20.0, 21.0), spacing=(10.0, 1.5, 1.25), config=SMALL):
    return place(ramp(shape), heart_at(shape, centre), spacing, config)


def test_the_grid_lies_about_the_heart():
    placement = placed()
    assert placement.scale == (1.0, 2.0, 2.4)
    middle = [o + s * (n - 1) / 2 for o, s, n in zip(placement.offset, placement.scale, placement.shape)]
    assert middle[1:] == pytest.approx([20.0, 21.0])
    assert abs(middle[0] - 3.0) <= 0.5
    assert placement.offset[0] == round(placement.offset[0])
    assert all(placement.valid)


def test_rv_does_not_move_the_grid():
    labels = heart_at((8, 40, 44), (3, 20, 21))
    labels[:, :5] = 3
    assert place(ramp(labels.shape), labels, (10, 1.5, 1.25), SMALL) == placed()


@pytest.mark.parametrize("slices", [3, 5, 6, 7, 11])
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_as_many_native_slices_as_fit_are_covered(slices, share):
    placement = placed((slices, 40, 44), (share * (slices - 1), 20, 21))
    covered = placement.offset[0] + np.arange(6)
    inside = (covered >= 0) & (covered <= slices - 1)
    assert inside.sum() == min(slices, 6)
    assert placement.valid == tuple(inside)


@pytest.mark.parametrize(
    ("distance", "scale"), [(9.5, 1.0), (10.5, 1.0), (9.4, 10 / 9.4), (8.0, 1.25), (12.0, 10 / 12)]
)
def test_slices_are_resampled_only_where_their_distance_differs(distance, scale):
    placement = placed(spacing=(distance, 1.5, 1.25))
    assert placement.scale[0] == pytest.approx(scale)
    assert placement.spacing_mm == (10.0, 3.0, 3.0)


def test_no_heart_and_no_contrast_are_refused():
    volume = ramp((8, 40, 44))
    with pytest.raises(CofError) as caught:
        place(volume, np.full(volume.shape, 3, np.uint8), (10, 1.5, 1.25), SMALL)
    assert caught.value.reason is Reason.HEART_NOT_FOUND
    with pytest.raises(CofError) as caught:
        place(np.ones_like(volume), heart_at(volume.shape, (3, 20, 21)), (10, 1.5, 1.25), SMALL)
    assert caught.value.reason is Reason.CINE_NOT_FINITE


def test_the_affine_of_the_grid_is_exact(scan):
    placement = placed(scan.frames.shape[1:], (2.5, 8.0, 6.0), (10.0, 1.9, 1.7))
    affine = placement.canonical_affine(scan.affine)
    np.testing.assert_allclose(np.linalg.norm(affine[:3, :3], axis=0), (3.0, 3.0, 10.0), atol=1e-9)
    for index in np.random.default_rng(0).uniform(-3, 15, (20, 3)):  # z, y, x
        native = np.array(placement.offset) + np.array(placement.scale) * index
        there = affine @ [*index[::-1], 1]
        np.testing.assert_allclose(there, scan.affine @ [*native[::-1], 1], atol=1e-9)
        back = (np.linalg.inv(affine) @ scan.affine @ [*native[::-1], 1])[2::-1]
        np.testing.assert_allclose(back, index, atol=1e-3)


@settings(max_examples=25, deadline=None)
@given(
    distance=st.sampled_from([8.0, 10.0, 12.5]),
    in_plane=st.floats(1.5, 2.5),
    centre=st.tuples(st.floats(1, 6), st.floats(15, 25), st.floats(15, 28)),
)
def test_a_linear_image_goes_there_and_back_exactly(distance, in_plane, centre):
    shape = (8, 40, 44)
    volume = ramp(shape)
    placement = place(volume, heart_at(shape, centre, 5), (distance, in_plane, in_plane), SMALL)
    dark, bright = placement.intensity
    z, y, x = (
        np.clip(o + s * np.arange(n), 0, size - 1)
        for o, s, n, size in zip(placement.offset, placement.scale, placement.shape, shape)
    )
    expected = 100 + 3 * z[:, None, None] + 2 * y[:, None] + x
    expected = np.clip((expected - dark) / (bright - dark), 0, 1)
    expected[~np.array(placement.valid)] = 0
    canonical = to_canonical(volume, placement)
    np.testing.assert_allclose(canonical, expected, atol=2e-6)

    native = from_canonical(canonical, placement, np.zeros(shape))
    index = [(np.arange(n) - o) / s for n, o, s in zip(shape, placement.offset, placement.scale)]
    valid = np.flatnonzero(placement.valid)
    first, last = [valid[0], 0, 0], [valid[-1], 11, 9]
    surely = np.ix_(*((i >= a) & (i <= b) for i, a, b in zip(index, first, last)))
    # Where no neighbour was clipped, or beyond the native border.
    inner = (volume > dark + 12) & (volume < bright - 12)
    inner[:, :1] = inner[:, -1:] = inner[..., :1] = inner[..., -1:] = inner[:1] = inner[-1:] = False
    compared = np.zeros(shape, bool)
    compared[surely] = inner[surely]
    assert compared.sum() > 100
    np.testing.assert_allclose(native[compared], volume[compared], atol=2e-4)
    outside = np.ones(shape, bool)
    outside[np.ix_(*((i > -0.5) & (i < n - 0.5) for i, n in zip(index, placement.shape)))] = False
    assert (native[outside] == 0).all()
    assert outside.any()


def test_a_stack_is_its_volumes(scan):
    placement = placed(scan.frames.shape[1:], (2.5, 8.0, 6.0), (10.0, 1.9, 1.7))
    stack = to_canonical(scan.frames, placement)
    assert stack.shape == (10, 6, 12, 10)
    assert stack.dtype == np.float32
    for volume, frame in zip(stack, scan.frames):
        np.testing.assert_allclose(to_canonical(frame, placement), volume, atol=1e-6)
    pasted = from_canonical(stack, placement, scan.frames[0])
    np.testing.assert_allclose(from_canonical(stack[3], placement, scan.frames[0]), pasted[3], atol=1e-3)


def test_beyond_the_field_of_view_the_border_goes_on_and_slices_are_empty():
    placement = Placement(
        (-2.0, -3.0, 0.0), (1, 1, 1), (6, 8, 5), (10, 1, 1), (3, 5, 5), (10, 1, 1), (0, 200), (True,) * 6
    )
    placement = Placement.from_dict(placement.to_dict() | {"valid": [False, False, True, True, True, False]})
    volume = ramp((3, 5, 5))
    canonical = to_canonical(volume, placement)
    assert (canonical[[0, 1, 5]] == 0).all()
    np.testing.assert_allclose(canonical[2, 0], canonical[2, 3])
    np.testing.assert_allclose(canonical[2:5, 3:], volume / 200, atol=1e-6)


def test_models_cannot_write_through_slices_that_are_not_valid():
    placement = placed((6, 40, 44), (2.5, 20, 21), (8.0, 1.5, 1.25))
    assert not all(placement.valid)
    rubbish = np.full((6, 12, 10), 0.5, np.float32)
    rubbish[~np.array(placement.valid)] = 99
    native = from_canonical(rubbish, placement, np.zeros(placement.native_shape))
    dark, bright = placement.intensity
    assert native.max() == pytest.approx(dark + 0.5 * (bright - dark))


def test_labels_take_the_nearest_voxel():
    labels = heart_at((8, 40, 44), (3, 20, 21), 6)
    placement = placed()
    canonical = labels_to_canonical(labels, placement)
    for index in np.ndindex(placement.shape):
        native = tuple(int(np.rint(o + s * i)) for o, s, i in zip(placement.offset, placement.scale, index))
        assert canonical[index] == labels[native]
    assert canonical.dtype == np.uint8
    np.testing.assert_array_equal(labels_to_canonical(np.stack([labels, 0 * labels]), placement)[0], canonical)


def test_labels_beyond_the_stack_are_background():
    labels = np.ones((3, 10, 10), np.uint8)
    placement = place(ramp((3, 10, 10)), labels, (10, 1.4, 1.4), SMALL)
    expected = np.zeros(SMALL.shape, np.uint8)
    # 14 mm of labels about the middle of the grid, whose voxels lie at 1.5, 4.5 and 7.5 mm to both sides of it.
    expected[np.array(placement.valid), 4:8, 3:7] = 1
    assert sum(placement.valid) == 3
    np.testing.assert_array_equal(labels_to_canonical(labels, placement), expected)


def test_shares_of_labels_are_interpolated_as_intensities_are():
    labels = np.random.default_rng(0).integers(0, 4, (2, 5, 20, 18)).astype(np.uint8)
    placement = place(ramp((5, 20, 18)), heart_at((5, 20, 18), (2, 10, 9)), (10, 1.4, 1.4), SMALL)
    placement = replace(placement, intensity=(0.0, 1.0))
    shares = label_shares(labels, placement)
    assert shares.shape == (2, 4, *SMALL.shape)
    for label in range(4):
        expected = to_canonical((labels == label).astype(np.float32), placement)
        np.testing.assert_allclose(shares[:, label], expected, atol=1e-6)
    valid = np.array(placement.valid)
    np.testing.assert_allclose(shares.sum(1)[:, valid], 1, atol=1e-5)
    assert not valid.all()
    assert not shares[:, :, ~valid].any()


def test_later_frames_decide_nothing(scan):
    labels = heart_at(scan.frames.shape[1:], (2.5, 8, 6))
    cine = Cine(scan.frames, scan.affine, np.arange(10) * 90.0, 900.0)
    changed = scan.frames.copy()
    changed[1:] = changed[1:] * 3 + 500
    frames, placement = make_grid(cine, labels, SMALL)
    other, same = make_grid(Cine(changed, scan.affine, cine.frame_times_ms, 900.0), labels, SMALL)
    assert same == placement
    np.testing.assert_array_equal(frames[0], other[0])
    assert not np.array_equal(frames[1:], other[1:])


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(1, 30))
def test_cycles_are_resampled_periodically(native, wanted):
    frames = np.random.default_rng(0).normal(size=(native, 2, 3)).astype(np.float32)
    result = resample_phase(frames, wanted)
    assert result.shape == (wanted, 2, 3)
    phases = np.arange(wanted) / wanted
    ring = np.concatenate([frames, frames[:1]])
    for index in np.ndindex(2, 3):
        curve = np.interp(phases, np.arange(native + 1) / native, ring[(slice(None), *index)])
        np.testing.assert_allclose(result[(slice(None), *index)], curve, atol=1e-5)
    np.testing.assert_array_equal(result[0], frames[0])


def test_the_same_number_of_frames_is_the_same_frames():
    frames = np.random.default_rng(0).normal(size=(7, 2, 3)).astype(np.float32)
    np.testing.assert_array_equal(resample_phase(frames, 7), frames)


def test_a_written_grid_comes_back(scan, tmp_path):
    cine = Cine(scan.frames, scan.affine, np.arange(10) * 90.0, 900.0, ("b1",), ("mended",), 3)
    frames, placement = make_grid(cine, heart_at(scan.frames.shape[1:], (2.5, 8, 6)), SMALL)
    assert frames.shape == (8, 6, 12, 10)
    write_grid(tmp_path / "sub.nii", frames, placement, cine)
    read, same, stored = read_grid(tmp_path / "sub.nii")
    assert same == placement == read_placement(tmp_path / "sub.nii")
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, frames, atol=0.51e-4)
    assert stored.frames.dtype == np.int16
    assert isinstance(stored.frames.base, np.memmap)
    assert (stored.rr_ms, stored.repairs, stored.rolled_by) == (900.0, ("mended",), 3)
    np.testing.assert_allclose(stored.frame_times_ms, np.arange(8) * 112.5)
    np.testing.assert_allclose(stored.affine, placement.canonical_affine(scan.affine), atol=1e-4)
    assert json.loads((tmp_path / "sub.json").read_text())["placement"]["valid"] == [True] * 6


def test_a_lone_anchor_stays_one_frame(scan):
    anchor = Cine(scan.frames[:1], scan.affine, np.zeros(1), np.nan)
    frames, _ = make_grid(anchor, heart_at(scan.frames.shape[1:], (2.5, 8, 6)), SMALL)
    assert frames.shape == (1, 6, 12, 10)
