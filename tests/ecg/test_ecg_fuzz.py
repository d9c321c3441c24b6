from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cof.config.data import EcgSettings
from cof.ecg.reader import read_ecg
from cof.errors import CofError

SHORT = EcgSettings(min_seconds=0.01)
LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
VALUES = {"I": "0,10,20", "II": "0,20,10", "III": "0,10,-10", "aVR": "0,-15,-15", "aVL": "0,0,15", "aVF": "0,15,0"}
SMALL = (
    '<?xml version="1.0" encoding="ISO-8859-1" ?>\n<CardiologyXML><ClinicalInfo><DeviceInfo><Desc>CardioSoft</Desc>'
    "</DeviceInfo></ClinicalInfo><FilterSetting><Filter50Hz>No</Filter50Hz></FilterSetting><Interpretation><Diagnosis>"
    "<DiagnosisText>Normal ECG</DiagnosisText></Diagnosis></Interpretation><RestingECGMeasurements>"
    '<VentricularRate units="BPM">60</VentricularRate></RestingECGMeasurements><StripData><SampleRate units="Hz">100'
    '</SampleRate><ChannelSampleCountTotal>3</ChannelSampleCountTotal><Resolution units="uVperLsb">5</Resolution>'
    + "".join(f'<WaveformData lead="{lead}">\t{VALUES.get(lead, "0,9,18")}</WaveformData>' for lead in LEADS)
    + "</StripData></CardiologyXML>"
).encode()
PIECES = [
    b"", b"<", b">", b"&", b"&#0;", b"\0", b"\xff", b"nan", b"-", b",", b"1e999", b'"', b"</StripData>", b"<a>",
    b"StripData", b"<!DOCTYPE a>", b"<![CDATA[", b"]]>", b"<?x", b"99999999999999999999", b"UTF-16",
    b"<StripData>text</StripData>",
]  # fmt: skip


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "ecg.xml"


def survives(path: Path, content: bytes) -> None:
    """Either twelve leads come out or a `CofError`; anything else fails the test."""
    path.write_bytes(content)
    try:
        ecg = read_ecg(path, SHORT)
    except CofError:
        return
    assert ecg.signal.shape[0] == 12


def test_the_unharmed_file_is_read(path):
    path.write_bytes(SMALL)
    assert read_ecg(path, SHORT).signal[0, 2] == pytest.approx(0.1)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, len(SMALL)), st.integers(0, 40), st.sampled_from(PIECES)), min_size=1, max_size=4)
)
def test_harmed_files_raise_nothing_but_cof_errors(path, wounds):
    content = SMALL
    for start, length, piece in wounds:
        content = content[:start] + piece + content[start + length :]
    survives(path, content)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"<?xml version='1.0' encoding='utf-8'?>", b"\xff\xfe", b"\xef\xbb\xbf"]),
)
def test_arbitrary_bytes_raise_nothing_but_cof_errors(path, body, start):
    survives(path, start + body)
    survives(path, start + b"<CardiologyXML>" + body + b"</CardiologyXML>")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet="HR1 216x+/()-.\nmvIVaL0", max_size=120))
def test_arbitrary_headers_raise_nothing_but_cof_errors(path, body):
    header = path.with_suffix(".hea")
    header.write_text("HR1 12 500 3\n" + body)
    path.with_name("HR1.mat").write_bytes(bytes(100))
    try:
        read_ecg(header, SHORT)
    except CofError:
        return
    raise AssertionError("a random header was read as twelve leads")
