"""The representative cardiac cycle of a 12-lead strip: from R peak to R peak, with a fixed number of samples."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.signal import butter, filtfilt, iirnotch, sosfiltfilt

from cof.config.data import BeatSettings
from cof.ecg.categories import states_pacing
from cof.ecg.delineate import qrs_limits
from cof.ecg.ectopy import find_ectopic
from cof.ecg.electrodes import frontal
from cof.ecg.peaks import find_r_peaks
from cof.ecg.record import Ecg
from cof.errors import CofError, Reason

_EDGE_S = 0.3
_RR_MS = (300.0, 2000.0)
_POST_ECTOPIC = 0.8
_IRREGULAR_RMSSD = 0.1
_WIDE_QRS_MS = 120.0


@dataclass(frozen=True)
class Cycle:
    """A representative cardiac cycle.

    Attributes:
        beat: float32 [12, L] mV relative to the isoelectric level; sample j is phase j / L, R peak at 0.
        rr_ms: duration of the cycle.
        correlation: mean over leads of the Pearson correlation with the median cycle of the strip.
        low_quality: whether `correlation` is below the threshold.
        irregular: whether RMSSD is above a tenth of the mean RR interval, as in atrial fibrillation.
        first_sample, last_sample: samples [first, last) of the cycle in the strip.
        beats: number of R peaks found in the strip.
        mean_rate_bpm: their mean rate.
        rate_deviation: relative difference of `mean_rate_bpm` from the device's ventricular rate; NaN without one.
        ectopic_beats: number of premature beats, as `cof.ecg.ectopy` finds them.
        ventricular_ectopic_beats: number of ventricular beats among them, which the cycle avoids.
        paced: whether pacing spikes were found in the strip or the device states pacing.
        measured_p_axis_deg, measured_qrs_axis_deg: frontal axes of the median beat, as `cof.ecg.electrodes` finds them.
        suspected_reversal: limb electrodes that may have been exchanged, "LA-RA" or "RA-LL", else "".
    """

    beat: np.ndarray
    rr_ms: float
    correlation: float
    low_quality: bool
    irregular: bool
    first_sample: int
    last_sample: int
    beats: int
    mean_rate_bpm: float
    rate_deviation: float
    ectopic_beats: int
    ventricular_ectopic_beats: int
    paced: bool
    measured_p_axis_deg: float
    measured_qrs_axis_deg: float
    suspected_reversal: str


def representative_cycle(ecg: Ecg, settings: BeatSettings) -> Cycle:
    """Return the cycle of `ecg` that resembles the others most and has a typical RR interval.

    A candidate lies inside the strip, lasts 300 to 2000 ms and about the median RR, and follows no premature beat. Its
    score is its mean correlation over leads with the median of all candidates, minus its relative deviation from the
    median RR.

    Raises:
        CofError: there are no beats, the rate differs from the device's, or no cycle is usable.
    """
    rate = ecg.rate_hz
    # At least two cycles away from both ends are needed to call one typical; filters need some length, too.
    if ecg.signal.shape[1] < 2 * (_EDGE_S + _RR_MS[0] / 1000) * rate:
        raise CofError(Reason.BEAT_NONE, "the strip is too short for beats")
    signal = preprocess(ecg.signal, rate, ecg.filters, settings)
    device_rate = ecg.measurements.get("ventricular_rate_bpm")
    peaks = find_r_peaks(signal, rate, device_rate, settings.rate_tolerance)
    rr = np.diff(peaks) * 1000 / rate
    typical = float(np.median(rr))
    ectopy = find_ectopic(signal, peaks, rate)
    # Cycles that begin or end with a ventricular beat are used only where there are no others.
    apart = ~(ectopy.ventricular[:-1] | ectopy.ventricular[1:])
    chosen = _candidates(peaks, rr, typical, signal.shape[1], rate, settings.rr_tolerance, apart)
    if not len(chosen):
        chosen = _candidates(peaks, rr, typical, signal.shape[1], rate, settings.rr_tolerance, np.ones_like(apart))
    if not len(chosen):
        raise CofError(Reason.BEAT_NONE, "no cycle of a typical RR interval lies inside the strip")
    splines = CubicSpline(np.arange(signal.shape[1]), signal, axis=1)
    cycles = np.stack([_normalise(splines, peaks[i], peaks[i + 1], settings.samples) for i in chosen])
    template = np.median(cycles, axis=0)
    correlations = np.array([_correlation(cycle, template) for cycle in cycles])
    best = int(np.argmax(correlations - np.abs(rr[chosen] - typical) / typical))
    first, last = int(peaks[chosen[best]]), int(peaks[chosen[best] + 1])
    wide = ecg.measurements.get("qrs_ms", 0.0) >= _WIDE_QRS_MS
    level = _isoelectric(signal, first, rate, wide)
    mean_rate = 60000 / float(rr.mean())
    axes = frontal(signal, peaks[chosen], rate, typical)
    return Cycle(
        beat=(cycles[best] - level[:, None]).astype(np.float32),
        rr_ms=(last - first) * 1000 / rate,
        correlation=float(correlations[best]),
        low_quality=bool(correlations[best] < settings.min_correlation),
        irregular=bool(np.sqrt(np.mean(np.diff(rr) ** 2)) > _IRREGULAR_RMSSD * rr.mean()),
        first_sample=first,
        last_sample=last,
        beats=len(peaks),
        mean_rate_bpm=mean_rate,
        rate_deviation=mean_rate / device_rate - 1 if device_rate else float("nan"),
        ectopic_beats=int((ectopy.ventricular | ectopy.atrial).sum()),
        ventricular_ectopic_beats=int(ectopy.ventricular.sum()),
        paced=ecg.pacing_spikes > 0 or states_pacing(ecg.statements),
        measured_p_axis_deg=axes.p_axis_deg,
        measured_qrs_axis_deg=axes.qrs_axis_deg,
        suspected_reversal=axes.suspected_reversal,
    )


def preprocess(signal: np.ndarray, rate_hz: float, filters: Mapping[str, str], settings: BeatSettings) -> np.ndarray:
    """Band-pass and clip a signal, [12, N] mV: Butterworth of order 2, applied forwards and backwards (zero phase).

    A mains notch is added only where the file says that the device's own notch was off.

    Raises:
        CofError: the sampling rate is too low for the filter.
    """
    nyquist = rate_hz / 2
    if settings.lowpass_hz >= nyquist:
        raise CofError(
            Reason.ECG_UNITS,
            f"a sampling rate of {rate_hz:g} Hz is too low for a low-pass of {settings.lowpass_hz:g} Hz",
        )
    clean = sosfiltfilt(_band(settings.highpass_hz, settings.lowpass_hz, rate_hz), signal.astype(float), axis=1)
    if filters.get(f"Filter{settings.mains_hz:.0f}Hz", "").lower() == "no" and settings.mains_hz < nyquist:
        clean = filtfilt(*iirnotch(settings.mains_hz, 30, fs=rate_hz), clean, axis=1)
    return np.clip(clean, -settings.clip_mv, settings.clip_mv)


@cache
def _band(low_hz: float, high_hz: float, rate_hz: float) -> np.ndarray:
    return butter(2, (low_hz, high_hz), "bandpass", fs=rate_hz, output="sos")


def _candidates(
    peaks: np.ndarray,
    rr: np.ndarray,
    typical: float,
    samples: int,
    rate_hz: float,
    tolerance: float,
    allowed: np.ndarray,
) -> np.ndarray:
    """Return the indices i of usable cycles [R_i, R_i+1).

    These are cycles within `tolerance` of the median RR; without any, those within 1.5 times `tolerance`; without any,
    the cycle nearest to the median RR. Only cycles of `allowed` [K - 1] are considered.
    """
    edge = _EDGE_S * rate_hz
    usable = (peaks[:-1] >= edge) & (peaks[1:] <= samples - edge) & (rr >= _RR_MS[0]) & (rr <= _RR_MS[1]) & allowed
    usable[1:] &= rr[:-1] >= _POST_ECTOPIC * typical
    deviation = np.abs(rr - typical) / typical
    for limit in (tolerance, 1.5 * tolerance):
        if (usable & (deviation <= limit)).any():
            return np.flatnonzero(usable & (deviation <= limit))
    found = np.flatnonzero(usable)
    return found[[np.argmin(deviation[found])]] if len(found) else found


def _normalise(splines: CubicSpline, first: int, last: int, samples: int) -> np.ndarray:
    """Return one cycle at the phases j / samples, [12, samples]."""
    return splines(first + np.arange(samples) * ((last - first) / samples))


def _correlation(cycle: np.ndarray, template: np.ndarray) -> float:
    """Return the mean over leads of the Pearson correlation of two arrays [12, L]; a constant lead counts as 0."""
    a = cycle - cycle.mean(axis=1, keepdims=True)
    b = template - template.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(np.mean(np.divide((a * b).sum(axis=1), norm, out=np.zeros(len(a)), where=norm > 0)))


def _isoelectric(signal: np.ndarray, r: int, rate_hz: float, wide: bool) -> np.ndarray:
    """Return the level of each lead before the QRS complex at `r`: the median of 20 ms, 10 ms before its onset."""
    sample = rate_hz / 1000
    start = max(r - round(500 * sample), 0)
    onset, _ = qrs_limits(signal[:, start : r + round(400 * sample)], rate_hz, r - start)
    typical_lead_ms = 90 if wide else 60
    end = r - round(typical_lead_ms * sample) if onset is None else start + onset - round(10 * sample)
    end = max(end, 1)
    return np.median(signal[:, max(end - round(20 * sample), 0) : end], axis=1)
