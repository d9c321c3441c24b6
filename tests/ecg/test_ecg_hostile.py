"""Files made to harm: each is refused, or read, within bounded time and memory."""

import resource
import time
from base64 import b64encode

import numpy as np
import pytest
from ecg_files import muse_lead

from cof.ecg.categories import categorise
from cof.ecg.document import MAX_BYTES
from cof.ecg.reader import read_ecg
from cof.errors import CofError, Reason

LAUGHS = "".join(f'<!ENTITY a{k} "{f"&a{k - 1};" * 10}">' for k in range(1, 10))
LONGEST_S, MOST_MIB = 10, 1024


def cardiosoft(body: str, before: str = "") -> bytes:
    return f'<?xml version="1.0"?>{before}<CardiologyXML>{body}</CardiologyXML>'.encode()


def wave(text: str, total="5000", resolution="5", rate="500") -> str:
    return (
        f'<StripData><SampleRate units="Hz">{rate}</SampleRate><ChannelSampleCountTotal>{total}'
        f'</ChannelSampleCountTotal><Resolution units="uVperLsb">{resolution}</Resolution>'
        f'<WaveformData lead="I">{text}</WaveformData></StripData>'
    )


def disclosure(order: str, data: str) -> str:
    return (
        '<FullDisclosure><SampleRate units="Hz">500</SampleRate><Resolution units="uVperLsb">5</Resolution>'
        f"<LeadOrder>{order}</LeadOrder><FullDisclosureData>{data}</FullDisclosureData></FullDisclosure>"
    )


ROOM = MAX_BYTES - 1000
HOSTILE = {
    "billion laughs": lambda: cardiosoft("&a9;", f'<!DOCTYPE x [<!ENTITY a0 "ha">{LAUGHS}]>'),
    "quadratic blowup": lambda: cardiosoft("&a;" * 50_000, f'<!DOCTYPE x [<!ENTITY a "{"a" * 50_000}">]>'),
    "external entity": lambda: cardiosoft("&a;", '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]>'),
    "parameter entity": lambda: cardiosoft("", '<!DOCTYPE x [<!ENTITY % a SYSTEM "http://127.0.0.1/a.dtd"> %a;]>'),
    "unparsed entity": lambda: cardiosoft("", '<!DOCTYPE x [<!ENTITY a SYSTEM "a" NDATA b>]>'),
    "undefined entity": lambda: cardiosoft("&nothing;"),
    "deep nesting": lambda: b"<a>" * (ROOM // 7) + b"</a>" * (ROOM // 7),
    "unclosed nesting": lambda: b"<a>" * (ROOM // 3),
    "a flood of elements": lambda: cardiosoft("<a/>" * (ROOM // 4)),
    "a flood of attributes": lambda: b"<a " + b" ".join(b'a%d=""' % k for k in range(ROOM // 11)) + b"/>",
    "one huge attribute": lambda: b'<CardiologyXML a="' + b"x" * ROOM + b'"/>',
    "one huge name": lambda: b"<" + b"x" * ROOM + b"/>",
    "huge text": lambda: cardiosoft(wave("x" * ROOM)),
    "a flood of commas": lambda: cardiosoft(wave("," * ROOM)),
    "a flood of samples": lambda: cardiosoft(wave("1," * (ROOM // 2))),
    "huge integer": lambda: cardiosoft(wave("9" * ROOM)),
    "absurd count": lambda: cardiosoft(wave("1,2,3", total="9" * 300)),
    "infinite count": lambda: cardiosoft(wave("1,2,3", total="inf")),
    "negative count": lambda: cardiosoft(wave("1,2,3", total="-3")),
    "infinite rate": lambda: cardiosoft(wave("1,2,3", rate="inf")),
    "resolution that is no number": lambda: cardiosoft(wave("1,2,3", resolution="nan")),
    "a flood of leads": lambda: cardiosoft(disclosure("I," * (ROOM // 4), "1,2")),
    "no leads": lambda: cardiosoft(disclosure("", "1,2")),
    "null bytes": lambda: cardiosoft(wave("1,\0,3")),
    "only null bytes": lambda: bytes(1000),
    "null references": lambda: cardiosoft(wave("1,&#0;,3")),
    "a bomb of CDATA": lambda: cardiosoft("<![CDATA[" + "]" * ROOM),
    "an open comment": lambda: cardiosoft("<!--" + "-" * ROOM),
    "an endless declaration": lambda: b"<?xml " + b" encoding" * (ROOM // 9),
    "UTF-16 of odd length": lambda: b"\xff\xfe" + "<CardiologyXML/>".encode("utf-16-le") + b"<",
    "UTF-7": lambda: b'<?xml version="1.0" encoding="UTF-7"?>+ADw-CardiologyXML+AD4-',
    "MUSE with a bomb of base64": lambda: (
        b"<RestingECG><Waveform><WaveformType>Rhythm</WaveformType><SampleBase>500</SampleBase>"
        + muse_lead("I", np.zeros(2)).encode().replace(b"AAAAAA==", b64encode(bytes(ROOM * 3 // 4 - 2000)))
        + b"</Waveform></RestingECG>"
    ),
    "MUSE with a flood of statements": lambda: (
        b"<RestingECG><Diagnosis>"
        + b"<DiagnosisStatement><StmtFlag>X</StmtFlag><StmtText>%b</StmtText></DiagnosisStatement>" % (b"x" * 99) * 9**5
        + b"</Diagnosis></RestingECG>"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_documents_are_refused_quickly(tmp_path, case):
    (tmp_path / "ecg.xml").write_bytes(HOSTILE[case]())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    with pytest.raises(CofError) as caught:
        read_ecg(tmp_path / "ecg.xml")
    assert time.perf_counter() - start < LONGEST_S
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < MOST_MIB
    assert caught.value.reason in (Reason.ECG_UNREADABLE, Reason.ECG_UNITS, Reason.ECG_LEAD_MISSING)
    assert len(str(caught.value)) < 200


def test_a_document_type_outside_is_never_opened(tmp_path, counts, monkeypatch):
    """A harmless reference to a DTD, as every MUSE file has it, is passed over; its address is not followed."""
    (tmp_path / "a.dtd").write_text('<!ENTITY lead "leaked">')
    body = f'<!DOCTYPE CardiologyXML SYSTEM "file://{tmp_path}/a.dtd"><CardiologyXML>&lead;</CardiologyXML>'
    (tmp_path / "ecg.xml").write_text(body)
    with pytest.raises(CofError) as caught:
        read_ecg(tmp_path / "ecg.xml")
    assert "leaked" not in str(caught.value)


@pytest.mark.parametrize("statement", ["no " * 10**6, "x" * 10**6, "x " * 10**6 + "no longer", "st elevation" * 10**5])
def test_long_statements_take_no_time(tmp_path, counts, statement):
    from test_ecg_cardiosoft import document, read, strip_xml

    start = time.perf_counter()
    lines = f"<Diagnosis><DiagnosisText>{statement}</DiagnosisText></Diagnosis>" * 2
    ecg = read(tmp_path, document(f"<Interpretation>{lines}</Interpretation>" + strip_xml(counts)))
    categorise(ecg.statements)
    assert max(map(len, ecg.statements)) <= 500
    assert time.perf_counter() - start < 2
