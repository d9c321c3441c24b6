"""Kinds of ECGs. Each function writes one into a folder and returns its path, settings and what must become of it."""

import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cines import Scan
from ecg_files import dicom_file, group, muse_xml, wfdb_record
from kinds import EITHER, REFUSAL, Kinds, Outcome, Refusal
from known_strips import (
    FORMS,
    STEP_MV,
    WRITERS,
    Right,
    Settings,
    Strip,
    regular,
    spikes_before,
    strip,
    wfdb,
    with_spikes,
)
from pydicom import dcmread
from pydicom.dataset import Dataset

from cof.config.data import EcgSettings
from cof.ecg.record import LEADS
from cof.errors import Reason

KINDS = Kinds()
Made = tuple[Path, Settings, Outcome]
_NO_BEAT = Refusal("", (Reason.BEAT_NONE, Reason.BEAT_RATE_MISMATCH))
_ORDINARY = strip(regular(71))


def _made(own: Strip, form: str, folder: Path, refusal: Refusal | None = None, **flags: Any) -> Made:
    return WRITERS[form](folder, own), Settings(), Outcome(Right(own, **flags), refusal)


# Rhythms


@KINDS.add(
    "an even rhythm of 35 to 190 beats a minute",
    (*(f"{form} {bpm}" for bpm in (60, 150) for form in FORMS), "dicom 35", "muse 45", "wfdb 75", "cardiosoft 100",
     "dicom 120", "cardiosoft 180", "wfdb 180", "muse 190"),
)  # fmt: skip
def even(folder, form):
    form, bpm = form.split()
    return _made(strip(regular(int(bpm))), form, folder, irregular=False, ectopic=0)


@KINDS.add("an even rhythm of 30 or 200 beats a minute", ("dicom 30", "muse 30", "dicom 200", "muse 200"), EITHER)
def extreme(folder, form):
    form, bpm = form.split()
    return _made(strip(regular(int(bpm))), form, folder, _NO_BEAT)


@KINDS.add(
    "250, 1000 or 2000 samples a second",
    (*(f"{form} {rate}" for rate in (250, 1000) for form in FORMS), "wfdb 2000"),
)
def rates(folder, form):
    form, rate = form.split()
    return _made(strip(regular(66), rate_hz=int(rate)), form, folder, ectopic=0)


@KINDS.add("a sinus rhythm that follows breathing", FORMS)
def breathing(folder, form):
    times = [0.5]
    while times[-1] < 9.9:
        times.append(times[-1] + 60 / 66 * (1 + 0.08 * np.sin(2 * np.pi * 0.25 * times[-1])))
    return _made(strip(np.array(times[:-1])), form, folder, ectopic=0)


@KINDS.add("atrial fibrillation: no P wave, no even interval", FORMS)
def fibrillation(folder, form):
    times = 0.4 + np.cumsum(0.75 * np.exp(np.random.default_rng(5).normal(0, 0.22, 30)).clip(0.55, 1.7))
    return _made(strip(times[times < 9.95], p_wave=False), form, folder, irregular=True)


def _premature(rr: float, *early: int) -> Strip:
    """An even rhythm in which these beats are ventricular and come early, each with a full compensatory pause."""
    times = np.arange(0.5, 9.9, rr)
    times[list(early)] -= 0.4 * rr
    return strip(times, wide=early)


@KINDS.add("one ventricular beat that comes early", FORMS)
def premature(folder, form):
    return _made(_premature(0.85, 5), form, folder, ectopic=1)


@KINDS.add(
    "two ventricular beats that come early",
    ("muse", "wfdb"),
)
def premature_two(folder, form):
    return _made(_premature(0.9, 3, 8), form, folder, ectopic=2)


@KINDS.add("decimal commas in the header: of the rate, or of the gains", ("wfdb rate", "wfdb gain"), REFUSAL)
def comma(folder, form):
    header = wfdb(folder, _ORDINARY)
    old, new = (" 12 500 ", " 12 500,0 ") if form.endswith("rate") else (" 200(0)", " 200,0(0)")
    header.write_text(header.read_text().replace(old, new))
    return header, Settings(), Outcome(refusal=Refusal("decimal comma", (Reason.ECG_UNREADABLE,)))


