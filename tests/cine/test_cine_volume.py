import json
import math
from dataclasses import replace

import numpy as np
import pytest

from cof.cine.volume import (
    Cine,
    read_anchor_labels,
    read_cine,
    read_labels,
    to_int16,
    uniform_times,
    write_cine,
    write_labels,
)
from cof.errors import CofError, Reason


@pytest.fixture
def cine(scan):
    return Cine(scan.frames, scan.affine, uniform_times(10, 900.0), 900.0, ("b1", "b2"), ("mended",), 2, {"a": 1})


def test_a_written_cine_comes_back_memory_mapped(cine, tmp_path):
    write_cine(tmp_path / "sub.nii", cine)
    read = read_cine(tmp_path / "sub.nii")
    np.testing.assert_array_equal(read.frames, cine.frames)
    assert isinstance(read.frames.base, np.memmap)
    np.testing.assert_allclose(read.affine, cine.affine, atol=1e-5)
    np.testing.assert_array_equal(read.frame_times_ms, cine.frame_times_ms)
    assert read.series == cine.series
    assert (read.rr_ms, read.repairs, read.rolled_by, read.provenance) == (900.0, ("mended",), 2, {"a": 1})


def test_the_same_cine_gives_the_same_bytes(cine, tmp_path):
    for name in ("one", "two"):
        write_cine(tmp_path / name / "sub.nii", cine)
    for suffix in ("nii", "json"):
        assert (tmp_path / f"one/sub.{suffix}").read_bytes() == (tmp_path / f"two/sub.{suffix}").read_bytes()


def test_a_lone_anchor_has_no_rr_on_disk(scan, tmp_path):
    write_cine(tmp_path / "sub.nii", Cine(scan.frames[:1], scan.affine, uniform_times(1, math.nan), math.nan))
    record = json.loads((tmp_path / "sub.json").read_text())
    assert record["rr_ms"] is None
    assert record["heart_rate_bpm"] is None
    read = read_cine(tmp_path / "sub.nii")
    assert math.isnan(read.rr_ms)
    np.testing.assert_array_equal(read.frames, scan.frames[:1])


@pytest.mark.parametrize("oriented", [True, False])
def test_whether_a_stack_has_an_orientation_is_kept_on_disk(cine, tmp_path, oriented):
    write_cine(tmp_path / "sub.nii", replace(cine, oriented=oriented))
    assert read_cine(tmp_path / "sub.nii").oriented is oriented


def test_a_sidecar_of_an_earlier_version_is_of_an_oriented_stack(cine, tmp_path):
    write_cine(tmp_path / "sub.nii", cine)
    record = json.loads((tmp_path / "sub.json").read_text())
    del record["oriented"]
    (tmp_path / "sub.json").write_text(json.dumps(record))
    assert read_cine(tmp_path / "sub.nii").oriented


@pytest.mark.parametrize("first", [0, 1, 9])
def test_rolling_begins_the_cycle_elsewhere(cine, first):
    rolled = cine.rolled(first)
    for frame in range(10):
        np.testing.assert_array_equal(rolled.frames[frame], cine.frames[(frame + first) % 10])
    np.testing.assert_allclose(rolled.frame_times_ms, cine.frame_times_ms)
    assert rolled.rolled_by == 2 + first


def test_uneven_times_roll_with_their_frames(scan):
    times = np.array([0, 50, 150, 250, 400, 500, 600, 700, 800, 850.0])
    rolled = Cine(scan.frames, scan.affine, times, 900.0).rolled(4)
    np.testing.assert_allclose(rolled.frame_times_ms, [0, 100, 200, 300, 400, 450, 500, 550, 650, 750])


@pytest.mark.parametrize("first", [-1, 10])
def test_there_is_no_frame_beyond_the_cycle(cine, first):
    with pytest.raises(CofError) as caught:
        cine.rolled(first)
    assert caught.value.reason is Reason.CINE_TOO_FEW_FRAMES


def test_whole_numbers_of_16_bits_stay(scan):
    for values in (scan.frames, scan.frames.astype(np.uint16), scan.frames.astype(np.float64), -scan.frames):
        stored, repairs = to_int16(values)
        np.testing.assert_array_equal(stored, values)
        assert repairs == ()


def test_labels_come_back_whole_or_of_frame_0(scan, tmp_path):
    labels = np.random.default_rng(0).integers(0, 4, scan.frames.shape).astype(np.uint8)
    write_labels(tmp_path / "sub.nii.gz", labels, scan.affine)
    np.testing.assert_array_equal(read_labels(tmp_path / "sub.nii.gz"), labels)
    np.testing.assert_array_equal(read_anchor_labels(tmp_path / "sub.nii.gz"), labels[0])


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"frame_times_ms": 3}', "\x00", "[" * 100_000], ids=range(7))
def test_a_sidecar_of_another_form_is_refused(cine, tmp_path, text):
    write_cine(tmp_path / "sub.nii", cine)
    (tmp_path / "sub.json").write_text(text)
    with pytest.raises(CofError) as caught:
        read_cine(tmp_path / "sub.nii")
    assert caught.value.reason is Reason.CINE_UNREADABLE


def test_a_sidecar_of_another_cine_is_refused(cine, tmp_path):
    write_cine(tmp_path / "sub.nii", cine)
    record = json.loads((tmp_path / "sub.json").read_text())
    (tmp_path / "sub.json").write_text(json.dumps(record | {"frame_times_ms": record["frame_times_ms"][1:]}))
    with pytest.raises(CofError):
        read_cine(tmp_path / "sub.nii")
