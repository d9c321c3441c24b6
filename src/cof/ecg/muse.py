"""Reader of resting ECGs of GE MUSE (`RestingECG`): base64 samples of eight leads; the other four are derived."""

import base64
import binascii

import numpy as np

from cof.config.data import EcgSettings
from cof.ecg.document import Node, child, children, number, text
from cof.ecg.leads import assemble, canonical
from cof.ecg.record import Ecg, clean_statements, stated_sex
from cof.errors import CofError, Reason

ROOT = "RestingECG"

# Times at which a lead begins; they are equal for leads that were recorded at once.
_BEGINS = ("LeadTimeOffset", "LeadOffsetFirstSample")
# MUSE states no units: rates are in beats per minute, intervals in ms, axes in degrees.
_MEASUREMENTS = {
    "ventricular_rate_bpm": "VentricularRate", "pq_ms": "PRInterval", "qrs_ms": "QRSDuration", "qt_ms": "QTInterval",
    "qtc_ms": "QTCorrected", "p_axis_deg": "PAxis", "r_axis_deg": "RAxis", "t_axis_deg": "TAxis",
}  # fmt: skip


def read(document: dict[str, Node], settings: EcgSettings) -> Ecg:
    """Return the rhythm strip of a parsed MUSE document.

    Raises:
        CofError: waveforms are missing, in unknown units or broken.
    """
    root = document[ROOT]
    rhythms = [node for node in children(root, "Waveform") if text(child(node, "WaveformType")).lower() == "rhythm"]
    if not rhythms:
        raise CofError(Reason.ECG_UNREADABLE, "the file has no rhythm waveform")
    rhythm = rhythms[0]
    base, exponent = number(child(rhythm, "SampleBase")), number(child(rhythm, "SampleExponent")) or 0.0
    if base is None or abs(exponent) > 6 or not 50 <= base * 10**exponent <= 5000:
        raise CofError(Reason.ECG_UNITS, f"sampling rate {text(child(rhythm, 'SampleBase'))[:20]!r} is not understood")
    rate = base * 10**exponent
    leads: dict[str, np.ndarray] = {}
    steps = []
    begins = set()
    for node in children(rhythm, "LeadData"):
        name = canonical(text(child(node, "LeadID")))
        if name is None:
            continue
        if name in leads:
            raise CofError(Reason.ECG_UNREADABLE, f"lead {name} occurs twice")
        if text(child(node, "LeadOff")).upper() == "TRUE":
            raise CofError(Reason.ECG_POOR_QUALITY, f"the device says that lead {name} was off")
        begins.add(tuple(number(child(node, tag)) or 0.0 for tag in _BEGINS))
        step = _step_mv(node, name)
        leads[name] = _counts(node, name) * step
        steps.append(step)
    if len(begins) > 1:
        raise CofError(Reason.ECG_UNREADABLE, "the leads begin at different times; export them recorded at once")
    version = text(child(root, "MuseInfo", "MuseVersion"))
    return Ecg(
        signal=assemble(leads, rate, settings),
        rate_hz=rate,
        measurements=_measurements(child(root, "RestingECGMeasurements")),
        sex=stated_sex(text(child(root, "PatientDemographics", "Gender"))),
        statements=_statements(root),
        device=f"MUSE {version[:50]}".strip(),
        filters=_filters(rhythm),
        recorded=tuple(leads),
        lsb_mv=max(steps),
        source="MUSE Rhythm",
    )


def _step_mv(node: Node, name: str) -> float:
    step, unit = number(child(node, "LeadAmplitudeUnitsPerBit")), text(child(node, "LeadAmplitudeUnits"))
    if unit.upper() != "MICROVOLTS":
        raise CofError(Reason.ECG_UNITS, f"lead {name} is in {unit[:20]!r}, not in MICROVOLTS")
    if step is None or not 0.01 <= step <= 1000:
        stated = text(child(node, "LeadAmplitudeUnitsPerBit"))[:20]
        raise CofError(
            Reason.ECG_UNITS, f"lead {name} has {stated!r} microvolts per count; allowed are numbers from 0.01 to 1000"
        )
    return step / 1000


def _counts(node: Node, name: str) -> np.ndarray:
    """Return the little-endian 16-bit samples of one lead, [N]."""
    size = text(child(node, "LeadSampleSize"))
    if size not in ("", "2"):
        raise CofError(Reason.ECG_UNITS, f"samples of lead {name} have {size[:20]} bytes, not 2")
    try:
        raw = base64.b64decode("".join(text(child(node, "WaveFormData")).split()), validate=True)
    except (binascii.Error, ValueError):
        raise CofError(Reason.ECG_UNREADABLE, f"samples of lead {name} are not valid base64") from None
    if len(raw) % 2:
        raise CofError(Reason.ECG_UNREADABLE, f"samples of lead {name} are cut off")
    samples = np.frombuffer(raw, "<i2").astype(float)
    expected = number(child(node, "LeadSampleCountTotal"))
    if expected is not None and expected != len(samples):
        raise CofError(Reason.ECG_UNREADABLE, f"lead {name} has {len(samples)} samples, but {expected:g} are announced")
    return samples


def _filters(rhythm: Node) -> dict[str, str]:
    """Return MUSE's filters, and its mains filter (a frequency or NONE) also by the names that CardioSoft uses."""
    tags = ("HighPassFilter", "LowPassFilter", "ACFilter")
    filters = {tag: value for tag in tags if (value := text(child(rhythm, tag))[:50])}
    mains = filters.get("ACFilter")
    if mains is None:
        return filters
    return filters | {f"Filter{hz}Hz": "Yes" if mains == str(hz) else "No" for hz in (50, 60)}


def _measurements(block: Node) -> dict[str, float]:
    found = {name: number(child(block, tag)) for name, tag in _MEASUREMENTS.items()}
    kept = {name: value for name, value in found.items() if value is not None}
    onset, offset = number(child(block, "POnset")), number(child(block, "POffset"))
    base = number(child(block, "ECGSampleBase"))
    if onset is not None and offset is not None and base:
        kept["p_duration_ms"] = (offset - onset) * 1000 / base
    return kept


def _statements(root: Node) -> tuple[str, ...]:
    """Return the statements of the diagnosis; one may span several lines and ends at the flag ENDSLINE."""
    for group in ("Diagnosis", "OriginalDiagnosis"):
        statements: list[list[str]] = [[]]
        for node in children(root, group, "DiagnosisStatement"):
            statements[-1].append(text(child(node, "StmtText")))
            flags = [text(flag).upper() for flag in children(node, "StmtFlag")]
            if "ENDSLINE" in flags or not flags:
                statements.append([])
        kept = clean_statements(" ".join(filter(None, parts)) for parts in statements)
        if kept:
            return kept
    return ()