@KINDS.add("one ventricular beat between two others, without a pause", ("cardiosoft", "dicom"))
def interpolated(folder, form):
    times = np.sort(np.append(np.arange(0.5, 9.9, 1.0), 4.98))
    return _made(strip(times, wide=(5,)), form, folder, ectopic=1)


@KINDS.add("every second beat is an early ventricular one", FORMS, EITHER)
def bigeminy(folder, form):
    return _made(_premature(0.8, 1, 3, 5, 7, 9, 11), form, folder, _NO_BEAT)


@KINDS.add("every beat is broad", ("muse", "dicom"))
def broad(folder, form):
    return _made(strip(regular(70), wide=None), form, folder, ectopic=0)


@KINDS.add("mains hum and a tremor", ("cardiosoft", "dicom"))
def hum(folder, form):
    def add(leads: np.ndarray) -> None:
        t = np.arange(leads.shape[1]) / 500
        leads += 0.05 * np.sin(2 * np.pi * 50 * t) * np.linspace(0.5, 1, len(leads))[:, None]
        leads += 0.02 * np.random.default_rng(1).standard_normal(leads.shape)

    return _made(strip(regular(71)).changed(add), form, folder, ectopic=0)


@KINDS.add("a click in lead V3 and nowhere else", ("muse", "wfdb"))
def click(folder, form):
    def add(leads: np.ndarray) -> None:
        leads[4, 2130] += 2.0

    return _made(strip(regular(71)).changed(add), form, folder, paced=None, ectopic=0)


@KINDS.add("a strip of 2.5 s", FORMS, REFUSAL)
def short_strip(folder, form):
    own = strip(regular(75, 2.5, 0.4), seconds=2.5)
    return WRITERS[form](folder, own), Settings(), Outcome(refusal=Refusal(r"2\.5 s", (Reason.ECG_TOO_SHORT,)))


@KINDS.add("a strip of 2.5 s where the settings allow it", FORMS)
def short_strip_allowed(folder, form):
    own = strip(regular(75, 2.5, 0.4), seconds=2.5)
    return WRITERS[form](folder, own), Settings(EcgSettings(min_seconds=2.0)), Outcome(Right(own))


# Pacing

# Samples a second, mV in lead II, samples of a spike.
_SPIKES = ((250, 2.0, 1), (500, 1.0, 1), (500, 2.0, 1), (500, -3.0, 1), (500, 2.0, 2), (1000, 1.5, 1), (1000, 4.0, 2))
_PACED = tuple(f"{FORMS[n % 4]} {hz} {mv:g} {count}" for n, (hz, mv, count) in enumerate(_SPIKES))


def _kept(folder: Path, form: str, own: Strip, firsts: list[int], shape_mv: Sequence[float]) -> Made:
    """A paced strip, kept by the settings; what lies below its spikes may be known or bridged."""
    known = np.ones(own.millivolts.shape, bool)
    for first in firsts:
        known[:, max(first - 3, 0) : first + len(shape_mv) + 3] = False
    path = WRITERS[form](folder, with_spikes(own, firsts, shape_mv))
    return path, Settings(EcgSettings(paced="keep")), Outcome(Right(own, known, paced=True))


def _paced(folder: Path, form: str, *before_ms: float, wide: bool) -> Made:
    form, hz, mv, count = form.split()
    own = strip(regular(60), rate_hz=int(hz), wide=None if wide else ())
    return _kept(folder, form, own, spikes_before(own, *before_ms), [float(mv)] * int(count))


@KINDS.add("atrial pacing that the device does not state; 250 to 1000 Hz, 1 to 4 mV", _PACED)
def atrial(folder, form):
    return _paced(folder, form, 180.0, wide=False)


@KINDS.add("ventricular pacing that the device does not state; 250 to 1000 Hz, 1 to 4 mV", _PACED)
def ventricular(folder, form):
    return _paced(folder, form, 75.0, wide=True)


