import socket

import numpy as np
import pytest
from ecg_files import wfdb_record
from strips import every, strip

from cof.ecg.reader import read_ecg
from cof.ecg.record import LEADS
from cof.errors import CofError, Reason


def reason(header):
    with pytest.raises(CofError) as caught:
        read_ecg(header)
    return caught.value.reason


def millivolts(counts, gain=1000.0):
    return np.stack([counts[lead] for lead in LEADS]) / gain


def test_interleaved_samples_with_gain_and_baseline(tmp_path, counts):
    ecg = read_ecg(wfdb_record(tmp_path, counts, gain="200(10)", zero=10))
    np.testing.assert_allclose(ecg.signal, millivolts(counts, 200), atol=1e-5)
    assert ecg.rate_hz == 500
    assert ecg.lsb_mv == pytest.approx(0.005)
    assert ecg.measurements == {"age_y": 56}
    assert ecg.source == "WFDB format 16"


def test_microvolts(tmp_path, counts):
    ecg = read_ecg(wfdb_record(tmp_path, counts, gain="0.2(0)", unit="uV"))
    np.testing.assert_allclose(ecg.signal, millivolts(counts, 200), atol=1e-5)


def test_leads_in_several_files_and_another_format(tmp_path, counts):
    """Limb leads in format 212 (two of 12 bits in three bytes), the others in format 16, a Frank lead not read."""
    header = wfdb_record(tmp_path, counts)
    limbs = np.stack([counts[lead] for lead in LEADS[:6]]).T.ravel() & 0xFFF
    first, second = limbs[0::2], limbs[1::2]
    packed = np.stack([first & 0xFF, (first >> 8) | (second >> 8) << 4, second & 0xFF], axis=1)
    (tmp_path / "limbs.dat").write_bytes(packed.astype(np.uint8).tobytes())
    chest = np.stack([*(counts[lead] for lead in LEADS[6:]), np.zeros(5000, int)])
    (tmp_path / "chest.dat").write_bytes(chest.T.astype("<i2").tobytes())
    rows = [f"limbs.dat 212 1000.0(0)/mV 12 0 0 0 0 {lead}" for lead in LEADS[:6]]
    rows += [f"chest.dat 16 1000.0(0)/mV 16 0 0 0 0 {lead}" for lead in (*LEADS[6:], "vx")]
    header.write_text("\n".join(["HR1 13 500 5000", *rows, ""]))
    np.testing.assert_allclose(read_ecg(header).signal, millivolts(counts), atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"unit": "mmHg"}, Reason.ECG_UNITS),
        ({"gain": "0(0)"}, Reason.ECG_UNITS),
        ({"gain": "-200(0)"}, Reason.ECG_UNITS),
        ({"samples": 6000}, Reason.ECG_UNREADABLE),
        ({"samples": -5}, Reason.ECG_UNREADABLE),
        ({"samples": 10**12}, Reason.ECG_UNREADABLE),
        ({"samples": ""}, Reason.ECG_UNREADABLE),
        ({"data": "HR2.mat"}, Reason.ECG_MISSING),
        ({"lines": 11}, Reason.ECG_UNREADABLE),
        ({"offset": 24, "form": "516"}, Reason.ECG_UNREADABLE),
        ({"form": "7"}, Reason.ECG_UNREADABLE),
        ({"form": "16:100000000"}, Reason.ECG_UNREADABLE),
        ({"record": "HR1/3"}, Reason.ECG_UNREADABLE),
        ({"record": "a" * 50_000}, Reason.ECG_UNREADABLE),
    ],
)  # fmt: skip
def test_faults_have_reason_codes(tmp_path, counts, changes, expected):
    assert reason(wfdb_record(tmp_path, counts, **changes)) == expected


def test_few_samples_marked_invalid_are_interpolated_and_many_refused(tmp_path):
    counts = smooth()
    counts["V2"][100:103] = -(2**15)
    ecg = read_ecg(wfdb_record(tmp_path, counts))
    assert ecg.repairs == ("3 samples of lead V2 are marked as invalid and interpolated",)
    np.testing.assert_allclose(ecg.signal, strip(every(0.85), 500.0), atol=0.02)
    counts["V2"][2000:2100] = -(2**15)
    assert reason(wfdb_record(tmp_path, counts)) == Reason.ECG_TOO_SHORT
    counts["V2"][:] = -(2**15)
    assert reason(wfdb_record(tmp_path, counts)) == Reason.ECG_LEAD_MISSING


def smooth() -> dict[str, np.ndarray]:
    """Counts of 1 uV of a strip of beats."""
    return {lead: np.rint(values * 1000).astype(int) for lead, values in zip(LEADS, strip(every(0.85), 500.0))}


