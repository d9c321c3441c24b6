import numpy as np
import pytest
from ecg_files import muse_xml

from cof.ecg.reader import read_ecg
from cof.ecg.record import LEADS
from cof.errors import CofError, Reason

EIGHT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")


@pytest.fixture
def eight(counts):
    return {name: counts[name] for name in EIGHT}


def read(folder, content):
    (folder / "muse.xml").write_bytes(content)
    return read_ecg(folder / "muse.xml")


def test_eight_leads_become_twelve(tmp_path, counts, eight):
    ecg = read(tmp_path, muse_xml(eight))
    np.testing.assert_allclose(ecg.signal, np.stack([counts[lead] for lead in LEADS]) * 0.00488, atol=1e-6)
    assert ecg.rate_hz == 500
    assert ecg.measurements == {"ventricular_rate_bpm": 48, "pq_ms": 138, "p_duration_ms": 106}
    assert ecg.filters == {"ACFilter": "60", "Filter50Hz": "No", "Filter60Hz": "Yes"}
    assert ecg.recorded == EIGHT
    assert ecg.device == "MUSE 9.0"


def test_statements_over_several_lines(tmp_path, eight):
    parts = [("Normal sinus", False), ("rhythm", True), ("Inferior infarct", False), (", age undetermined", True)]
    diagnosis = "".join(
        f"<DiagnosisStatement>{'<StmtFlag>ENDSLINE</StmtFlag>' if ends else '<StmtFlag>USERINSERT</StmtFlag>'}"
        f"<StmtText>{text}</StmtText></DiagnosisStatement>"
        for text, ends in parts
    )
    ecg = read(tmp_path, muse_xml(eight, f"<Diagnosis>{diagnosis}</Diagnosis>"))
    assert ecg.statements == ("Normal sinus rhythm", "Inferior infarct , age undetermined")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"unit": "MILLIVOLTS"}, Reason.ECG_UNITS),
        ({"step": ""}, Reason.ECG_UNITS),
        ({"size": "4"}, Reason.ECG_UNITS),
        ({"total": 4000}, Reason.ECG_UNREADABLE),
        ({"base": "0"}, Reason.ECG_UNITS),
        ({"doctype": '<!DOCTYPE RestingECG [<!ENTITY x "y">]>'}, Reason.ECG_UNREADABLE),
    ],
)
def test_faults_have_reason_codes(tmp_path, eight, changes, expected):
    with pytest.raises(CofError) as caught:
        read(tmp_path, muse_xml(eight, **changes))
    assert caught.value.reason == expected


def test_missing_lead_and_broken_base64(tmp_path, eight):
    content = muse_xml(eight)
    for old, new, expected in (
        (b"<LeadID>V4", b"<LeadID>X", Reason.ECG_LEAD_MISSING),
        (b"<WaveFormData>", b"<WaveFormData>?", Reason.ECG_UNREADABLE),
    ):
        with pytest.raises(CofError) as caught:
            read(tmp_path, content.replace(old, new))
        assert caught.value.reason == expected


def altered(counts, lead: str, more: str) -> bytes:
    return muse_xml(counts).replace(f"<LeadID>{lead}</LeadID>".encode(), f"<LeadID>{lead}</LeadID>{more}".encode())


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("<LeadOff>TRUE</LeadOff>", Reason.ECG_POOR_QUALITY),
        ("<LeadTimeOffset>2500</LeadTimeOffset>", Reason.ECG_UNREADABLE),
        ("<LeadOffsetFirstSample>3</LeadOffsetFirstSample>", Reason.ECG_UNREADABLE),
        ("<LeadOff>FALSE</LeadOff><LeadTimeOffset>0</LeadTimeOffset>", None),
    ],
)
def test_leads_that_were_off_or_begin_at_other_times_are_refused(tmp_path, counts, more, expected):
    path = tmp_path / "ecg.xml"
    path.write_bytes(altered(counts, "V2", more))
    if expected is None:
        assert read_ecg(path).signal.shape == (12, 5000)
        return
    with pytest.raises(CofError) as caught:
        read_ecg(path)
    assert caught.value.reason == expected