@KINDS.add("AV-sequential pacing that the device does not state; 250 to 1000 Hz, 1 to 4 mV", _PACED)
def av_sequential(folder, form):
    return _paced(folder, form, 225.0, 75.0, wide=True)


@KINDS.add(
    "pacing of both ventricles with spikes 10 ms apart; 500 and 1000 Hz",
    ("wfdb 500 2 1", "dicom 500 -1.5 1", "muse 1000 1.5 2"),
)
def both_ventricles_paced(folder, form):
    return _paced(folder, form, 75.0, 65.0, wide=True)


@KINDS.add("atrial pacing whose spikes swing back", ("dicom 500", "wfdb 1000"))
def biphasic(folder, form):
    form, hz = form.split()
    own = strip(regular(70), rate_hz=int(hz))
    return _kept(folder, form, own, spikes_before(own, 170.0), (2.5, -1.0))


@KINDS.add("atrial pacing whose spikes a filter has smeared over 4 ms", ("wfdb 1000", "cardiosoft 1000"))
def smeared(folder, form):
    form, hz = form.split()
    own = strip(regular(70), rate_hz=int(hz))
    return _kept(folder, form, own, spikes_before(own, 170.0), (0.8, 2.0, 1.5, 0.5))


@KINDS.add("atrial pacing of every second beat", ("muse", "dicom"))
def intermittent(folder, form):
    own = strip(regular(70))
    return _kept(folder, form, own, spikes_before(own, 170.0, every=2), (2.0,))


_PACING = Refusal("pace", (Reason.ECG_POOR_QUALITY,))


@KINDS.add("pacing that nobody states, by the default settings", FORMS, REFUSAL)
def found(folder, form):
    own = strip(regular(60))
    path = WRITERS[form](folder, with_spikes(own, spikes_before(own, 180.0), (2.0,)))
    return path, Settings(), Outcome(refusal=_PACING)


@KINDS.add("pacing that the device states, without spikes, by the default settings", ("cardiosoft", "muse"), REFUSAL)
def stated(folder, form):
    return _stated(folder, form), Settings(), Outcome(refusal=_PACING)


@KINDS.add("pacing that the device states, without spikes, kept", ("cardiosoft", "muse"))
def stated_kept(folder, form):
    return _stated(folder, form), Settings(EcgSettings(paced="keep")), Outcome(Right(strip(regular(60)), paced=True))


def _stated(folder: Path, form: str) -> Path:
    path = WRITERS[form](folder, strip(regular(60)))
    words = b"Electronic atrial pacemaker"
    if form == "muse":
        statement = b"<Diagnosis><DiagnosisStatement><StmtFlag>ENDSLINE</StmtFlag><StmtText>%b</StmtText>" % words
        content = re.sub(
            rb"(?=<Waveform>)", statement + b"</DiagnosisStatement></Diagnosis>", path.read_bytes(), count=1
        )
    else:
        content = re.sub(rb"(<DiagnosisText>)", rb"\1" + words, path.read_bytes(), count=1)
    assert words in content
    path.write_bytes(content)
    return path


# DICOM: bits, padding, words


def _dicom(folder: Path, item: Dataset, **more: Any) -> Path:
    path = folder / "ecg.dcm"
    path.write_bytes(dicom_file([item], **more))
    return path


def _stored(own: Strip, bits: int, allocated: int = 16, dirt: int = 0) -> Dataset:
    """The strip with samples of fewer bits than are allocated; those above are `dirt`, not the sign's extension."""
    item = group(own.counts, rate=own.rate_hz, interpretation="SS" if allocated == 16 else "SL")
    counts = np.stack(list(own.counts.values())).T
    cells = counts & (2**bits - 1) | dirt & ~(2**bits - 1)
    item.WaveformBitsAllocated = allocated
    item.WaveformData = cells.astype(f"<u{allocated // 8}").tobytes()
    for channel in item.ChannelDefinitionSequence:
        channel.WaveformBitsStored = bits
    return item


