import socket

import numpy as np
import pytest
from ecg_files import wfdb_record

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


def test_samples_marked_invalid_are_no_numbers(tmp_path, counts):
    counts["V2"][100] = -(2**15)
    assert reason(wfdb_record(tmp_path, counts)) == Reason.ECG_NOT_FINITE


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
