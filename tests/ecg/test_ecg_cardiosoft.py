from pathlib import Path

import numpy as np
import pytest

from cof.config.data import EcgSettings
from cof.ecg.reader import read_ecg
from cof.ecg.record import LEADS
from cof.errors import CofError, Reason
from cof.phantom.cardiosoft import write_ecg

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


@pytest.mark.parametrize(
    ("declared", "true", "word"),
    [
        ("ISO-8859-1", "latin-1", "groß"), ("ISO8859-1", "latin-1", "groß"), ("UTF-8", "utf-8", "groß"),
        # Files that lie about their bytes.
        ("UTF-8", "latin-1", "groß"), ("ISO-8859-1", "utf-8", "groß"), ("cp949", "latin-1", "aß"),
        ("no-such", "latin-1", "groß"), ("UTF-16", "latin-1", "groß"), ("ascii", "utf-8", "groß"),
        ("cp949", "cp949", "정상"), ("EUC-KR", "cp949", "정상"), ("windows-1252", "cp1252", "“groß”"),
        ("UTF-16", "utf-16", "groß"), ("UTF-8", "utf-8-sig", "groß"),
    ],
)  # fmt: skip
def test_codepages_true_and_false(tmp_path, counts, declared, true, word):
    body = f"<Interpretation><Diagnosis><DiagnosisText>{word}</DiagnosisText></Diagnosis></Interpretation>"
    text = f'<?xml version="1.0" encoding="{declared}" ?>\n<CardiologyXML>{body}{strip_xml(counts)}</CardiologyXML>'
    assert read(tmp_path, text.encode(true)).statements == (word,)


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


def disclosure_xml(counts, rate=500, order="I,II,III,aVR,aVL,aVF,V1,V2,V3,V4,V5,V6", end=",\n\t\t") -> str:
    """Full disclosure: a line is one second of one lead, leads cycle, and every line ends in a comma."""
    names = order.split(",")
    seconds = np.stack([counts[lead] for lead in names]).reshape(len(names), -1, rate).swapaxes(0, 1).reshape(-1, rate)
    lines = "".join(",".join(map(str, line)) + end for line in seconds)
    return (
        f'<FullDisclosure><NumberOfChannels>12</NumberOfChannels><SampleRate units="Hz">{rate}</SampleRate>'
        f'<Resolution units="uVperLsb">5</Resolution><LeadOrder>{order}</LeadOrder><FullDisclosureData>{lines}'
        f"<SampleCountTotal>{seconds.size}</SampleCountTotal></FullDisclosureData></FullDisclosure>"
    )


def test_full_disclosure_replaces_a_missing_strip(tmp_path, counts):
    expected = read(tmp_path, document(strip_xml(counts))).signal
    ecg = read(tmp_path, document(disclosure_xml(counts)))
    assert np.array_equal(ecg.signal, expected)
    assert ecg.source == "CardioSoft FullDisclosure"


def test_full_disclosure_replaces_an_empty_strip(tmp_path, counts):
    empty = "".join(f'<WaveformData lead="{lead}">\t\t</WaveformData>' for lead in LEADS)
    ecg = read(tmp_path, document(f"<StripData>{empty}</StripData>" + disclosure_xml(counts)))
    assert ecg.source == "CardioSoft FullDisclosure"


@pytest.mark.parametrize("end", [",\r\n", ",", ", \t"])
def test_full_disclosure_at_another_rate_and_in_another_order(tmp_path, counts, end):
    backwards = ",".join(reversed(LEADS))
    ecg = read(tmp_path, document(disclosure_xml(counts, rate=100, order=backwards, end=end)))
    assert ecg.rate_hz == 100
    np.testing.assert_allclose(ecg.signal, np.stack([counts[lead] for lead in LEADS]) * 0.005, rtol=1e-6)


def test_the_strip_goes_before_full_disclosure(tmp_path, counts):
    other = {lead: -values for lead, values in counts.items()}
    ecg = read(tmp_path, document(disclosure_xml(other) + strip_xml(counts)))
    assert ecg.source == "CardioSoft StripData"
    assert ecg.signal[0, 0] == pytest.approx(counts["I"][0] * 0.005)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_all_systems(tmp_path, counts, end):
    plain = document(strip_xml(counts))
    ecg = read(tmp_path, plain.replace(b"\r\n", b"\n").replace(b"\n", end.encode()))
    assert np.array_equal(ecg.signal, read(tmp_path, plain).signal)


def test_both_versions_of_the_software(tmp_path, make_latents):
    """V6.73 with CR LF and the spelling ISO-8859-1, V6.51 with LF and ISO8859-1, as the phantom writes them."""
    seen = {}
    for seed in range(8):
        write_ecg(tmp_path / "ecg.xml", make_latents(), seed)
        content = (tmp_path / "ecg.xml").read_bytes()
        spelling = content.split(b'"')[3]
        seen[spelling] = b"\r\n" in content
        ecg = read_ecg(tmp_path / "ecg.xml")
        assert ecg.signal.shape == (12, 5000)
        assert ("V6.73" if spelling == b"ISO-8859-1" else "V6.51") in ecg.device
    assert seen == {b"ISO-8859-1": True, b"ISO8859-1": False}