def _ordinary(folder: Path, item: Dataset) -> Made:
    return _dicom(folder, item), Settings(), Outcome(Right(_ORDINARY))


@KINDS.add("10 to 14 of 16 bits stored, the sign not extended", ("dicom 10", "dicom 12", "dicom 14"))
def sign(folder, form):
    return _ordinary(folder, _stored(_ORDINARY, int(form.split()[1])))


@KINDS.add("12 of 16 bits stored, dirt above", ("dicom",), EITHER)
def dirty(folder, form):
    """Some files state fewer bits than their samples have, so that a reader may doubt."""
    path = _dicom(folder, _stored(_ORDINARY, 12, dirt=0x5000))
    return path, Settings(), Outcome(Right(_ORDINARY), Refusal("bits", (Reason.ECG_UNREADABLE, Reason.ECG_UNITS)))


@KINDS.add("12 of 16 bits stored, the sign extended", ("dicom",))
def sign_extended(folder, form):
    item = group(_ORDINARY.counts)
    for channel in item.ChannelDefinitionSequence:
        channel.WaveformBitsStored = 12
    return _ordinary(folder, item)


@KINDS.add("16 or 24 of 32 bits stored, the sign not extended", ("dicom 16", "dicom 24"))
def wide_samples(folder, form):
    return _ordinary(folder, _stored(_ORDINARY, int(form.split()[1]), allocated=32))


@KINDS.add("unsigned 12 of 16 bits about a baseline", ("dicom",))
def unsigned(folder, form):
    raised = Strip({lead: values + 2048 for lead, values in _ORDINARY.counts.items()}, 500, _ORDINARY.r_s)
    item = _stored(raised, 12)
    item.WaveformSampleInterpretation = "US"
    for channel in item.ChannelDefinitionSequence:
        channel.ChannelBaseline = -2048 * 5
    return _ordinary(folder, item)


def _padded(folder: Path, leads: slice, samples: slice, refusal: Refusal, read: bool = True) -> Made:
    """The strip with padding in place of some samples of some leads."""
    known = np.ones((12, 5000), bool)
    known[leads, samples] = False
    item = group(_ORDINARY.counts)
    counts = np.stack(list(_ORDINARY.counts.values()))
    item.WaveformData = np.where(known, counts, -32768).T.astype("<i2").tobytes()
    item.WaveformPaddingValue = struct.pack("<h", -32768)
    return _dicom(folder, item), Settings(), Outcome(_Trimmed(_ORDINARY, known) if read else None, refusal)


class _Trimmed:
    """As `Right`, where the reader may cut padding off at the ends or fill it."""

    def __init__(self, own: Strip, known: np.ndarray) -> None:
        self._own, self._known = own, known

    def __call__(self, read: Any) -> None:
        ecg = read[0]
        assert np.abs(ecg.signal).max() < 10, f"padding is {ecg.signal.min():.1f} to {ecg.signal.max():.1f} mV"
        inside = np.flatnonzero(self._known.all(axis=0))
        own = self._own
        if ecg.signal.shape[1] == len(inside) < self._known.shape[1]:
            first, last = inside[0], inside[-1] + 1
            counts = {lead: values[first:last] for lead, values in own.counts.items()}
            times = own.r_s - first / own.rate_hz
            own = Strip(counts, own.rate_hz, times[(times > 0) & (times < (last - first) / own.rate_hz)])
            Right(own)(read)
        else:
            Right(own, self._known)(read)


_PADDING = Refusal(
    "padding", (Reason.ECG_UNREADABLE, Reason.ECG_NOT_FINITE, Reason.ECG_POOR_QUALITY, Reason.ECG_TOO_SHORT)
)


@KINDS.add("padding in the last 0.3 s", ("dicom",), EITHER)
def padding_last(folder, form):
    return _padded(folder, slice(None), slice(-150, None), _PADDING)


@KINDS.add("padding in the first second", ("dicom",), EITHER)
def padding_first(folder, form):
    return _padded(folder, slice(None), slice(0, 500), _PADDING)


