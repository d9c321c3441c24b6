"""The synthetic electrocardiograph, which computes median beat, measurements and interpretation of its strip.

Everything is measured on the finished signal, including noise; of the latents only the sex is used.
"""

from dataclasses import dataclass

import numpy as np
from scipy.signal import butter, sosfiltfilt

from cof.ecg.delineate import Landmarks, delineate
from cof.ecg.record import LEADS
from cof.phantom.ecg import RATE_HZ, RESOLUTION_UV, Strip

MEDIAN_SAMPLES = 600
_R_IN_MEDIAN = 236
_MS = 1000 / RATE_HZ
_AMPLITUDES = ("P", "Q", "R", "S", "R1", "S1", "J", "JX", "T")
_DURATIONS = ("Q", "R", "S", "Rp")
_SMALLEST_WAVE_UV = 30.0


@dataclass(frozen=True)
class Measurements:
    """Measurements as the device prints them, in ms, degrees and beats per minute; None where a wave was not found.

    Attributes:
        median: int16 [12, 600], the median beat in counts.
        landmarks: onsets and ends, in samples of the median beat.
        amplitude_uv, duration_ms: one value per lead for each wave; absent waves are None. Q and S are magnitudes.
    """

    rate_bpm: int
    rr_ms: int
    irregular: bool
    pq_ms: int | None
    p_duration_ms: int | None
    qrs_ms: int
    qt_ms: int | None
    qtc_ms: int | None
    p_axis_deg: int | None
    r_axis_deg: int
    t_axis_deg: int | None
    median: np.ndarray
    landmarks: Landmarks
    amplitude_uv: dict[str, list[int | None]]
    duration_ms: dict[str, list[int | None]]

    @property
    def sokolow_mv(self) -> float:
        """Sokolow-Lyon index: S in V1 and the larger R of V5 and V6."""
        return (self.amplitude("S", "V1") + max(self.amplitude("R", "V5"), self.amplitude("R", "V6"))) / 1000

    @property
    def cornell_mv(self) -> float:
        """Cornell voltage: R in aVL and S in V3."""
        return (self.amplitude("R", "aVL") + self.amplitude("S", "V3")) / 1000

    def amplitude(self, wave: str, lead: str) -> int:
        """Return the amplitude of a wave in uV; zero where it is absent."""
        return self.amplitude_uv[wave][LEADS.index(lead)] or 0


def measure(strip: Strip, rng: np.random.Generator) -> Measurements:
    """Measure a strip; intervals and axes get the small errors of a device."""
    median = _median_beat(strip)
    rr = np.diff(strip.r_ms)
    beat = median * (RESOLUTION_UV / 1000)
    marks = delineate(beat, RATE_HZ, _R_IN_MEDIAN, float(rr.mean()))
    level = np.median(median[:, marks.q_on - 8 : marks.q_on - 2], axis=1, keepdims=True)
    uv = (median - level) * float(RESOLUTION_UV)

    def interval(first: int | None, last: int | None) -> int | None:
        if first is None or last is None:
            return None
        return int(2 * round(((last - first) * _MS + rng.normal(0, 2.0)) / 2))

    def axis(first: int | None, last: int | None) -> int | None:
        if first is None or last is None or last <= first:
            return None
        one, foot = (uv[LEADS.index(name), first:last].sum() for name in ("I", "aVF"))
        return round(float(np.rad2deg(np.arctan2(foot * 2 / np.sqrt(3), one)) + rng.normal(0, 2.0)))

    qt = interval(marks.q_on, marks.t_off)
    amplitude, duration = _waves(uv, marks)
    return Measurements(
        rate_bpm=round(60000 / rr.mean()),
        rr_ms=int(2 * round(rr.mean() / 2)),
        irregular=bool(rr.std() / rr.mean() > 0.09),
        pq_ms=interval(marks.p_on, marks.q_on),
        p_duration_ms=interval(marks.p_on, marks.p_off),
        qrs_ms=interval(marks.q_on, marks.q_off) or 0,
        qt_ms=qt,
        qtc_ms=None if qt is None else round(qt / np.sqrt(rr.mean() / 1000)),
        p_axis_deg=axis(marks.p_on, marks.p_off),
        r_axis_deg=axis(marks.q_on, marks.q_off) or 0,
        t_axis_deg=axis(marks.q_off + 20, marks.t_off) if marks.t_off else None,
        median=median,
        landmarks=marks,
        amplitude_uv=amplitude,
        duration_ms=duration,
    )


