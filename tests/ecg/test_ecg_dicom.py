import time

import numpy as np
import pytest
from ecg_files import annotation, channel, code, dicom_file, group, lead_code, statement
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from cof.ecg.reader import read_ecg
from cof.ecg.record import LEADS
from cof.errors import CofError, Reason


def read(folder, content):
    (folder / "ecg.dcm").write_bytes(content)
    return read_ecg(folder / "ecg.dcm")


def reason(folder, content):
    with pytest.raises(CofError) as caught:
        read(folder, content)
    return caught.value.reason


def millivolts(counts):
    return np.stack([counts[lead] for lead in LEADS]) * 0.005


@pytest.mark.parametrize("scheme", ["SCPECG", "MDC", "99VENDOR"])
@pytest.mark.parametrize("kind", ["1", "2"])
def test_leads_are_told_by_their_codes_or_else_by_their_meaning(tmp_path, counts, scheme, kind):
    backwards = dict(reversed(counts.items()))
    ecg = read(tmp_path, dicom_file([group(backwards, scheme=scheme)], kind=kind))
    np.testing.assert_allclose(ecg.signal, millivolts(counts), atol=1e-6)
    assert ecg.rate_hz == 500
    assert ecg.source == ("DICOM 12-lead ECG" if kind == "1" else "DICOM General ECG")
    assert set(ecg.recorded) == set(LEADS)
    assert ecg.lsb_mv == pytest.approx(0.005)


def test_sensitivity_correction_baseline_and_unit_of_each_channel_are_applied(tmp_path, counts):
    item = group(counts)
    # The same voltages by other means: mV, a correction factor, and counts that start from another zero.
    item.ChannelDefinitionSequence[6] = channel(lead_code("V1"), "mV", "0.0025", 2)
    item.ChannelDefinitionSequence[7] = channel(lead_code("V2"), "uV", 5, 1, "-500")
    shifted = np.frombuffer(item.WaveformData, "<i2").reshape(-1, 12).copy()
    shifted[:, 7] += 100
    item.WaveformData = shifted.tobytes()
    np.testing.assert_allclose(read(tmp_path, dicom_file([item])).signal, millivolts(counts), atol=1e-6)


def test_implicit_syntax_and_other_rates(tmp_path, counts):
    ecg = read(tmp_path, dicom_file([group(counts, rate=250)], syntax=ImplicitVRLittleEndian))
    assert ecg.rate_hz == 250
    np.testing.assert_allclose(ecg.signal, millivolts(counts), atol=1e-6)


def test_the_longest_group_with_all_leads_is_read(tmp_path, counts):
    median = group({lead: values[:600] for lead, values in counts.items()})
    part = group({lead: np.tile(values, 2) for lead, values in counts.items() if lead in ("I", "II")})
    ecg = read(tmp_path, dicom_file([median, part, group(counts)]))
    np.testing.assert_allclose(ecg.signal, millivolts(counts), atol=1e-6)


def test_derived_leads_may_be_missing(tmp_path, counts):
    eight = {lead: values for lead, values in counts.items() if lead not in ("III", "aVR", "aVL", "aVF")}
    ecg = read(tmp_path, dicom_file([group(eight)]))
    np.testing.assert_allclose(ecg.signal, millivolts(counts), atol=1e-6)
    assert set(ecg.recorded) == set(eight)


def test_measurements_by_their_units_and_statements(tmp_path, counts):
    annotations = [
        annotation("Ventricular Heart Rate", 61, "{H.B.}/min"), annotation("QRS Duration", 0.092, "s"),
        annotation("QT Interval", 400, "furlong"), annotation("P Axis", 51, "deg"),
        annotation("RR Interval", 980, "ms"), statement("Sinus bradycardia"), statement("Abnormal ECG"),
    ]  # fmt: skip
    body = {"PatientAge": "056Y", "PatientSize": "1.82", "PatientWeight": "81"}
    ecg = read(tmp_path, dicom_file([group(counts)], annotations, Manufacturer="ACME", **body))
    assert ecg.measurements == pytest.approx(
        {"ventricular_rate_bpm": 61, "qrs_ms": 92, "p_axis_deg": 51, "rr_ms": 980, "age_y": 56, "height_cm": 182,
         "weight_kg": 81}
    )  # fmt: skip
    assert ecg.statements == ("Sinus bradycardia", "Abnormal ECG")
    assert ecg.device == "ACME"


def broken(counts, change):
    item = group(counts)
    change(item)
    return dicom_file([item])


def without(counts, lead):
    return {name: values for name, values in counts.items() if name != lead}


