from pathlib import Path

import numpy as np
import pytest

from cof.config import EcgSettings
from cof.ecg.reader import read_ecg
from cof.ecg.record import LEADS
from cof.errors import CofError, Reason

DERIVED = ("III", "aVR", "aVL", "aVF")


def strip_xml(
    leads, *, rate="500", rate_unit="Hz", resolution="5", unit="uVperLsb", total=None, end="", name=str
) -> str:
    total = len(next(iter(leads.values()))) if total is None else total
    waves = ""
    for lead, values in leads.items():
        lines = ",\n\t\t".join(",".join(map(str, row)) for row in np.split(values, 10))
        waves += f'<WaveformData lead="{name(lead)}">\t\t{lines}{end}</WaveformData>\n'
    return (
        f'<StripData><SampleRate units="{rate_unit}">{rate}</SampleRate>'
        f"<ChannelSampleCountTotal>{total}</ChannelSampleCountTotal>"
        f'<Resolution units="{unit}">{resolution}</Resolution>{waves}</StripData>'
    )


def document(body: str, encoding: str = "ISO-8859-1", before: str = "") -> bytes:
    text = f'<?xml version="1.0" encoding="{encoding}" ?>\r\n{before}<CardiologyXML>{body}</CardiologyXML>\r\n'
    return text.encode("latin-1")


def read(folder: Path, content: bytes, **settings):
    path = folder / "ecg.xml"
    path.write_bytes(content)
    return read_ecg(path, EcgSettings(**settings))


def reason(folder: Path, content: bytes) -> Reason:
    with pytest.raises(CofError) as caught:
        read(folder, content)
    return caught.value.reason


def test_counts_become_millivolts_in_the_order_of_leads(tmp_path, counts):
    shuffled = dict(reversed(counts.items()))
    ecg = read(tmp_path, document(strip_xml(shuffled, resolution="2.5", rate="400")))
    np.testing.assert_allclose(ecg.signal, np.stack([counts[lead] for lead in LEADS]) * 0.0025, rtol=1e-6)
    assert ecg.rate_hz == 400
    assert ecg.signal.dtype == np.float32


@pytest.mark.parametrize("encoding", ["ISO-8859-1", "ISO8859-1", "UTF-8", "cp949", "no-such-encoding"])
def test_every_declared_encoding_is_read(tmp_path, counts, encoding):
    body = "<Interpretation><Diagnosis><DiagnosisText>Normal ECG</DiagnosisText></Diagnosis></Interpretation>"
    assert read(tmp_path, document(body + strip_xml(counts), encoding)).statements == ("Normal ECG",)


def test_latin_letters_survive(tmp_path, counts):
    body = "<Interpretation><Diagnosis><DiagnosisText>Vorhof groß</DiagnosisText></Diagnosis></Interpretation>"
    for encoding in ("ISO8859-1", "UTF-8"):  # the second lies about its bytes
        assert read(tmp_path, document(body + strip_xml(counts), encoding)).statements == ("Vorhof groß",)


@pytest.mark.parametrize("name", [str.lower, str.upper, lambda lead: {"I": "1", "II": "2", "III": "3"}.get(lead, lead)])
def test_lead_names_in_all_spellings(tmp_path, counts, name):
    ecg = read(tmp_path, document(strip_xml(counts, name=name)))
    np.testing.assert_allclose(ecg.signal[3], counts["aVR"] * 0.005, rtol=1e-6)


def test_trailing_commas_and_tabs(tmp_path, counts):
    plain = read(tmp_path, document(strip_xml(counts)))
    assert np.array_equal(read(tmp_path, document(strip_xml(counts, end=",\n\t\t"))).signal, plain.signal)


def test_strip_may_lie_inside_strip(tmp_path, counts):
    nested = document(f"<Strip>{strip_xml(counts)}</Strip>")
    assert np.array_equal(read(tmp_path, nested).signal, read(tmp_path, document(strip_xml(counts))).signal)


def test_missing_derived_leads_are_derived(tmp_path, counts):
    partial = {lead: values for lead, values in counts.items() if lead not in DERIVED}
    np.testing.assert_allclose(
        read(tmp_path, document(strip_xml(partial))).signal,
        read(tmp_path, document(strip_xml(counts))).signal,
        atol=1e-6,
    )


def test_full_disclosure_replaces_a_missing_strip(tmp_path, counts):
    seconds = np.stack([counts[lead] for lead in LEADS]).reshape(12, 10, 500).swapaxes(0, 1).reshape(-1, 500)
    lines = ",\n\t\t".join(",".join(map(str, line)) for line in seconds) + ",\n"
    body = (
        '<FullDisclosure><NumberOfChannels>12</NumberOfChannels><SampleRate units="Hz">500</SampleRate>'
        f'<Resolution units="uVperLsb">5</Resolution><LeadOrder>{",".join(LEADS)}</LeadOrder>'
        f"<FullDisclosureData>{lines}<SampleCountTotal>60000</SampleCountTotal></FullDisclosureData></FullDisclosure>"
    )
    expected = read(tmp_path, document(strip_xml(counts))).signal
    assert np.array_equal(read(tmp_path, document(body)).signal, expected)