def interpret(measured: Measurements, sex: str, noise: float, rng: np.random.Generator) -> list[str]:
    """Return the device's statements, the summary last.

    Args:
        measured: measurements of the strip.
        sex: "M" or "F", for the voltage criteria.
        noise: share of findings that are missed, and probability of one invented finding.
        rng: source of the noise.
    """
    rhythm = _rhythm(measured)
    findings = [finding for finding in _findings(measured, sex) if rng.random() >= noise]
    if rng.random() < noise:
        invented = str(
            rng.choice(["Nonspecific T wave abnormality", "Left axis deviation", "Inferior infarct, age undetermined"])
        )
        findings += [invented] if invented not in findings else []
    statements = [rhythm, *findings]
    return [*statements, _summary(statements)]


def _median_beat(strip: Strip) -> np.ndarray:
    """Return the median of all whole beats around R, without baseline wander: int16 [12, 600], R at sample 236."""
    highpass = butter(2, 0.5, "highpass", fs=RATE_HZ, output="sos")
    clean = sosfiltfilt(highpass, strip.counts.astype(float), axis=1)
    starts = np.rint(strip.r_ms / _MS).astype(int) - _R_IN_MEDIAN
    starts = starts[(starts >= 0) & (starts + MEDIAN_SAMPLES <= clean.shape[1])]
    beats = np.stack([clean[:, start : start + MEDIAN_SAMPLES] for start in starts])
    return np.rint(np.median(beats, axis=0)).astype(np.int16)


def _waves(uv: np.ndarray, marks: Landmarks) -> tuple[dict[str, list[int | None]], dict[str, list[int | None]]]:
    """Measure amplitudes and durations of all waves and leads, on [12, 600] uV relative to the isoelectric level."""
    amplitude: dict[str, list[int | None]] = {name: [] for name in _AMPLITUDES}
    duration: dict[str, list[int | None]] = {name: [] for name in _DURATIONS}
    for lead in uv:
        found = _qrs_waves(lead[marks.q_on : marks.q_off + 1])
        found["J"] = float(lead[marks.q_off])
        found["JX"] = float(lead[min(marks.q_off + 30, len(lead) - 1)])
        if marks.t_off and marks.t_off > marks.q_off + 30:
            part = lead[marks.q_off + 20 : marks.t_off]
            found["T"] = float(part[np.argmax(np.abs(part))])
        if marks.p_on is not None and marks.p_off is not None and marks.p_off > marks.p_on:
            part = lead[marks.p_on : marks.p_off]
            found["P"] = float(part[np.argmax(np.abs(part))])
        for name in _AMPLITUDES:
            amplitude[name].append(_whole(found.get(name)))
        for name in _DURATIONS:
            duration[name].append(_whole(found.get(f"{name}_ms")))
    return amplitude, duration


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _qrs_waves(lead: np.ndarray) -> dict[str, float]:
    """Measure Q, R, S, R' and S' of one QRS complex in uV; a complex without R is one Q wave (QS)."""
    found: dict[str, float] = {}
    edges = np.flatnonzero(np.diff(np.sign(lead))) + 1
    for part in np.split(lead, edges):
        if len(part) * _MS < 8 or np.abs(part).max() < _SMALLEST_WAVE_UV:
            continue
        upright = part[np.argmax(np.abs(part))] > 0
        if upright:
            name, ms = ("R", "R_ms") if "R" not in found else ("R1", "Rp_ms")
        elif "R" not in found:
            name, ms = "Q", "Q_ms"
        else:
            name, ms = ("S", "S_ms") if "S" not in found else ("S1", "S1_ms")
        if np.abs(part).max() > found.get(name, 0.0):
            found[name], found[ms] = float(np.abs(part).max()), len(part) * _MS
    return found


def _rhythm(measured: Measurements) -> str:
    if measured.pq_ms is None and measured.irregular:
        return "Atrial fibrillation"
    if measured.rate_bpm < 50:
        return "Marked sinus bradycardia"
    if measured.rate_bpm < 60:
        return "Sinus bradycardia"
    if measured.rate_bpm > 100:
        return "Sinus tachycardia"
    return "Sinus rhythm with sinus arrhythmia" if measured.irregular else "Normal sinus rhythm"


def _findings(measured: Measurements, sex: str) -> list[str]:
    block = _conduction(measured)
    found = ["1st degree AV block"] if (measured.pq_ms or 0) > 210 else []
    if _left_atrium(measured):
        found.append("Left atrial enlargement")
    axis = measured.r_axis_deg
    if axis < -45 and "bundle" not in (block or "") and not measured.amplitude("Q", "II"):
        found.append("Left anterior fascicular block")
    elif axis < -30:
        found.append("Left axis deviation")
    elif axis > 100:
        found.append("Right axis deviation")
    found += [block] if block else []
    if block != "Left bundle branch block":
        found += _hypertrophy(measured, sex) + _infarcts(measured) + _t_waves(measured)
    if _low_voltage(measured):
        found.append("Low voltage QRS")
    if (measured.qtc_ms or 0) > (470 if sex == "F" else 455):
        found.append("Prolonged QT")
    return found