FAULTS = {
    "an unknown unit": (lambda c: dicom_file([group(c, unit="mmHg")]), Reason.ECG_UNITS),
    "no unit": (lambda c: dicom_file([group(c, unit="")]), Reason.ECG_UNITS),
    "no sensitivity": (
        lambda c: broken(c, lambda g: g.ChannelDefinitionSequence[0].pop("ChannelSensitivity")), Reason.ECG_UNITS,
    ),
    "zero sensitivity": (lambda c: dicom_file([group(c, sensitivity=0)]), Reason.ECG_UNITS),
    "infinite sensitivity": (lambda c: dicom_file([group(c, sensitivity="inf")]), Reason.ECG_UNITS),
    "a baseline that is no number": (lambda c: dicom_file([group(c, baseline="nan")]), Reason.ECG_NOT_FINITE),
    "an absurd baseline": (lambda c: dicom_file([group(c, baseline="1e12")]), Reason.ECG_UNITS),
    "companded samples": (lambda c: dicom_file([group(c, interpretation="MB")]), Reason.ECG_UNITS),
    "a rate of nothing": (lambda c: dicom_file([group(c, rate=0)]), Reason.ECG_UNREADABLE),
    "a rate in kHz": (lambda c: dicom_file([group(c, rate="0.5")]), Reason.ECG_UNITS),
    "more samples than are there": (
        lambda c: broken(c, lambda g: setattr(g, "NumberOfWaveformSamples", 2**31)), Reason.ECG_UNREADABLE,
    ),
    "no waveform": (lambda c: dicom_file([]), Reason.ECG_LEAD_MISSING),
    "a missing lead": (lambda c: dicom_file([group(without(c, "V3"))]), Reason.ECG_LEAD_MISSING),
    "a lead twice": (
        lambda c: broken(
            c, lambda g: setattr(g.ChannelDefinitionSequence[2], "ChannelSourceSequence", [lead_code("I")])
        ),
        Reason.ECG_UNREADABLE,
    ),
    "an unknown code of a known scheme": (
        lambda c: broken(
            c, lambda g: setattr(g.ChannelDefinitionSequence[6], "ChannelSourceSequence", [code("9", "MDC", "Lead V1")])
        ),
        Reason.ECG_LEAD_MISSING,
    ),
    "too short": (lambda c: dicom_file([group({k: v[:3000] for k, v in c.items()})]), Reason.ECG_TOO_SHORT),
    "another kind of DICOM": (lambda c: dicom_file([group(c)], kind="3"), Reason.ECG_UNREADABLE),
    "a deflated file": (
        lambda c: dicom_file([group(c)], syntax=DeflatedExplicitVRLittleEndian), Reason.ECG_UNREADABLE,
    ),
    "a cut-off file": (lambda c: dicom_file([group(c)])[:50_000], Reason.ECG_UNREADABLE),
    "no more than a preamble": (lambda c: bytes(128) + b"DICM", Reason.ECG_UNREADABLE),
    "a huge file": (lambda c: dicom_file([group(c)]) + bytes(5 << 20), Reason.ECG_UNREADABLE),
    "a flood of items": (
        lambda c: dicom_file([group(c)]) + b"\xfe\xff\x00\xe0\0\0\0\0" * 200_000, Reason.ECG_UNREADABLE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_faults_have_reason_codes(tmp_path, counts, case):
    make, expected = FAULTS[case]
    assert reason(tmp_path, make(counts)) == expected


SEQUENCE = b"\x00\x54\x00\x01SQ\0\0\xff\xff\xff\xff"  # WaveformSequence of undefined length
ITEM = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"


@pytest.mark.parametrize(
    "tail",
    {
        "sequences in sequences": (SEQUENCE + ITEM) * 9_000,
        "as many items as are allowed": SEQUENCE + (ITEM + b"\xfe\xff\x0d\xe0\0\0\0\0") * 9_900,
        "a flood of elements": b"\x08\x00\x60\x00CS\0\0" * 400_000,
        "a flood of elements in an item": SEQUENCE + ITEM + b"\x08\x00\x60\x00CS\0\0" * 400_000,
        "a length beyond the file": b"\x00\x54\x10\x10OW\0\0\xf0\xff\xff\xff",
    }.items(),
    ids=lambda tail: tail[0],
)
def test_hostile_datasets_are_refused_quickly(tmp_path, tail):
    content = dicom_file([])
    head = content[: content.rindex(b"\x00\x54\x00\x01SQ")]
    start = time.perf_counter()
    assert reason(tmp_path, head + tail[1]) in (Reason.ECG_UNREADABLE, Reason.ECG_LEAD_MISSING)
    assert time.perf_counter() - start < 10
