import numpy as np
import pytest

from cof.cine.ed import find_ed
from cof.cine.reader import read_cine_source
from cof.cine.volume import Cine, uniform_times
from cof.errors import CofError, Reason

FRAMES, ED = 20, 13


@pytest.fixture(scope="module")
def radius():
    """Of a bright ventricle, voxels: largest at frame 13, smallest seven frames later."""
    phase = (np.arange(FRAMES) - ED) / FRAMES
    return 9 - 4 * np.sin(np.pi * (phase % 1) ** 0.8) ** 2


@pytest.fixture(scope="module")
def beating(radius):
    """A cine of dark muscle about bright blood in noise, without trigger times."""
    y, x = np.ogrid[:80, :80]
    distance = np.hypot(y - 40, x - 40)
    blood = np.clip(radius[:, None, None] - distance + 0.5, 0, 1)
    wall = np.clip(13 - distance, 0, 1)
    image = 250 - 150 * wall + 500 * blood
    frames = np.repeat(image[:, None], 5, axis=1) + np.random.default_rng(0).normal(0, 15, (FRAMES, 5, 80, 80))
    return Cine(frames.astype(np.int16), np.eye(4), uniform_times(FRAMES, 800.0), 800.0)


def triggered(cine, delay_ms):
    return Cine(cine.frames, cine.affine, cine.frame_times_ms, cine.rr_ms, delay_ms=delay_ms)


def drawn(volumes):
    """Annotation with so many LV voxels in the given frames."""
    labels = np.zeros((FRAMES, 1, 1, 1000), np.uint8)
    for frame, voxels in volumes.items():
        labels[frame, 0, 0, :voxels] = 1
    return labels


def test_the_sheet_decides_over_everything(beating):
    assert find_ed(triggered(beating, 0.0), 5, drawn({18: 900, 7: 500})) == (5, "sheet")


def test_the_sheet_cannot_name_a_frame_that_is_not_there(beating):
    with pytest.raises(CofError) as caught:
        find_ed(beating, FRAMES, None)
    assert caught.value.reason is Reason.CINE_TOO_FEW_FRAMES


@pytest.mark.parametrize("delay_ms", [0.0, 20.0, 79.0])
def test_a_cine_gated_to_the_r_peak_begins_as_recorded(beating, delay_ms):
    assert find_ed(triggered(beating, delay_ms), None, None) == (0, "trigger")


@pytest.mark.parametrize(("delay_ms", "frame"), [(200.0, 15), (410.0, 10), (780.0, 0), (700.0, 2)])
def test_a_late_first_frame_rolls_the_cycle_to_the_r_peak(beating, delay_ms, frame):
    cine = triggered(beating, delay_ms)
    found, by = find_ed(cine, None, None)
    assert by == "trigger"
    after = cine.rolled(found).delay_ms
    assert min(after, 800 - after) <= 20.0  # half a frame
    assert abs(found - frame) <= 1


def test_an_annotation_decides_where_it_clearly_disagrees(beating):
    labels = drawn({18: 900, 7: 500})
    assert find_ed(beating, None, labels) == (18, "annotation")
    assert find_ed(triggered(beating, 20.0), None, labels) == (18, "annotation")


@pytest.mark.parametrize("volumes", [{1: 900, 7: 500}, {19: 900, 7: 500}, {7: 500}, {3: 900, 8: 880}])
def test_an_annotation_that_says_little_decides_nothing(beating, volumes):
    assert find_ed(triggered(beating, 20.0), None, drawn(volumes)) == (0, "trigger")


@pytest.mark.parametrize("rolled", [0, 4, 9, 17])
def test_without_trigger_times_the_fullest_frame_is_found(beating, rolled):
    cine = Cine(np.roll(beating.frames, -rolled, axis=0), np.eye(4), beating.frame_times_ms, 800.0)
    frame, by = find_ed(cine, None, None)
    assert by == "image"
    distance = abs((frame + rolled) % FRAMES - ED)
    assert min(distance, FRAMES - distance) <= 1


def test_a_cine_that_begins_at_ed_stays_even_in_noise(beating):
    cine = Cine(np.roll(beating.frames, -ED, axis=0), np.eye(4), beating.frame_times_ms, 800.0)
    assert find_ed(cine, None, None) == (0, "image")


def test_a_lone_anchor_is_its_own_ed(beating):
    assert find_ed(Cine(beating.frames[:1], np.eye(4), np.zeros(1), np.nan), None, None) == (0, "anchor")


def test_dicom_trigger_times_reach_the_choice(kit, scan, archived):
    datasets = kit.images(scan)
    for data in datasets:
        data.TriggerTime = str(float(data.TriggerTime) + 450)
    cine = read_cine_source(archived(datasets), 0.1)
    assert cine.delay_ms == pytest.approx(450)
    assert find_ed(cine, None, None) == (5, "trigger")
    assert cine.rolled(5).delay_ms == pytest.approx(0)