def test_measurements_without_text_are_absent_and_the_others_are_read(tmp_path, counts):
    body = (
        "<RestingECGMeasurements><VentricularRate units='BPM'>61</VentricularRate><PQInterval units='ms'></PQInterval>"
        "<QRSDuration units='ms'>92</QRSDuration><RAxis units='degrees'>-12</RAxis></RestingECGMeasurements>"
    )
    found = read(tmp_path, document(body + strip_xml(counts))).measurements
    assert found == {"ventricular_rate_bpm": 61, "qrs_ms": 92, "r_axis_deg": -12}


def test_statements_lose_ornaments_and_counts(tmp_path, counts):
    lines = ["", "*** ACUTE MI ***", "--- Arrhythmia ---", "   QRS Complexes: 4", "ST &amp; T abnormality", None]
    texts = "".join(f"<DiagnosisText>{line or ''}</DiagnosisText>" for line in lines)
    body = f"<Interpretation><Diagnosis>{texts}</Diagnosis></Interpretation>"
    assert read(tmp_path, document(body + strip_xml(counts))).statements == ("ACUTE MI", "ST and T abnormality")


def without(counts, lead):
    return {name: values for name, values in counts.items() if name != lead}


V1 = 'WaveformData lead="V1">\t\t'
TOTAL = "<ChannelSampleCountTotal>5000</ChannelSampleCountTotal>"
ENTITIES = '<!DOCTYPE x [<!ENTITY a "1,"><!ENTITY b "&a;&a;">]>'
EXTERNAL = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]>'

BROKEN = {
    "empty file": (lambda c: b"", Reason.ECG_UNREADABLE),
    "only blanks": (lambda c: b" \r\n", Reason.ECG_UNREADABLE),
    "cut off": (lambda c: document(strip_xml(c))[:40000], Reason.ECG_UNREADABLE),
    "not XML": (lambda c: b"\x89PNG\r\n\x1a\n" + bytes(range(256)), Reason.ECG_UNREADABLE),
    "another root": (lambda c: b"<AnnotatedECG/>", Reason.ECG_UNREADABLE),
    "no waveforms": (lambda c: document("<StripData></StripData>"), Reason.ECG_UNREADABLE),
    "missing lead": (lambda c: document(strip_xml(without(c, "V3"))), Reason.ECG_LEAD_MISSING),
    "no lead I": (lambda c: document(strip_xml(without(c, "I"))), Reason.ECG_LEAD_MISSING),
    "not a number": (lambda c: document(strip_xml(c).replace(V1, V1 + "x,")), Reason.ECG_UNREADABLE),
    "empty sample": (lambda c: document(strip_xml(c).replace(",\n\t\t", ",,\n\t\t", 1)), Reason.ECG_UNREADABLE),
    "wrong units": (lambda c: document(strip_xml(c, unit="mVperLsb")), Reason.ECG_UNITS),
    "no units": (lambda c: document(strip_xml(c, unit="")), Reason.ECG_UNITS),
    "zero resolution": (lambda c: document(strip_xml(c, resolution="0")), Reason.ECG_UNITS),
    "no rate": (lambda c: document(strip_xml(c, rate="")), Reason.ECG_UNITS),
    "rate in kHz": (lambda c: document(strip_xml(c, rate="500", rate_unit="kHz")), Reason.ECG_UNITS),
    "too short": (lambda c: document(strip_xml({k: v[:3000] for k, v in c.items()})), Reason.ECG_TOO_SHORT),
    "fewer samples than announced": (lambda c: document(strip_xml(c, total=5010)), Reason.ECG_UNREADABLE),
    "leads of different lengths": (
        lambda c: document(strip_xml(c | {"V6": c["V6"][:4990]}).replace(TOTAL, "")), Reason.ECG_UNREADABLE,
    ),
    "lead twice": (lambda c: document(strip_xml(c).replace('lead="V2"', 'lead="v1"')), Reason.ECG_UNREADABLE),
    "own entities": (lambda c: document(strip_xml(c), before=ENTITIES), Reason.ECG_UNREADABLE),
    "external entity": (lambda c: document(strip_xml(c), before=EXTERNAL), Reason.ECG_UNREADABLE),
    "deep nesting": (lambda c: b"<a>" * 100000 + b"</a>" * 100000, Reason.ECG_UNREADABLE),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_have_reason_codes(tmp_path, counts, case):
    make, expected = BROKEN[case]
    assert reason(tmp_path, make(counts)) == expected


def test_samples_that_are_no_finite_numbers(tmp_path, counts):
    for word in ("nan", "inf", "1e999"):
        body = strip_xml(counts).replace(f",{counts['V4'][4999]}</WaveformData>", f",{word}</WaveformData>")
        assert word in body
        assert reason(tmp_path, document(body)) == Reason.ECG_NOT_FINITE


def test_missing_file(tmp_path):
    with pytest.raises(CofError) as caught:
        read_ecg(tmp_path / "nowhere.xml")
    assert caught.value.reason == Reason.ECG_MISSING
    assert "nowhere" not in str(caught.value)


def test_oversized_file_is_refused(tmp_path):
    assert reason(tmp_path, b"<CardiologyXML>" + b" " * (33 << 20) + b"</CardiologyXML>") == Reason.ECG_UNREADABLE
