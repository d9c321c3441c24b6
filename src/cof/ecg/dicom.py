"""Reader of ECGs stored as DICOM waveforms: 12-lead ECG and General ECG."""

import io
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.config
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset, read_partial
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from cof.config.data import EcgSettings
from cof.ecg.delineate import INDEPENDENT
from cof.ecg.document import SCAN
from cof.ecg.gaps import without_gaps
from cof.ecg.leads import assemble, canonical
from cof.ecg.record import LEADS, Ecg, clean_statements, convert, stated_sex
from cof.ecg.samples import counts
from cof.errors import CofError, Reason, raise_if_broken

# Far above any resting ECG (0.3 MB), and far below what would keep the parser busy for long.
_MAX_BYTES = 4 * 2**20
_MAX_ITEMS = 10_000
_HEAD_BYTES = 2**16
_ITEM = b"\xfe\xff\x00\xe0"

# Storage classes that hold resting ECGs.
_CLASSES = {"1.2.840.10008.5.1.4.1.1.9.1.1": "12-lead ECG", "1.2.840.10008.5.1.4.1.1.9.1.2": "General ECG"}
# Deflated files are refused: a small one can unpack to any size.
_SYNTAXES = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)
_LOGARITHMIC = ("MB", "AB")
_UNUSABLE = ("TEST DATA", "DISCONNECTED", "INVALID", "UNCALIBRATED")
_MAX_SKEW_S = 1.0
_SOP_CLASS = 0x00080016
# A dataset without preamble begins with a short element of group 2 or 8, with or without the letters of its VR.
_FIRST = re.compile(rb"[\x02\x08]\0.\0(?:[A-Z]{2}|[^\0]\0\0\0)", re.DOTALL)
_TO_MV = {"uV": 1e-3, "\u00b5V": 1e-3, "\u03bcV": 1e-3, "mV": 1.0, "V": 1e3, "nV": 1e-6}

# The numbers by which SCP-ECG ("5.6.3-9-1") and MDC ("2:1") name leads (PS3.16, CID 3001).
_NUMBERS = {
    "1": "I", "2": "II", "61": "III", "62": "aVR", "63": "aVL", "64": "aVF",
    "3": "V1", "4": "V2", "5": "V3", "6": "V4", "7": "V5", "8": "V6",
}  # fmt: skip
_PREFIXES = {"SCPECG": "5.6.3-9-", "MDC": "2:"}

# Annotations that hold the device's measurements, by the meaning of their code in lower case (PS3.16, CID 3228, 3229).
_MEASUREMENTS = {
    "ventricular heart rate": "ventricular_rate_bpm", "heart rate": "ventricular_rate_bpm", "pr interval": "pq_ms",
    "pr interval global": "pq_ms", "p duration": "p_duration_ms", "p duration global": "p_duration_ms",
    "qrs duration": "qrs_ms", "qrs duration global": "qrs_ms", "qt interval": "qt_ms", "qt interval global": "qt_ms",
    "qtc interval": "qtc_ms", "qtc interval global": "qtc_ms", "rr interval": "rr_ms", "rr interval global": "rr_ms",
    "p axis": "p_axis_deg", "qrs axis": "r_axis_deg", "t axis": "t_axis_deg",
}  # fmt: skip


def is_dicom(start: bytes) -> bool:
    """Tell whether a file that begins with these bytes (132 suffice) is DICOM, with a preamble or without."""
    return start[128:132] == b"DICM" or _FIRST.match(start) is not None


def read(path: Path, settings: EcgSettings) -> Ecg:
    """Read the longest multiplex group that holds the eight independent leads.

    Raises:
        CofError: the file is broken, not an ECG, compressed, or in unknown units.
    """
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")  # warnings quote values, which may name the patient
        try:
            return _ecg(_dataset(path), settings)
        except (CofError, OSError):
            raise
        except Exception as error:  # pydicom decodes a value on first access, and fails in many ways
            raise_if_broken(error)
            raise CofError(Reason.ECG_UNREADABLE, f"broken DICOM ({type(error).__name__})") from None


def _dataset(path: Path) -> Dataset:
    with path.open("rb") as file:
        content = file.read(_MAX_BYTES + 1)
    _check_kind(content[:_HEAD_BYTES])
    if len(content) > _MAX_BYTES:
        raise CofError(Reason.ECG_UNREADABLE, f"the file is larger than {_MAX_BYTES >> 20} MiB")
    if content.count(_ITEM) > _MAX_ITEMS:
        raise CofError(Reason.ECG_UNREADABLE, f"the file has more than {_MAX_ITEMS} items")
    data = pydicom.dcmread(io.BytesIO(content), force=True)
    if not data.original_encoding[1]:
        raise CofError(Reason.ECG_UNREADABLE, "the file is big-endian; convert it to Explicit VR Little Endian")
    return data