@KINDS.add("padding in 0.1 s of one lead", ("dicom",), EITHER)
def padding_lead(folder, form):
    return _padded(folder, slice(7, 8), slice(2400, 2450), _PADDING)


@KINDS.add("padding in half the strip", ("dicom",), REFUSAL)
def padding_half(folder, form):
    return _padded(folder, slice(None), slice(2500, None), _PADDING, read=False)


@KINDS.add("a baseline of 100 uV in every channel", ("dicom",))
def baseline(folder, form):
    item = group({lead: values - 20 for lead, values in _ORDINARY.counts.items()}, baseline=100)
    return _ordinary(folder, item)


@KINDS.add("channels of unlike sensitivities and units", ("dicom",))
def sensitivities(folder, form):
    item = group(_ORDINARY.counts)
    for number, channel in enumerate(item.ChannelDefinitionSequence):
        if number % 2:
            channel.ChannelSensitivity = "0.005"
            channel.ChannelSensitivityUnitsSequence[0].CodeValue = "mV"
    return _ordinary(folder, item)


@KINDS.add("a channel without sensitivity", ("dicom",), REFUSAL)
def no_sensitivity(folder, form):
    item = group(_ORDINARY.counts)
    for name in ("ChannelSensitivity", "ChannelSensitivityUnitsSequence", "ChannelSensitivityCorrectionFactor"):
        delattr(item.ChannelDefinitionSequence[3], name)
    return _dicom(folder, item), Settings(), Outcome(refusal=Refusal("sensitivity", (Reason.ECG_UNITS,)))


@KINDS.add("no preamble", ("dicom",))
def no_preamble(folder, form):
    path = WRITERS["dicom"](folder, _ORDINARY)
    data = dcmread(path)
    del data.file_meta
    data.save_as(path, implicit_vr=False, little_endian=True, enforce_file_format=False)
    return path, Settings(), Outcome(Right(_ORDINARY))


@KINDS.add("no preamble, elements do not tell their type", ("dicom",))
def no_preamble_implicit(folder, form):
    path = WRITERS["dicom"](folder, _ORDINARY)
    data = dcmread(path)
    del data.file_meta
    data.save_as(path, implicit_vr=True, little_endian=True, enforce_file_format=False)
    return path, Settings(), Outcome(Right(_ORDINARY))


# WFDB


@KINDS.add("10 samples of every lead in a frame", ("wfdb",))
def ten_a_frame(folder, form):
    counts = np.stack([_ORDINARY.counts[lead] for lead in LEADS])
    frames = counts.reshape(12, 500, 10).transpose(1, 0, 2)
    (folder / "a.dat").write_bytes(frames.astype("<i2").tobytes())
    lines = [f"a.dat 16x10 200/mV 16 0 0 0 0 {lead}" for lead in LEADS]
    return _header(folder, ["a 12 50 500", *lines]), Settings(), Outcome(Right(_ORDINARY))


@KINDS.add("leads of unlike rates", ("wfdb",), REFUSAL)
def unlike_rates(folder, form):
    (folder / "a.dat").write_bytes(bytes(2 * 13 * 5000))
    lines = [f"a.dat 16{'x2' if lead == 'V6' else ''} 200/mV 16 0 0 0 0 {lead}" for lead in LEADS]
    refusal = Refusal("rate", (Reason.ECG_UNREADABLE,))
    return _header(folder, ["a 12 500 5000", *lines]), Settings(), Outcome(refusal=refusal)


def _header(folder: Path, lines: list[str]) -> Path:
    path = folder / "a.hea"
    path.write_text("\n".join([*lines, ""]))
    return path


