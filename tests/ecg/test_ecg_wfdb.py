import numpy as np
import pytest

from cof.ecg.reader import read_ecg
from cof.ecg.record import LEADS
from cof.errors import CofError, Reason


def write_record(
    folder, counts, *, data="HR1.mat", unit="mv", samples=5000, offset=24, gain="1000.0(0)", zero=0, lines=12
):
    signals = np.stack([counts[lead] for lead in LEADS]) + zero
    (folder / "HR1.mat").write_bytes(bytes(offset) + signals.T.astype("<i2").tobytes())
    rows = [f"{data} 16x1+{offset} {gain}/{unit} 16 0 -115 13047 0 {lead}" for lead in LEADS[:lines]]
    header = folder / "HR1.hea"
    header.write_text("\n".join([f"HR1 12 500 {samples}", *rows, "# Age: 56", ""]))
    return header


def test_interleaved_samples_with_gain_and_baseline(tmp_path, counts):
    ecg = read_ecg(write_record(tmp_path, counts, gain="200(10)", zero=10))
    expected = np.stack([counts[lead] for lead in LEADS]) / 200
    np.testing.assert_allclose(ecg.signal, expected, atol=1e-5)
    assert ecg.rate_hz == 500


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"unit": "uV"}, Reason.ECG_UNITS),
        ({"gain": "0(0)"}, Reason.ECG_UNITS),
        ({"samples": 6000}, Reason.ECG_UNREADABLE),
        ({"samples": -5}, Reason.ECG_UNREADABLE),
        ({"data": "HR2.mat"}, Reason.ECG_MISSING),
        ({"lines": 11}, Reason.ECG_UNREADABLE),
    ],
)
def test_faults_have_reason_codes(tmp_path, counts, changes, expected):
    with pytest.raises(CofError) as caught:
        read_ecg(write_record(tmp_path, counts, **changes))
    assert caught.value.reason == expected


def test_header_cannot_point_outside_its_folder(tmp_path, counts):
    inner = tmp_path / "inner"
    inner.mkdir()
    header = write_record(inner, counts, data="../HR1.mat")
    (inner / "HR1.mat").rename(tmp_path / "HR1.mat")
    with pytest.raises(CofError) as caught:
        read_ecg(header)
    assert caught.value.reason == Reason.ECG_MISSING