def _check_kind(head: bytes) -> None:
    """Raise where the first elements of a file say that it is compressed or not an ECG."""
    start = head[132:] if head[128:132] == b"DICM" else head
    meta = read_dataset(io.BytesIO(start), False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
    syntax = meta.get("TransferSyntaxUID")
    # A file without preamble may state none; pydicom then infers it from the first elements.
    if syntax is not None and syntax not in _SYNTAXES:
        raise CofError(
            Reason.ECG_UNREADABLE,
            f"the transfer syntax {UID(syntax).name[:60]!r} is not read; convert the file to Explicit VR Little Endian",
        )
    data = read_partial(io.BytesIO(head), lambda tag, vr, length: tag > _SOP_CLASS, force=True)
    kind = data.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID")
    if kind in _CLASSES:
        return
    name = UID(kind).name.removesuffix(" Storage")[:60] if kind else ""
    if "Image" in name:
        raise CofError(Reason.ECG_UNREADABLE, f"this is DICOM of the kind {name!r}, not an ECG; {SCAN}")
    raise CofError(
        Reason.ECG_UNREADABLE,
        f"this is DICOM of the kind {name or 'unknown'!r}; only {' and '.join(_CLASSES.values())} are read",
    )


def _ecg(data: Dataset, settings: EcgSettings) -> Ecg:
    seconds = {}
    for index, group in enumerate(data.get("WaveformSequence") or ()):
        if {LEADS[k] for k in INDEPENDENT} <= set(_leads(group)):
            seconds[index] = int(group.NumberOfWaveformSamples) / float(group.SamplingFrequency)
    if not seconds:
        raise CofError(Reason.ECG_LEAD_MISSING, "no multiplex group holds I, II and V1 to V6")
    index = max(seconds, key=lambda index: seconds[index])
    group = data.WaveformSequence[index]
    rate = float(group.SamplingFrequency)
    if not 50 <= rate <= 5000:
        raise CofError(Reason.ECG_UNITS, f"sampling rate {rate:g} Hz is not understood")
    if group.get("WaveformSampleInterpretation") in _LOGARITHMIC:
        raise CofError(Reason.ECG_UNITS, "samples are companded, not linear")
    values = counts(group, rate)
    leads: dict[str, np.ndarray] = {}
    steps, delays = [], {}
    for channel, (name, described) in enumerate(zip(_leads(group), group.ChannelDefinitionSequence)):
        if name is None:
            continue
        if name in leads:
            raise CofError(Reason.ECG_UNREADABLE, f"lead {name} occurs twice")
        leads[name], step = _millivolt(values[:, channel], described, name)
        steps.append(step)
        delays[name] = _delay_s(described, rate)
    leads, shifted = _aligned(leads, delays, rate)
    leads, cut = without_gaps(leads, rate, settings)
    annotations = list(data.get("WaveformAnnotationSequence") or ())
    return Ecg(
        signal=assemble(leads, rate, settings),
        rate_hz=rate,
        measurements=_measurements(annotations) | _body(data),
        sex=stated_sex(_text(data, "PatientSex")),
        statements=clean_statements(_text(entry, "UnformattedTextValue") for entry in annotations),
        device=" ".join(filter(None, (_text(data, name)[:50] for name in ("Manufacturer", "ManufacturerModelName")))),
        filters=_filters(group),
        recorded=tuple(leads),
        lsb_mv=max(steps),
        source=f"DICOM {_CLASSES[data.SOPClassUID]}",
        repairs=shifted + cut,
    )


def _leads(group: Dataset) -> list[str | None]:
    """Return the lead of each channel of a multiplex group; None for channels that are not a lead."""
    return [_lead(channel) for channel in group.get("ChannelDefinitionSequence") or ()]


def _lead(channel: Dataset) -> str | None:
    """Return a channel's lead by its code, or by the code's meaning ("Lead I") where the coding scheme is unknown."""
    code = _code(channel, "ChannelSourceSequence")
    prefix = _PREFIXES.get(_text(code, "CodingSchemeDesignator").upper())
    if prefix is not None:
        value = _text(code, "CodeValue")
        return _NUMBERS.get(value.removeprefix(prefix)) if value.startswith(prefix) else None
    return canonical(re.sub(r"(?i)^lead\s+|\(.*\)$", "", _text(code, "CodeMeaning")))


def _millivolt(values: np.ndarray, channel: Dataset, name: str) -> tuple[np.ndarray, float]:
    """Return the counts [N] of a channel in mV, and the size of one count in mV.

    The baseline is in the units of the sensitivity, not in counts (PS3.3, C.10.9).
    """
    states = {str(value).upper() for value in _values(channel, "ChannelStatus")} & set(_UNUSABLE)
    if states:
        raise CofError(Reason.ECG_POOR_QUALITY, f"the file calls lead {name} {', '.join(sorted(states)).lower()}")
    unit = _text(_code(channel, "ChannelSensitivityUnitsSequence"), "CodeValue")
    sensitivity = channel.get("ChannelSensitivity")
    if sensitivity is None:
        raise CofError(Reason.ECG_UNITS, f"lead {name} is not calibrated: the file states no channel sensitivity")
    correction, baseline = (channel.get(f"Channel{word}") for word in ("SensitivityCorrectionFactor", "Baseline"))
    correction, baseline = (1.0 if correction is None else correction), (0.0 if baseline is None else baseline)
    step = float(sensitivity) * float(correction)
    factor = _TO_MV.get(unit)
    if factor is None or not 1e-6 <= step * factor <= 1:
        raise CofError(Reason.ECG_UNITS, f"lead {name} has {step:g} {unit[:20]!r} per count, which is not understood")
    if not np.isfinite(float(baseline)):
        raise CofError(Reason.ECG_NOT_FINITE, f"the baseline of lead {name} is not a number")
    return (values * float(sensitivity) * float(correction) + float(baseline)) * factor, step * factor


def _delay_s(channel: Dataset, rate_hz: float) -> float:
    """Return the time from the beginning of the group to the channel's first sample."""
    skew = _number(channel, "ChannelTimeSkew")
    if skew is None:
        skew = (_number(channel, "ChannelSampleSkew") or 0.0) / rate_hz
    return skew + (_number(channel, "ChannelOffset") or 0.0)


def _aligned(
    leads: dict[str, np.ndarray], delays: dict[str, float], rate_hz: float
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Shift the leads to common times, to the nearest sample; NaN where a lead has not begun yet."""
    earliest = min(delays.values())
    shifts = {name: round((delay - earliest) * rate_hz) for name, delay in delays.items()}
    most = max(shifts.values())
    if most > _MAX_SKEW_S * rate_hz:
        raise CofError(Reason.ECG_UNREADABLE, f"leads are shifted against each other by more than {_MAX_SKEW_S:g} s")
    if not most:
        return leads, ()
    moved = {name: np.concatenate([np.full(shifts[name], np.nan), x])[: len(x)] for name, x in leads.items()}
    return moved, (f"leads moved by up to {most} samples to common times, as the file states",)


def _measurements(annotations: list[Dataset]) -> dict[str, float]:
    """Return the device's measurements in our units; values in unknown units are left out."""
    found: dict[str, float] = {}
    for entry in annotations:
        name = _MEASUREMENTS.get(_text(_code(entry, "ConceptNameCodeSequence"), "CodeMeaning").lower())
        value = _number(entry, "NumericValue")
        unit = _text(_code(entry, "MeasurementUnitsCodeSequence"), "CodeValue")
        if name is not None and (converted := convert(name, value, unit)) is not None:
            found.setdefault(name, converted)
    return found


def _body(data: Dataset) -> dict[str, float]:
    """Return age, height (in m in DICOM) and weight (kg) of the patient."""
    age = re.fullmatch(r"(\d{3})Y", _text(data, "PatientAge"))
    found = {
        "age_y": float(age[1]) if age else None,
        "height_cm": convert("height_cm", _number(data, "PatientSize"), "m"),
        "weight_kg": convert("weight_kg", _number(data, "PatientWeight"), "kg"),
    }
    return {name: value for name, value in found.items() if value is not None}


def _filters(group: Dataset) -> dict[str, str]:
    """Return the mains filter by the names that CardioSoft uses; empty where the file does not state it."""
    notches = [_number(channel, "NotchFilterFrequency") for channel in group.ChannelDefinitionSequence]
    if None in notches:
        return {}
    return {f"Filter{hz}Hz": "Yes" if set(notches) == {float(hz)} else "No" for hz in (50, 60)}


def _code(data: Dataset, keyword: str) -> Dataset:
    """Return the first item of a sequence of codes; an empty item where there is none."""
    sequence = data.get(keyword)
    return sequence[0] if sequence else Dataset()


def _text(data: Dataset, keyword: str) -> str:
    return str(data.get(keyword) or "").strip()


def _values(data: Dataset, keyword: str) -> list[Any]:
    """Return all values of an element; none where it is absent or empty."""
    value = data.get(keyword)
    return list(value) if isinstance(value, list | pydicom.multival.MultiValue) else [] if value is None else [value]


def _number(data: Dataset, keyword: str) -> float | None:
    """Return the first value of an element as a finite number, or None."""
    try:
        number = float(next(iter(_values(data, keyword))))
    except (TypeError, ValueError, StopIteration):
        return None
    return number if np.isfinite(number) else None
