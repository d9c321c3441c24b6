"""Detection of the R peaks of a 12-lead strip, checked against the heart rate that the device measured."""

from itertools import pairwise

import numpy as np

from cof.ecg.delineate import INDEPENDENT, rms
from cof.ecg.record import LEADS
from cof.errors import CofError, Reason

_REFINE_MS = 40.0
_REFRACTORY_MS = 200.0
_FEWEST = 3
# The spatial velocity of a QRS complex is at least this share of that of the fastest in its strip; T waves reach about
# a fifth. A ventricular complex may be slower, but it is as large as the others, which T waves are not.
_SLOWEST, _SLOWEST_LARGE = 0.35, 0.28
# A wave between two peaks that is at least this fast, and this far from both, is a beat that the detector has missed.
_MISSED, _AWAY_MS = 0.7, 120.0
_PAUSE_S, _SHORTER_PAUSE_S = 0.3, 0.2


def find_r_peaks(
    signal: np.ndarray, rate_hz: float, device_rate_bpm: float | None = None, tolerance: float = 0.1
) -> np.ndarray:
    """Return the R peaks of a filtered strip as ascending samples [K].

    NeuroKit2 (Makowski et al., Behav Res Methods 2021) searches lead II. If that fails, it searches the lead with the
    steepest QRS complex, and then the spatial velocity of all leads, which suppresses tall T waves. Failure is told by
    the device's rate; without one, the spatial velocity comes first. Peaks that are too slow for a QRS complex are
    dropped, since in bradycardia the detector takes T waves for beats. Every other peak moves to the largest RMS over
    the leads within 40 ms. Where beats as fast or as strong as those found lie between them, as at rates above 200 per
    minute, the detector runs again with a shorter pause after each beat, and then on the next lead. Beats are never
    added or moved to make the rhythm regular, since that would shift ectopic beats.

    Args:
        signal: filtered strip, [12, N] mV.
        rate_hz: sampling rate.
        device_rate_bpm: ventricular rate that the device measured; None where the file has none.
        tolerance: largest relative difference of the mean rate from `device_rate_bpm`.

    Raises:
        CofError: fewer than three beats are found, or no search agrees with the device's rate.
    """
    strength = rms(signal)
    gradient = np.gradient(signal[list(INDEPENDENT)], axis=1)
    steepest = INDEPENDENT[int(np.quantile(np.abs(gradient), 0.995, axis=1).argmax())]
    traces = [signal[LEADS.index("II")], signal[steepest], np.linalg.norm(gradient, axis=0)]
    rates: list[float] = []
    second_best: list[np.ndarray] = []
    for trace in traces if device_rate_bpm else reversed(traces):
        for pause_s in (_PAUSE_S, _SHORTER_PAUSE_S):
            peaks = _steep(_detect(trace, rate_hz, pause_s), traces[-1], strength, rate_hz)
            peaks = _refine(peaks, strength, rate_hz)
            missed = _misses(peaks, traces[-1], strength, rate_hz)
            if not missed:
                break
        if len(peaks) < _FEWEST:
            continue
        rate = 60 * rate_hz / float(np.diff(peaks).mean())
        if not device_rate_bpm or abs(rate - device_rate_bpm) <= tolerance * device_rate_bpm:
            if not missed:
                return peaks
            second_best.append(peaks)
        rates.append(rate)
    if second_best:
        return second_best[0]
    if not rates:
        raise CofError(Reason.BEAT_NONE, f"fewer than {_FEWEST} beats were found in the strip")
    found = ", ".join(f"{rate:.0f}" for rate in rates)
    raise CofError(
        Reason.BEAT_RATE_MISMATCH,
        f"beats were found at {found} per minute, but the device measured {device_rate_bpm:.0f}",
    )


def _detect(trace: np.ndarray, rate_hz: float, pause_s: float) -> np.ndarray:
    """Run NeuroKit2's own detector on one trace [N], without its correction of intervals; beats are `pause_s` apart."""
    import neurokit2

    try:
        cleaned = neurokit2.ecg_clean(trace, sampling_rate=round(rate_hz), method="neurokit")
        found = neurokit2.ecg_findpeaks(cleaned, sampling_rate=round(rate_hz), method="neurokit", mindelay=pause_s)
    except (IndexError, ValueError):
        # The detector fails in these ways on signals without a single QRS complex.
        return np.empty(0, int)
    return np.asarray(found["ECG_R_Peaks"], int)


def _steep(peaks: np.ndarray, velocity: np.ndarray, strength: np.ndarray, rate_hz: float) -> np.ndarray:
    """Keep the peaks whose spatial velocity [N] is near the fastest one's, or a little lower with a large strength."""
    if not len(peaks):
        return peaks
    reach = round(_REFINE_MS * rate_hz / 1000)
    around = [slice(max(peak - reach, 0), peak + reach + 1) for peak in peaks]
    fastest = np.array([velocity[part].max() for part in around])
    largest = np.array([strength[part].max() for part in around])
    fastest /= max(float(np.quantile(fastest, 0.9)), 1e-12)
    fast = fastest >= _SLOWEST
    return peaks[fast | (fastest >= _SLOWEST_LARGE) & (largest >= np.median(largest[fast]))]


def _misses(peaks: np.ndarray, velocity: np.ndarray, strength: np.ndarray, rate_hz: float) -> bool:
    """Tell whether a wave as fast or as strong as the QRS complexes at `peaks` lies between two of them."""
    if len(peaks) < 2:
        return False
    away, reach = (round(ms * rate_hz / 1000) for ms in (_AWAY_MS, _REFINE_MS))
    around = [slice(max(peak - reach, 0), peak + reach + 1) for peak in peaks]
    fast, strong = (np.median([trace[part].max() for part in around]) for trace in (velocity, strength))
    between = (slice(first + away, last - away) for first, last in pairwise(peaks) if last - first > 2 * away)
    return any(
        velocity[part].max() >= _MISSED * fast
        or (strength[part].max() >= strong and velocity[part].max() >= _SLOWEST_LARGE * fast)
        for part in between
    )


def _refine(peaks: np.ndarray, strength: np.ndarray, rate_hz: float) -> np.ndarray:
    """Move each peak to the largest `strength` [N] within 40 ms; of two peaks within 200 ms keep only the stronger."""
    reach = round(_REFINE_MS * rate_hz / 1000)
    refined: list[int] = []
    for peak in peaks:
        start = max(int(peak) - reach, 0)
        moved = start + int(np.argmax(strength[start : int(peak) + reach + 1]))
        if refined and moved - refined[-1] < _REFRACTORY_MS * rate_hz / 1000:
            refined[-1] = max(refined[-1], moved, key=lambda sample: strength[sample])
        else:
            refined.append(moved)
    return np.array(refined, int)
