"""Reader of resting ECGs of GE CardioSoft and CASE (`CardiologyXML`), as in UK Biobank field 20205."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cof.config.data import EcgSettings
from cof.ecg.document import Node, attribute, child, children, number, text
from cof.ecg.leads import assemble, canonical
from cof.ecg.record import Ecg, clean_statements, convert, stated_sex
from cof.errors import CofError, Reason

ROOT = "CardiologyXML"

_STRIPS = (("StripData",), ("Strip", "StripData"), ("StripData", "Strip"), ("Strip",))
_MEASUREMENTS = {
    "ventricular_rate_bpm": "VentricularRate", "pq_ms": "PQInterval", "p_duration_ms": "PDuration",
    "qrs_ms": "QRSDuration", "qt_ms": "QTInterval", "qtc_ms": "QTCInterval", "rr_ms": "RRInterval",
    "p_axis_deg": "PAxis", "r_axis_deg": "RAxis", "t_axis_deg": "TAxis",
}  # fmt: skip
# Units of the resolution, in lower case, in uV per count.
_MICROVOLT = {"uvperlsb": 1.0, "nvperlsb": 1e-3, "mvperlsb": 1e3}
_LONGEST_ORDER = 500  # characters
_BODY = {"age_y": "Age", "height_cm": "Height", "weight_kg": "Weight"}
_DEVICE = ("Desc", "SoftwareVer", "AnalysisVer")
_FILTERS = ("CubicSpline", "Filter50Hz", "Filter60Hz", "LowPass", "HighPass")
_NOT_A_STATEMENT = re.compile(r"---|Arrhythmia results of the full-disclosure ECG|^\s*[\w ]+:\s*\d+\s*$")


def read(document: dict[str, Node], settings: EcgSettings) -> Ecg:
    """Return the resting strip of a parsed CardioSoft document, or its full disclosure where it has no strip.

    Raises:
        CofError: waveforms are missing, in unknown units or broken.
    """
    root = document[ROOT]
    strips = (child(root, *path) for path in _STRIPS)
    strip = next((block for block in strips if any(map(text, children(block, "WaveformData")))), None)
    disclosure = child(root, "FullDisclosure")
    if strip is not None:
        rate, lsb_mv = _sampling(strip)
        counts, source = _strip_leads(strip), "CardioSoft StripData"
    elif disclosure is not None:
        rate, lsb_mv = _sampling(disclosure)
        counts, source = _disclosure_leads(disclosure, rate), "CardioSoft FullDisclosure"
    else:
        raise CofError(Reason.ECG_UNREADABLE, "the file has no waveforms")
    device = child(root, "ClinicalInfo", "DeviceInfo")
    return Ecg(
        signal=assemble({name: samples * lsb_mv for name, samples in counts.items()}, rate, settings),
        rate_hz=rate,
        recorded=tuple(counts),
        lsb_mv=lsb_mv,
        measurements=_measured(child(root, "RestingECGMeasurements"), _MEASUREMENTS)
        | _measured(child(root, "PatientInfo"), _BODY),
        sex=stated_sex(text(child(root, "PatientInfo", "Gender"))),
        statements=_statements(child(root, "Interpretation")),
        source=source,
        device=" ".join(filter(None, (text(child(device, name))[:50] for name in _DEVICE))),
        filters={name: value for name in _FILTERS if (value := text(child(root, "FilterSetting", name))[:50])},
    )


def _sampling(block: Node) -> tuple[float, float]:
    """Return the sampling rate in Hz and the size of one count in mV; both must be stated in known units."""
    rate, resolution = child(block, "SampleRate"), child(block, "Resolution")
    unit = attribute(rate, "units")
    hz = number(rate)
    if hz is None or not 50 <= hz <= 5000 or unit.lower() not in ("hz", ""):
        raise CofError(Reason.ECG_UNITS, f"sampling rate {text(rate)[:20]!r} {unit[:20]!r} is not understood")
    unit = attribute(resolution, "units")
    microvolt = number(resolution)
    factor = _MICROVOLT.get(unit.lower())
    if microvolt is None or factor is None or not 0.01 <= microvolt * factor <= 1000:
        raise CofError(
            Reason.ECG_UNITS,
            f"resolution {text(resolution)[:20]!r} {unit[:20]!r} is not understood: a number with a decimal point, in "
            f"{', '.join(_MICROVOLT)}",
        )
    return hz, microvolt * factor / 1000


def _strip_leads(strip: Node) -> dict[str, np.ndarray]:
    """Return the counts of each lead of a strip, [N] each."""
    leads: dict[str, np.ndarray] = {}
    expected = number(child(strip, "ChannelSampleCountTotal"))
    for node in children(strip, "WaveformData"):
        name = canonical(attribute(node, "lead"))
        if name is None or not text(node):
            continue
        if name in leads:
            raise CofError(Reason.ECG_UNREADABLE, f"lead {name} occurs twice")
        leads[name] = _counts(text(node), f"lead {name}")
        if expected is not None and len(leads[name]) != expected:
            raise CofError(
                Reason.ECG_UNREADABLE, f"lead {name} has {len(leads[name])} samples, but {expected:g} are announced"
            )
    return leads


def _disclosure_leads(disclosure: Node, rate_hz: float) -> dict[str, np.ndarray]:
    """Return the counts of each lead of a full disclosure, which holds one second of every lead in turn."""
    names = [canonical(name) for name in text(child(disclosure, "LeadOrder"))[:_LONGEST_ORDER].split(",")]
    counts = _counts(text(child(disclosure, "FullDisclosureData")), "the full disclosure")
    line = round(rate_hz)
    if len(counts) % (len(names) * line):
        raise CofError(
            Reason.ECG_UNREADABLE, f"full disclosure of {len(counts)} samples is not a whole number of seconds"
        )
    known = [name for name in names if name is not None]
    if len(set(known)) < len(known):
        raise CofError(Reason.ECG_UNREADABLE, "a lead occurs twice in the full disclosure")
    leads = counts.reshape(-1, len(names), line).swapaxes(0, 1).reshape(len(names), -1)
    return {name: samples for name, samples in zip(names, leads) if name is not None}


def _counts(waveform: str, where: str) -> np.ndarray:
    """Read numbers separated by commas or blanks, [N]; a final comma is allowed, an empty field is not."""
    waveform = waveform.strip(", \t\r\n")
    commas = waveform.count(",")
    # Arrow splits and converts several times faster than NumPy, and as strictly.
    fields = pc.ascii_split_whitespace(pa.scalar(waveform.replace(",", " "))).values
    if commas and len(fields) != commas + 1:
        raise CofError(Reason.ECG_UNREADABLE, f"{where} has empty samples")
    try:
        return np.asarray(fields.cast(pa.float64()))
    except pa.ArrowInvalid:
        raise CofError(Reason.ECG_UNREADABLE, f"{where} holds text that is not a number") from None


def _measured(block: Node, tags: dict[str, str]) -> dict[str, float]:
    """Return values by our names, in the units that the names end with, without empty values and unknown units."""
    nodes = {name: child(block, tag) for name, tag in tags.items()}
    found = {name: convert(name, number(node), attribute(node, "units")) for name, node in nodes.items()}
    return {name: value for name, value in found.items() if value is not None}


def _statements(block: Node) -> tuple[str, ...]:
    """Return the statements of the diagnosis, or else of the conclusion, without ornaments and beat counts."""
    for group, tag in (("Diagnosis", "DiagnosisText"), ("Conclusion", "ConclusionText")):
        lines = (text(node) for node in children(block, group, tag))
        kept = clean_statements(line for line in lines if not _NOT_A_STATEMENT.search(line))
        if kept:
            return kept
    return ()