def test_leads_of_an_exercise_test_lie_in_strips_inside_the_block(tmp_path, counts):
    waves = strip_xml(counts, name=lambda lead: {"II": "2", "III": "3"}.get(lead, lead))
    ecg = read(tmp_path, document(f"<StripData>{waves.replace('StripData', 'Strip')}</StripData>"))
    np.testing.assert_allclose(ecg.signal[2], counts["III"] * 0.005, rtol=1e-6)


def test_what_is_recorded_and_what_is_derived_is_told(tmp_path, counts):
    partial = {lead: values for lead, values in counts.items() if lead not in ("aVR", "aVF")}
    ecg = read(tmp_path, document(strip_xml(partial, resolution="2.5")))
    assert set(ecg.recorded) == set(LEADS) - {"aVR", "aVF"}
    assert ecg.lsb_mv == 0.0025


def test_measurements_without_text_are_absent_and_the_others_are_read(tmp_path, counts):
    body = (
        "<RestingECGMeasurements><VentricularRate units='BPM'>61</VentricularRate><PQInterval units='ms'></PQInterval>"
        "<QRSDuration units='ms'>92</QRSDuration><RAxis units='degrees'>-12</RAxis></RestingECGMeasurements>"
    )
    found = read(tmp_path, document(body + strip_xml(counts))).measurements
    assert found == {"ventricular_rate_bpm": 61, "qrs_ms": 92, "r_axis_deg": -12}


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        ('<QRSDuration units="s">0.092</QRSDuration>', {"qrs_ms": 92}),
        ('<QRSDuration units="furlong">92</QRSDuration>', {}),
        ("<QRSDuration>92</QRSDuration>", {}),
        ('<QRSDuration units="ms">nan</QRSDuration>', {}),
        ('<QRSDuration units="ms">--</QRSDuration>', {}),
        ('<VentricularRate units="Hz">1</VentricularRate>', {}),
    ],
)
def test_units_of_measurements_are_checked(tmp_path, counts, element, expected):
    body = f"<RestingECGMeasurements>{element}</RestingECGMeasurements>"
    assert read(tmp_path, document(body + strip_xml(counts))).measurements == pytest.approx(expected)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('<Weight units="POUNDS">176</Weight>', {"weight_kg": 79.83}),
        ('<Weight units="KILOGRAMS">79.8</Weight>', {"weight_kg": 79.8}),
        ('<Height units="CENTIMETERS">182</Height><Age units="YEARS">61</Age>', {"height_cm": 182, "age_y": 61}),
        ('<Height units="INCHES">70</Height>', {"height_cm": 177.8}),
        ('<Weight units="STONES">12</Weight><Height units="CENTIMETERS"></Height>', {}),
    ],
)
def test_body_measures_in_all_units(tmp_path, counts, body, expected):
    found = read(tmp_path, document(f"<PatientInfo>{body}</PatientInfo>" + strip_xml(counts))).measurements
    assert found == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    "line",
    ["   QRS Complexes: 4", "---", "----------", "--- Arrhythmia ---", "Arrhythmia results of the full-disclosure ECG",
     "", " ", "***"],
)  # fmt: skip
def test_lines_that_are_no_statements_are_left_out(tmp_path, counts, line):
    texts = f"<DiagnosisText>{line}</DiagnosisText><DiagnosisText>Sinus bradycardia</DiagnosisText>"
    body = f"<Interpretation><Diagnosis>{texts}</Diagnosis></Interpretation>"
    assert read(tmp_path, document(body + strip_xml(counts))).statements == ("Sinus bradycardia",)


def test_the_conclusion_counts_where_the_diagnosis_is_empty(tmp_path, counts):
    body = (
        "<Interpretation><Diagnosis><DiagnosisText></DiagnosisText></Diagnosis>"
        "<Conclusion><ConclusionText>Atrial fibrillation</ConclusionText></Conclusion></Interpretation>"
    )
    assert read(tmp_path, document(body + strip_xml(counts))).statements == ("Atrial fibrillation",)


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


@pytest.mark.parametrize(("resolution", "unit"), [("5000", "nVperLsb"), ("0.005", "mVperLsb"), ("5", "UVPERLSB")])
def test_resolutions_in_other_units_give_the_same_voltages(tmp_path, counts, resolution, unit):
    usual = read(tmp_path, document(strip_xml(counts)))
    other = read(tmp_path, document(strip_xml(counts, resolution=resolution, unit=unit)))
    np.testing.assert_allclose(other.signal, usual.signal, atol=1e-6)


@pytest.mark.parametrize(("resolution", "unit"), [("4,88", "uVperLsb"), ("5", "VperLsb"), ("5", ""), ("0", "uVperLsb")])
def test_resolutions_that_are_not_understood_are_named(tmp_path, counts, resolution, unit):
    with pytest.raises(CofError, match=f"resolution '{resolution}' '{unit}' is not understood"):
        read(tmp_path, document(strip_xml(counts, resolution=resolution, unit=unit)))
