"""Crops, sprite sheets, contours and figures against what is known of simple shapes."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from ring_hearts import SPACING, ring_heart

from cof.report.plots import THEMES, render
from cof.report.sections.ecg import ecg_strip
from cof.report.sections.hearts import volume_curves
from cof.viewer import cines

FRAMES, LABELS = ring_heart(9.0)


def area(polygon: list[float]) -> float:
    """The shoelace formula."""
    x, y = np.array(polygon[::2]), np.array(polygon[1::2])
    return 0.5 * abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))))


@settings(max_examples=25, deadline=None)
@given(
    corner=st.tuples(st.integers(0, 5), st.integers(0, 30), st.integers(0, 30)),
    size=st.tuples(st.integers(1, 6), st.integers(1, 18), st.integers(1, 18)),
    spacing=st.tuples(st.floats(5, 12), st.floats(1, 2.5), st.floats(1, 2.5)),
)
def test_crop_holds_the_heart(
    corner: tuple[int, int, int], size: tuple[int, int, int], spacing: tuple[float, float, float]
) -> None:
    labels = np.zeros((12, 48, 48), np.uint8)
    box = tuple(slice(low, low + extent) for low, extent in zip(corner, size))
    labels[box] = 2
    crop = cines.place_crop(np.arange(labels.size).reshape(labels.shape), labels, spacing)
    assert crop.y[0] <= box[1].start < box[1].stop <= crop.y[1] <= 48
    assert crop.x[0] <= box[2].start < box[2].stop <= crop.x[1] <= 48
    assert list(crop.slices) == sorted(crop.slices)
    assert all(box[0].start <= level < box[0].stop for level in crop.slices)
    assert crop.window[0] < crop.window[1]


def test_crop_without_a_heart_is_refused() -> None:
    with pytest.raises(ValueError, match="no left ventricle"):
        cines.place_crop(np.zeros((3, 8, 8)), np.full((3, 8, 8), 3), (10.0, 2.0, 2.0))


def test_sprite_sheet_shows_every_frame_of_every_slice() -> None:
    """The mean brightness of each tile, lossy compression aside, is that of the crop in the anchor's window."""
    crop = cines.place_crop(FRAMES[0], LABELS[0], SPACING)
    rows, columns = crop.tile()
    with Image.open(io.BytesIO(cines.sprite_sheet(FRAMES, crop))) as image:
        sheet = np.asarray(image.convert("L"), float)
    low, high = crop.window
    for frame in range(len(FRAMES)):
        for level, index in enumerate(crop.slices):
            tile = sheet[level * rows : (level + 1) * rows, frame * columns : (frame + 1) * columns]
            shown = FRAMES[frame, index, slice(*crop.y), slice(*crop.x)]
            expected = 255 * np.clip((shown - low) / (high - low), 0, 1)
            assert tile.shape == expected.shape
            assert np.abs(tile - expected).mean() < 6


def test_frames_that_no_webp_can_hold_side_by_side_stand_in_further_rows() -> None:
    crop = cines.Crop((0,), (0, 8), (0, 4000), (0.0, 100.0), (1.0, 1.0))
    frames = np.repeat(np.arange(6) * 20, 8 * 4000).reshape(6, 1, 8, 4000)
    assert crop.across(6) == 4
    with Image.open(io.BytesIO(cines.sprite_sheet(frames, crop))) as image:
        sheet = np.asarray(image.convert("L"), float)
    assert sheet.shape == (16, 16000)
    tiles = [sheet[8 * (k // 4) :, 4000 * (k % 4) :][:8, :4000].mean() for k in range(6)]
    assert tiles == pytest.approx(np.arange(6) * 51, abs=4)


def test_contours_enclose_the_labels() -> None:
    """An outline through the midpoints of pixel edges cuts an eighth off each corner, and nothing else."""
    crop = cines.place_crop(FRAMES[0], LABELS[0], SPACING)
    drawn = cines.contours(LABELS, crop)
    for level, index in enumerate(crop.slices):
        for frame in range(len(LABELS)):
            cavity = LABELS[frame, index, slice(*crop.y), slice(*crop.x)] == cines.LV
            (polygon,) = drawn[level][frame][0]
            assert area(polygon) == pytest.approx(cavity.sum(), rel=0.05)
            centre = np.argwhere(cavity).mean(axis=0) + 0.5
            assert np.mean(polygon[::2]) == pytest.approx(centre[1], abs=0.6)
            assert np.mean(polygon[1::2]) == pytest.approx(centre[0], abs=0.6)


def test_contours_of_one_pixel_and_of_a_square() -> None:
    labels = np.zeros((1, 3, 40, 40), np.uint8)
    labels[0, 1, 10, 20] = 1
    labels[0, :, 20:24, 8:14] = 2
    crop = cines.Crop((1, 1, 1), (0, 40), (0, 40), (0.0, 1.0), (1.0, 1.0))
    endocardium, epicardium, right = cines.contours(labels, crop)[0][0]
    assert [area(polygon) for polygon in endocardium] == [0.5]
    assert sorted(area(polygon) for polygon in epicardium) == [0.5, 4 * 6 - 4 / 8]
    assert right == []


def test_figures_are_the_same_bytes_again_and_differ_by_theme() -> None:
    draw = volume_curves({"real": np.array([100.0, 60.0, 50.0, 80.0]), "generated": np.full(5, 70.0)})
    once, again = render(draw), render(draw)
    assert once == again
    assert set(once) == {"light", "dark"}
    assert once["light"] != once["dark"]
    assert b"<dc:date>" not in once["light"]


def test_ecg_marks_exactly_the_chosen_cycle() -> None:
    """The band of the rhythm strip covers the samples of the cycle and no others."""
    theme = THEMES[0]
    figure = ecg_strip(np.zeros((12, 5000)), 500.0, 2100, 2600)(theme)
    bands = [patch.get_paths()[0].get_extents() for patch in figure.axes[0].collections if patch.get_paths()]
    spans = sorted({(round(band.x0, 3), round(band.x1, 3)) for band in bands if band.x0 > 0 and band.x1 < 10})
    # 4.2 to 5.2 s: the second column of leads ends at 5 s, the third begins there.
    assert [span for span in spans if 0.15 < span[1] - span[0] <= 1] == [(4.2, 5.0), (4.2, 5.2), (5.0, 5.2)]