@KINDS.add("a record of two segments", ("wfdb",), EITHER)
def segments(folder, form):
    counts = np.stack([_ORDINARY.counts[lead] for lead in LEADS]).T.astype("<i2")
    for name, part in (("a_1", counts[:2500]), ("a_2", counts[2500:])):
        (folder / f"{name}.dat").write_bytes(part.tobytes())
        lines = [f"{name}.dat 16 200/mV 16 0 0 0 0 {lead}" for lead in LEADS]
        (folder / f"{name}.hea").write_text("\n".join([f"{name} 12 500 2500", *lines, ""]))
    refusal = Refusal("segment", (Reason.ECG_UNREADABLE,))
    return _header(folder, ["a/2 12 500 5000", "a_1 2500", "a_2 2500"]), Settings(), Outcome(Right(_ORDINARY), refusal)


@KINDS.add("a record of two segments that are not there", ("wfdb",), REFUSAL)
def segments_missing(folder, form):
    refusal = Refusal("segment", (Reason.ECG_UNREADABLE, Reason.ECG_MISSING))
    return _header(folder, ["a/2 12 500 5000", "a_1 2500", "a_2 2500"]), Settings(), Outcome(refusal=refusal)


@KINDS.add("a header that tells no number of samples: the file does", ("wfdb",), EITHER)
def no_length(folder, form):
    header = wfdb(folder, _ORDINARY)
    header.write_text(header.read_text().replace("HR1 12 500 5000", "HR1 12 500"))
    refusal = Refusal("number of samples", (Reason.ECG_UNREADABLE,))
    return header, Settings(), Outcome(Right(_ORDINARY), refusal)


@KINDS.add("lead names in other capitals, a comment first, lines that end as on Windows", ("wfdb",))
def other_names(folder, form):
    header = wfdb(folder, _ORDINARY)
    text = "# made by a converter\n" + header.read_text()
    text = re.sub(r"(aV[RLF])$", lambda match: match[1].upper(), text, flags=re.MULTILINE)
    text = re.sub(r"(\bI{1,3}|V\d)$", lambda match: match[1].lower(), text, flags=re.MULTILINE)
    header.write_bytes(text.replace("\n", "\r\n").encode())
    return header, Settings(), Outcome(Right(_ORDINARY))


@KINDS.add("samples in big-endian order (format 61)", ("wfdb",))
def format_61(folder, form):
    counts = np.stack([_ORDINARY.counts[lead] for lead in LEADS])
    (folder / "a.dat").write_bytes(counts.T.astype(">i2").tobytes())
    lines = [f"a.dat 61 200/mV 16 0 0 0 0 {lead}" for lead in LEADS]
    return _header(folder, ["a 12 500 5000", *lines]), Settings(), Outcome(Right(_ORDINARY))


@KINDS.add("12 bits packed in pairs (format 212)", ("wfdb",))
def format_212(folder, form):
    flat = np.stack([_ORDINARY.counts[lead] for lead in LEADS]).T.ravel() & 0xFFF
    first, second = flat[0::2], flat[1::2]
    packed = np.stack([first & 0xFF, (first >> 8) | (second >> 8) << 4, second & 0xFF], axis=1)
    (folder / "a.dat").write_bytes(packed.astype(np.uint8).tobytes())
    lines = [f"a.dat 212 200/mV 12 0 0 0 0 {lead}" for lead in LEADS]
    return _header(folder, ["a 12 500 5000", *lines]), Settings(), Outcome(Right(_ORDINARY))


@KINDS.add("the zero level is given by the converter's zero alone", ("wfdb",))
def converter_zero(folder, form):
    counts = np.stack([_ORDINARY.counts[lead] for lead in LEADS]) + 1024
    (folder / "a.dat").write_bytes(counts.T.astype("<i2").tobytes())
    lines = [f"a.dat 16 200/mV 12 1024 0 0 0 {lead}" for lead in LEADS]
    return _header(folder, ["a 12 500 5000", *lines]), Settings(), Outcome(Right(_ORDINARY))


@KINDS.add("no gain", ("wfdb",), REFUSAL)
def no_gain(folder, form):
    header = wfdb_record(folder, _ORDINARY.counts, gain="0")
    return header, Settings(), Outcome(refusal=Refusal("gain", (Reason.ECG_UNITS,)))