def packed(samples: np.ndarray, form: str) -> bytes:
    """Samples [N, 12] in a format of signal(5), as its page describes the bits."""
    flat = samples.ravel().astype(np.int64)
    if form == "8":
        return np.diff(samples, axis=0, prepend=0 * samples[:1]).astype("i1").tobytes()
    if form == "80":
        return (flat + 128).astype("u1").tobytes()
    if form == "160":
        return (flat + 32768).astype("<u2").tobytes()
    if form == "61":
        return flat.astype(">i2").tobytes()
    if form in ("16", "32"):
        return flat.astype(f"<i{int(form) // 8}").tobytes()
    if form == "24":
        return flat.astype("<i4").view("u1").reshape(-1, 4)[:, :3].tobytes()
    if form == "212":
        first, second = (flat[k::2] & 0xFFF for k in (0, 1))
        three = np.stack([first & 0xFF, (first >> 8) | (second >> 8) << 4, second & 0xFF], axis=1)
        return three.astype("u1").tobytes()
    one, two, three = (flat[k::3] & 0x3FF for k in range(3))
    if form == "310":
        words = np.stack([one << 1 | (three & 0x1F) << 11, two << 1 | (three >> 5) << 11], axis=1)
        return words.astype("<u2").tobytes()
    return (one | two << 10 | three << 20).astype("<u4").tobytes()  # 311


INVALID = {"16": -(2**15), "24": -(2**23), "32": -(2**31), "61": -(2**15), "80": -128, "160": -(2**15),
           "212": -(2**11), "310": -512, "311": -512, "8": None}  # fmt: skip


@pytest.mark.parametrize("form", INVALID)
def test_every_format_gives_its_samples_and_its_invalid_ones(tmp_path, form):
    most = 100 if form in ("8", "80") else 400
    samples = np.clip(np.rint(strip(every(0.85), 500.0) * 60).astype(np.int64).T, -most, most)
    truth = samples / 60
    if INVALID[form] is not None:
        samples[-50:, 4] = INVALID[form]
        truth = truth[np.arange(5000).clip(max=4949)]
    (tmp_path / "a.dat").write_bytes(packed(samples, form))
    initial = [0] * 12
    rows = [f"a.dat {form} 60(0)/mV 12 0 {initial[k]} 0 0 {lead}" for k, lead in enumerate(LEADS)]
    (tmp_path / "a.hea").write_text("\n".join(["a 12 500 5000", *rows, ""]))
    ecg = read_ecg(tmp_path / "a.hea")
    np.testing.assert_allclose(ecg.signal, truth.T, atol=1e-5)
    assert len(ecg.repairs) == (INVALID[form] is not None)


def framed(folder, counts, frame, others=()):
    """A record of `frame` samples of every lead a frame, and of further signals of other rates."""
    signals = (
        np.stack([counts[lead] for lead in LEADS]).reshape(12, -1, frame).transpose(1, 0, 2).reshape(-1, 12 * frame)
    )
    extra = [np.zeros((len(signals), count)) for count in others]
    (folder / "f.dat").write_bytes(np.concatenate([signals, *extra], axis=1).astype("<i2").tobytes())
    rows = [f"f.dat 16x{frame} 1000/mV 16 0 0 0 0 {lead}" for lead in LEADS]
    rows += [f"f.dat 16x{count} 1000/mV 16 0 0 0 0 resp{count}" for count in others]
    header = folder / "f.hea"
    header.write_text("\n".join([f"f {12 + len(others)} {500 / frame:g} {len(signals)}", *rows, ""]))
    return header


@pytest.mark.parametrize("frame", [1, 2, 10])
@pytest.mark.parametrize("others", [(), (1, 4)], ids=len)
def test_samples_a_frame_are_taken_apart(tmp_path, frame, others):
    counts = smooth()
    ecg = read_ecg(framed(tmp_path, counts, frame, others))
    np.testing.assert_allclose(ecg.signal, millivolts(counts), atol=1e-5)
    assert ecg.rate_hz == 500


def test_leads_of_different_rates_are_refused(tmp_path):
    header = framed(tmp_path, smooth(), 2)
    header.write_text(header.read_text().replace("16x2 1000/mV 16 0 0 0 0 V6", "16x1 1000/mV 16 0 0 0 0 V6"))
    with pytest.raises(CofError, match="leads have 1 and 2 samples per frame"):
        read_ecg(header)


def segmented(folder, counts, lengths, gap=()):
    """A record of several segments, each a record of its own; those in `gap` are announced and not there."""
    start, words = 0, []
    for number, length in enumerate(lengths):
        if number in gap:
            words.append(f"~ {length}")
        else:
            part = {lead: values[start : start + length] for lead, values in counts.items()}
            (folder / f"s{number}.dat").write_bytes(np.stack([part[lead] for lead in LEADS], 1).astype("<i2").tobytes())
            rows = [f"s{number}.dat 16 1000/mV 16 0 0 0 0 {lead}" for lead in LEADS]
            (folder / f"s{number}.hea").write_text("\n".join([f"s{number} 12 500 {length}", *rows, ""]))
            words.append(f"s{number} {length}")
        start += length
    header = folder / "s.hea"
    header.write_text("\n".join([f"s/{len(lengths)} 12 500 {start}", *words, ""]))
    return header


