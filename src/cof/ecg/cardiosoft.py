"""Resting ECGs of GE CardioSoft and CASE (`CardiologyXML`), as in UK Biobank field 20205."""

import re
from typing import Any

import numpy as np

from cof.config import EcgSettings
from cof.ecg.document import attribute, child, children, number, text
from cof.ecg.leads import assemble, canonical
from cof.ecg.record import Ecg
from cof.errors import CofError, Reason

ROOT = "CardiologyXML"

_STRIPS = (("StripData",), ("Strip", "StripData"), ("StripData", "Strip"), ("Strip",))
_MEASUREMENTS = {
    "ventricular_rate_bpm": "VentricularRate", "pq_ms": "PQInterval", "p_duration_ms": "PDuration",
    "qrs_ms": "QRSDuration", "qt_ms": "QTInterval", "qtc_ms": "QTCInterval", "rr_ms": "RRInterval",
    "p_axis_deg": "PAxis", "r_axis_deg": "RAxis", "t_axis_deg": "TAxis",
}  # fmt: skip
_NOT_A_STATEMENT = re.compile(r"---|Arrhythmia results of the full-disclosure ECG|^\s*[\w ]+:\s*\d+\s*$")


def read(document: dict[str, Any], settings: EcgSettings) -> Ecg:
    """The resting strip of a parsed CardioSoft document, or its full disclosure where it has no strip.

    Raises:
        CofError: waveforms are missing, in unknown units, broken or implausible.
    """
    root = child(document, ROOT)
    strip = next((block for path in _STRIPS if child(block := child(root, *path), "WaveformData") is not None), None)
    if strip is not None:
        rate, lsb_mv = _sampling(strip)
        counts = _strip_leads(strip)
    elif (disclosure := child(root, "FullDisclosure")) is not None:
        rate, lsb_mv = _sampling(disclosure)
        counts = _disclosure_leads(disclosure, rate)
    else:
        raise CofError(Reason.ECG_UNREADABLE, "the file has no waveforms")
    signal = assemble({name: samples * lsb_mv for name, samples in counts.items()}, lsb_mv, rate, settings)
    device = child(root, "ClinicalInfo", "DeviceInfo")
    return Ecg(
        signal=signal,
        rate_hz=rate,
        measurements=_measurements(child(root, "RestingECGMeasurements")),
        statements=_statements(child(root, "Interpretation")),
        device=" ".join(filter(None, (text(child(device, name)) for name in ("Desc", "SoftwareVer", "AnalysisVer")))),
        filters=_filters(child(root, "FilterSetting")),
    )


def _sampling(block: Any) -> tuple[float, float]:
    """Sampling rate in Hz and one count in mV; both must be stated in the units that we know."""
    rate, resolution = child(block, "SampleRate"), child(block, "Resolution")
    unit = attribute(rate, "units")
    hz = number(rate)
    if hz is None or not 50 <= hz <= 5000 or unit.lower() not in ("hz", ""):
        raise CofError(Reason.ECG_UNITS, f"sampling rate {text(rate)!r} {unit!r} is not understood")
    unit = attribute(resolution, "units")
    microvolt = number(resolution)
    if microvolt is None or not 0.01 <= microvolt <= 1000 or unit.lower() != "uvperlsb":
        raise CofError(Reason.ECG_UNITS, f"resolution {text(resolution)!r} {unit!r} is not uVperLsb")
    return hz, microvolt / 1000


def _strip_leads(strip: Any) -> dict[str, np.ndarray]:
    """Counts of each lead of a strip, [N] each."""
    leads: dict[str, np.ndarray] = {}
    expected = number(child(strip, "ChannelSampleCountTotal"))
    for node in children(strip, "WaveformData"):
        name = canonical(attribute(node, "lead"))
        if name is None or not text(node):
            continue
        if name in leads:
            raise CofError(Reason.ECG_UNREADABLE, f"lead {name} occurs twice")
        leads[name] = _counts(text(node), name)
        if expected is not None and len(leads[name]) != expected:
            raise CofError(
                Reason.ECG_UNREADABLE, f"lead {name} has {len(leads[name])} samples, {expected:.0f} are announced"
            )
    return leads


def _disclosure_leads(disclosure: Any, rate_hz: float) -> dict[str, np.ndarray]:
    """Counts of each lead of a full disclosure: seconds, each holding one second of every lead in turn."""
    node = child(disclosure, "FullDisclosureData")
    names = [canonical(name) for name in text(child(disclosure, "LeadOrder")).split(",")]
    counts = _counts(text(node), "of the full disclosure")
    line = round(rate_hz)
    if not names or len(counts) % (len(names) * line):
        raise CofError(Reason.ECG_UNREADABLE, f"full disclosure of {len(counts)} samples is no whole number of seconds")
    leads = counts.reshape(-1, len(names), line).swapaxes(0, 1).reshape(len(names), -1)
    return {name: samples for name, samples in zip(names, leads) if name is not None}


def _counts(waveform: str, name: str) -> np.ndarray:
    """Comma- or blank-separated numbers; a final comma is allowed, an empty field is not."""
    waveform = waveform.strip(", \t\r\n")
    if re.search(r",\s*,", waveform):
        raise CofError(Reason.ECG_UNREADABLE, f"lead {name} has empty samples")
    try:
        return np.array(waveform.replace(",", " ").split(), dtype=float)
    except ValueError:
        raise CofError(Reason.ECG_UNREADABLE, f"lead {name} holds text that is no number") from None


def _measurements(block: Any) -> dict[str, float]:
    found = {name: number(child(block, tag)) for name, tag in _MEASUREMENTS.items()}
    return {name: value for name, value in found.items() if value is not None}


def _statements(block: Any) -> tuple[str, ...]:
    """Statements of the diagnosis, else of the conclusion, without ornaments and counts of beats."""
    for group, tag in (("Diagnosis", "DiagnosisText"), ("Conclusion", "ConclusionText")):
        lines = [text(node) for node in children(block, group, tag)]
        kept = [
            line.replace("*", "").replace("&", "and").strip() for line in lines if not _NOT_A_STATEMENT.search(line)
        ]
        if any(kept):
            return tuple(line for line in kept if line)
    return ()


def _filters(block: Any) -> dict[str, str]:
    names = [name for name in block if not name.startswith(("@", "#"))] if isinstance(block, dict) else []
    return {name: value for name in names if (value := text(child(block, name)))}