def _conduction(measured: Measurements) -> str | None:
    late_right = measured.amplitude("R1", "V1") > 100 or (
        measured.amplitude("R", "V1") > 2 * measured.amplitude("S", "V1") and measured.amplitude("S", "V6") > 150
    )
    if measured.qrs_ms >= 120:
        if late_right:
            return "Right bundle branch block"
        if measured.amplitude("Q", "V6") < 50 and measured.amplitude("R", "V6") > 2 * measured.amplitude("S", "V6"):
            return "Left bundle branch block"
        return "Nonspecific intraventricular conduction delay"
    return "Incomplete right bundle branch block" if late_right and measured.qrs_ms >= 108 else None


def _left_atrium(measured: Measurements) -> bool:
    return (measured.p_duration_ms or 0) >= 120 and measured.amplitude("P", "V1") < -60


def _hypertrophy(measured: Measurements, sex: str) -> list[str]:
    """Apply voltage criteria: Sokolow-Lyon > 3.5 mV, Cornell > 2.8 (men) or 2.0 mV (women), R in aVL > 1.1 mV."""
    criteria = [
        measured.sokolow_mv / 3.5,
        measured.cornell_mv / (2.0 if sex == "F" else 2.8),
        measured.amplitude("R", "aVL") / 1100,
    ]
    if max(criteria) <= 1:
        return []
    if measured.amplitude("T", "V6") < -50 and measured.amplitude("JX", "V6") < -20:
        return ["Left ventricular hypertrophy with repolarization abnormality"]
    if sum(value > 1 for value in criteria) > 1 or max(criteria) > 1.25:
        return ["Voltage criteria for left ventricular hypertrophy"]
    grade = "Moderate" if max(criteria) > 1.1 else "Minimal"
    return [f"{grade} voltage criteria for LVH, may be normal variant"]


def _infarcts(measured: Measurements) -> list[str]:
    """Find infarcts: Q waves of at least 28 ms, 0.1 mV and a quarter of R in two leads of a territory."""

    def q_waves(*leads: str) -> int:
        wide = [lead for lead in leads if (measured.duration_ms["Q"][LEADS.index(lead)] or 0) >= 28]
        return sum(measured.amplitude("Q", lead) >= max(100, measured.amplitude("R", lead) / 4) for lead in wide)

    found = []
    if q_waves("V2", "V3", "V4") >= 2:
        found.append("Anteroseptal infarct" if q_waves("V1", "V2", "V3") == 3 else "Anterior infarct")
    if q_waves("II", "III", "aVF") >= 2:
        found.append("Inferior infarct")
    if q_waves("I", "aVL", "V5", "V6") >= 2:
        found.append("Lateral infarct")
    return [f"{name}, age undetermined" for name in found]


def _t_waves(measured: Measurements) -> list[str]:
    regions = {"anterior": ("V2", "V3", "V4"), "inferior": ("II", "aVF"), "lateral": ("I", "V5", "V6")}
    inverted = [
        name for name, leads in regions.items() if sum(measured.amplitude("T", lead) < -100 for lead in leads) > 1
    ]
    if inverted:
        return [f"T wave abnormality, consider {inverted[0]} ischemia"]
    flat = sum(abs(measured.amplitude("T", lead)) < 60 for lead in ("I", "II", "V4", "V5", "V6"))
    return ["Nonspecific T wave abnormality"] if flat >= 3 else []


def _low_voltage(measured: Measurements) -> bool:
    heights = [
        measured.amplitude("R", lead) + max(measured.amplitude("S", lead), measured.amplitude("Q", lead))
        for lead in LEADS[:6]
    ]
    return max(heights) < 500


_NORMAL = ("Normal sinus rhythm",)
_VARIANTS = ("Sinus bradycardia", "Marked sinus bradycardia", "Sinus rhythm with sinus arrhythmia")
_BORDERLINE = ("may be normal variant", "Left axis deviation", "1st degree AV block", "Incomplete right")


def _summary(statements: list[str]) -> str:
    findings = [statement for statement in statements if statement not in _NORMAL]
    if not findings:
        return "Normal ECG"
    if all(finding in _VARIANTS for finding in findings):
        return "Otherwise normal ECG"
    if all(finding in _VARIANTS or any(text in finding for text in _BORDERLINE) for finding in findings):
        return "Borderline ECG"
    return "Abnormal ECG"