def test_segments_are_joined(tmp_path):
    counts = smooth()
    ecg = read_ecg(segmented(tmp_path, counts, (2500, 1000, 1500)))
    np.testing.assert_allclose(ecg.signal, millivolts(counts), atol=1e-5)


def test_a_segment_that_is_a_gap_is_held_flat_or_refused(tmp_path):
    counts = smooth()
    ecg = read_ecg(segmented(tmp_path, counts, (500, 4500), gap=(0,)))
    np.testing.assert_allclose(ecg.signal, millivolts(counts)[:, np.arange(5000).clip(500)], atol=1e-5)
    assert ecg.repairs[0].startswith("only the 9.00 s from 1.00 s on")
    assert reason(segmented(tmp_path, counts, (2000, 1000, 2000), gap=(1,))) == Reason.ECG_TOO_SHORT


def test_segments_that_are_missing_or_elsewhere_are_refused(tmp_path):
    header = segmented(tmp_path, smooth(), (2500, 2500))
    (tmp_path / "s1.hea").rename(tmp_path / "t.hea")
    with pytest.raises(CofError, match="segment 2 of 2 has no header"):
        read_ecg(header)
    inner = tmp_path / "inner"
    inner.mkdir()
    header = segmented(inner, smooth(), (2500, 2500))
    (inner / "s1.hea").rename(tmp_path / "s1.hea")
    header.write_text(header.read_text().replace("s1 2500", "../s1 2500"))
    assert reason(header) in (Reason.ECG_UNREADABLE, Reason.ECG_MISSING)


def test_a_lead_that_is_written_later_is_moved(tmp_path):
    counts = smooth()
    header = wfdb_record(tmp_path, counts | {"V1": np.roll(counts["V1"], 4)})
    header.write_text("".join(
        line.replace("16x1+24", "16x1:4+24") if line.endswith("V1\n") else line
        for line in header.read_text().splitlines(keepends=True)
    ))  # fmt: skip
    ecg = read_ecg(header)
    np.testing.assert_allclose(ecg.signal, millivolts(counts)[:, np.arange(5000).clip(max=4995)], atol=1e-5)


@pytest.mark.parametrize("gain", ["", "0/mV", "0"])
def test_only_leads_need_a_gain(tmp_path, gain):
    header = framed(tmp_path, smooth(), 1, (1,))
    text = header.read_text()
    header.write_text(text.replace("1000/mV 16 0 0 0 0 resp1", "0 16 0 0 0 0 resp1"))
    assert read_ecg(header).rate_hz == 500
    header.write_text(text.replace("1000/mV 16 0 0 0 0 V3", f"{gain} 16 0 0 0 0 V3" if gain else "0 16 0 0 0 0 V3"))
    with pytest.raises(CofError, match="lead V3 is not calibrated"):
        read_ecg(header)


def test_a_header_without_a_number_of_samples_says_so(tmp_path, counts):
    with pytest.raises(CofError, match="states no number of samples"):
        read_ecg(wfdb_record(tmp_path, counts, samples=""))


@pytest.mark.parametrize(
    "name", ["../HR1.mat", "/HR1.mat", "..\\HR1.mat", "http://127.0.0.1/HR1.mat", "a::b", "~HR1.mat"]
)
def test_header_cannot_point_outside_its_folder(tmp_path, counts, name):
    inner = tmp_path / "inner"
    inner.mkdir()
    header = wfdb_record(inner, counts, data=name)
    (inner / "HR1.mat").rename(tmp_path / "HR1.mat")
    assert reason(header) in (Reason.ECG_UNREADABLE, Reason.ECG_MISSING)


def test_samples_cannot_be_a_link_out_of_the_folder(tmp_path, counts):
    inner = tmp_path / "inner"
    inner.mkdir()
    header = wfdb_record(inner, counts)
    (inner / "HR1.mat").rename(tmp_path / "other.mat")
    (inner / "HR1.mat").symlink_to(tmp_path / "other.mat")
    assert reason(header) == Reason.ECG_UNREADABLE


def test_a_path_that_the_package_takes_for_an_address_is_refused(tmp_path, counts):
    folder = tmp_path / "simplecache::http:"
    folder.mkdir()
    assert reason(wfdb_record(folder, counts)) == Reason.ECG_UNREADABLE


def test_nothing_is_asked_of_the_network(tmp_path, counts, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    read_ecg(wfdb_record(tmp_path, counts))
    with pytest.raises(CofError):
        read_ecg(wfdb_record(tmp_path, counts, data="HR1"))
