"""ECGs as DICOM waveforms: 12-lead ECG and General ECG."""

import re
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pydicom.config
from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pydicom.waveforms import multiplex_array

from cof.config.data import EcgSettings
from cof.ecg.delineate import INDEPENDENT
from cof.ecg.leads import assemble, canonical
from cof.ecg.record import LEADS, Ecg, clean_statements, convert, stated_sex
from cof.errors import CofError, Reason

# Far above any resting ECG (0.3 MB), far below what keeps the parser busy for long.
_MAX_BYTES = 4 * 2**20
_MAX_ITEMS = 10_000
_ITEM = b"\xfe\xff\x00\xe0"

# Storage classes that hold resting ECGs.
_CLASSES = {"1.2.840.10008.5.1.4.1.1.9.1.1": "12-lead ECG", "1.2.840.10008.5.1.4.1.1.9.1.2": "General ECG"}
# Deflated files are refused: a small one can unpack to anything.
_SYNTAXES = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)
_LOGARITHMIC = ("MB", "AB")
_TO_MV = {"uV": 1e-3, "mV": 1.0, "V": 1e3, "nV": 1e-6}

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
    """Whether a file that begins with these bytes (132 suffice) is DICOM."""
    return start[128:132] == b"DICM"


def read(path: Path, settings: EcgSettings) -> Ecg:
    """The longest multiplex group that holds the eight independent leads.

    Raises:
        CofError: the file is broken, no ECG, compressed, or in unknown units.
    """
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")  # remarks on values, which may name the patient
        try:
            return _ecg(_dataset(path), settings)
        except (CofError, OSError):
            raise
        except Exception as error:  # pydicom decodes a value when it is first asked for, and fails in many ways
            raise CofError(Reason.ECG_UNREADABLE, f"broken DICOM ({type(error).__name__})") from None


def _dataset(path: Path) -> Dataset:
    if path.stat().st_size > _MAX_BYTES:
        raise CofError(Reason.ECG_UNREADABLE, f"the file is larger than {_MAX_BYTES >> 20} MiB")
    if path.read_bytes().count(_ITEM) > _MAX_ITEMS:
        raise CofError(Reason.ECG_UNREADABLE, f"the file has more than {_MAX_ITEMS} items")
    if read_file_meta_info(path).get("TransferSyntaxUID") not in _SYNTAXES:
        raise CofError(Reason.ECG_UNREADABLE, "the file is compressed, or in an unknown transfer syntax")
    data = pydicom.dcmread(path)
    if data.get("SOPClassUID") not in _CLASSES:
        raise CofError(Reason.ECG_UNREADABLE, "DICOM of another kind than an ECG")
    return data


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
    if group.WaveformSampleInterpretation in _LOGARITHMIC:
        raise CofError(Reason.ECG_UNITS, "samples are companded, not linear")
    to_mv = [_millivolt(channel) for channel in group.ChannelDefinitionSequence]
    # The library applies sensitivity, its correction, and baseline.
    values = multiplex_array(data, index, as_raw=False)
    leads: dict[str, np.ndarray] = {}
    steps = []
    for channel, name in enumerate(_leads(group)):
        if name is None:
            continue
        if name in leads:
            raise CofError(Reason.ECG_UNREADABLE, f"lead {name} occurs twice")
        factor, step = to_mv[channel]
        leads[name] = values[:, channel] * factor
        steps.append(step * factor)
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
    )


def _leads(group: Dataset) -> list[str | None]:
    """The lead of each channel of a multiplex group; None for what is no lead."""
    return [_lead(channel) for channel in group.get("ChannelDefinitionSequence") or ()]


def _lead(channel: Dataset) -> str | None:
    """A channel's lead by its code; where that is of a scheme that we do not know, by its meaning ("Lead I")."""
    code = _code(channel, "ChannelSourceSequence")
    prefix = _PREFIXES.get(_text(code, "CodingSchemeDesignator").upper())
    if prefix is not None:
        value = _text(code, "CodeValue")
        return _NUMBERS.get(value.removeprefix(prefix)) if value.startswith(prefix) else None
    return canonical(re.sub(r"(?i)^lead\s+|\(.*\)$", "", _text(code, "CodeMeaning")))


def _millivolt(channel: Dataset) -> tuple[float, float]:
    """What one of the channel's units is in mV, and what one count is in its units."""
    unit = _text(_code(channel, "ChannelSensitivityUnitsSequence"), "CodeValue")
    step = float(channel.ChannelSensitivity) * float(channel.get("ChannelSensitivityCorrectionFactor") or 1)
    factor = _TO_MV.get(unit)
    if factor is None or not 1e-6 <= step * factor <= 1:
        raise CofError(Reason.ECG_UNITS, f"a channel has {step:g} {unit[:20]!r} a count")
    return factor, step


def _measurements(annotations: list[Dataset]) -> dict[str, float]:
    """What the device measured, in our units; values in other units than are known are left out."""
    found: dict[str, float] = {}
    for entry in annotations:
        name = _MEASUREMENTS.get(_text(_code(entry, "ConceptNameCodeSequence"), "CodeMeaning").lower())
        value = _number(entry, "NumericValue")
        unit = _text(_code(entry, "MeasurementUnitsCodeSequence"), "CodeValue")
        if name is not None and (converted := convert(name, value, unit)) is not None:
            found.setdefault(name, converted)
    return found


def _body(data: Dataset) -> dict[str, float]:
    """Age, height (DICOM: m) and weight (kg) of the patient."""
    age = re.fullmatch(r"(\d{3})Y", _text(data, "PatientAge"))
    found = {
        "age_y": float(age[1]) if age else None,
        "height_cm": convert("height_cm", _number(data, "PatientSize"), "m"),
        "weight_kg": convert("weight_kg", _number(data, "PatientWeight"), "kg"),
    }
    return {name: value for name, value in found.items() if value is not None}


def _filters(group: Dataset) -> dict[str, str]:
    """The mains filter by the names that CardioSoft uses; empty where the file says nothing."""
    notches = [_number(channel, "NotchFilterFrequency") for channel in group.ChannelDefinitionSequence]
    if None in notches:
        return {}
    return {f"Filter{hz}Hz": "Yes" if set(notches) == {float(hz)} else "No" for hz in (50, 60)}


def _code(data: Dataset, keyword: str) -> Dataset:
    """The first item of a sequence of codes; an empty one where there is none."""
    sequence = data.get(keyword)
    return sequence[0] if sequence else Dataset()


def _text(data: Dataset, keyword: str) -> str:
    return str(data.get(keyword) or "").strip()


def _number(data: Dataset, keyword: str) -> float | None:
    """A finite number, or None; of several values the first."""
    value = data.get(keyword)
    try:
        number = float(value[0] if isinstance(value, list | pydicom.multival.MultiValue) else value)
    except (TypeError, ValueError, IndexError):
        return None
    return number if np.isfinite(number) else None