@KINDS.add("invalid samples (-32768) in one lead", ("wfdb",), EITHER)
def invalid_samples(folder, form):
    counts = {lead: values.copy() for lead, values in _ORDINARY.counts.items()}
    counts["V2"][2400:2450] = -32768
    known = np.ones((12, 5000), bool)
    known[7, 2400:2450] = False
    header = wfdb_record(folder, counts, gain=f"{1 / STEP_MV:g}(0)", unit="mV")
    refusal = Refusal("V2|invalid|no number", (Reason.ECG_NOT_FINITE, Reason.ECG_UNREADABLE, Reason.ECG_TOO_SHORT))
    return header, Settings(), Outcome(_Trimmed(_ORDINARY, known), refusal)


# MUSE and CardioSoft


@KINDS.add("a step of 2.44 uV, the rate as 5 x 10^2", ("muse",))
def muse_step(folder, form):
    counts = {lead: np.rint(values * 5 / 2.44).astype(int) for lead, values in _ORDINARY.counts.items()}
    content = muse_xml({lead: counts[lead] for lead in LEADS if lead[0] != "a" and lead != "III"}, step="2.44")
    content = content.replace(
        b"<SampleBase>500</SampleBase><SampleExponent>0", b"<SampleBase>5</SampleBase><SampleExponent>2"
    )
    path = folder / "ecg.xml"
    path.write_bytes(content.replace(b"<VentricularRate>48", b"<VentricularRate>71"))
    return path, Settings(), Outcome(Right(_ORDINARY))


@KINDS.add("no document type, other leads (V3R, V4R, V7) beside", ("muse",))
def muse_more_leads(folder, form):
    leads = {lead: _ORDINARY.counts[lead] for lead in LEADS if lead[0] != "a" and lead != "III"}
    more = {"V3R": _ORDINARY.counts["V1"] // 2, "V7": _ORDINARY.counts["V6"] // 2}
    content = muse_xml(dict(reversed((leads | more).items())), step="5", doctype="")
    path = folder / "ecg.xml"
    path.write_bytes(content.replace(b"<VentricularRate>48", b"<VentricularRate>71"))
    return path, Settings(), Outcome(Right(_ORDINARY))


@KINDS.add("no ventricular rate", ("muse", "cardiosoft"))
def no_rate(folder, form):
    path = WRITERS[form](folder, _ORDINARY)
    path.write_bytes(re.sub(rb"<VentricularRate[^>]*>[^<]*</VentricularRate>", b"", path.read_bytes()))
    return path, Settings(), Outcome(Right(_ORDINARY))


@KINDS.add("a rate that is not that of the strip", FORMS[:2], REFUSAL)
def untrue_rate(folder, form):
    path = WRITERS[form](folder, _ORDINARY)
    path.write_bytes(re.sub(rb"(<VentricularRate[^>]*>)[^<]*", rb"\g<1>140", path.read_bytes()))
    return path, Settings(), Outcome(refusal=Refusal("71.*140", (Reason.BEAT_RATE_MISMATCH,)))


# Words


@KINDS.add("a DICOM image in place of an ECG", ("dicom",), REFUSAL)
def image_instead(folder, form):
    path = folder / "ecg.dcm"
    path.write_bytes(next(iter(Scan("siemens").files().values())))
    return path, Settings(), Outcome(refusal=Refusal("image|another kind", (Reason.ECG_UNREADABLE,)))


@KINDS.add("an archive of images in place of an ECG", ("dicom",), REFUSAL)
def archive_instead(folder, form):
    path = Scan("siemens").archive(folder / "cine.zip")
    return path, Settings(), Outcome(refusal=Refusal("zip|archive", (Reason.ECG_UNREADABLE,)))


@KINDS.add("a printed ECG (PDF) in place of its data", ("dicom",), REFUSAL)
def pdf_instead(folder, form):
    path = folder / "ecg.pdf"
    path.write_bytes(b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\n%%EOF\n")
    return path, Settings(), Outcome(refusal=Refusal("PDF", (Reason.ECG_UNREADABLE,)))
