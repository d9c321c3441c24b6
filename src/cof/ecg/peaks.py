"""R peaks of a 12-lead strip, checked against the heart rate that the device measured."""

import numpy as np

from cof.ecg.delineate import INDEPENDENT, rms
from cof.ecg.record import LEADS
from cof.errors import CofError, Reason

_REFINE_MS = 40.0
_REFRACTORY_MS = 200.0
_FEWEST = 3
# A QRS complex is at least this share as fast as the fastest of its strip; T waves reach about a fifth.
_SLOWEST = 0.35


def find_r_peaks(
    signal: np.ndarray, rate_hz: float, device_rate_bpm: float | None = None, tolerance: float = 0.1
) -> np.ndarray:
    """R peaks of a filtered strip, ascending samples [K].

    NeuroKit2 finds them (Makowski et al., Behav Res Methods 2021) in lead II, where that fails in the lead with the
    steepest QRS complex, and where that fails too in the spatial velocity of all leads, which suppresses tall T waves.
    Without a device's rate to tell failure by, the spatial velocity comes first. Peaks too slow for a QRS complex are
    dropped (in bradycardia the detector takes T waves for beats), and each other moves to the largest RMS over the
    leads within 40 ms. Beats are never added or moved to make the rhythm regular: that shifts ectopic beats.

    Args:
        signal: [12, N] mV, filtered.
        device_rate_bpm: ventricular rate of the device; None where the file has none.
        tolerance: largest relative difference of the mean rate from `device_rate_bpm`.

    Raises:
        CofError: fewer than three beats are found, or nothing gives the device's rate.
    """
    strength = rms(signal)
    gradient = np.gradient(signal[list(INDEPENDENT)], axis=1)
    steepest = INDEPENDENT[int(np.quantile(np.abs(gradient), 0.995, axis=1).argmax())]
    traces = [signal[LEADS.index("II")], signal[steepest], np.linalg.norm(gradient, axis=0)]
    rates = []
    for trace in traces if device_rate_bpm else reversed(traces):
        peaks = _steep(_detect(trace, rate_hz), traces[-1], rate_hz)
        peaks = _refine(peaks, strength, rate_hz)
        if len(peaks) < _FEWEST:
            continue
        rate = 60 * rate_hz / float(np.diff(peaks).mean())
        if not device_rate_bpm or abs(rate - device_rate_bpm) <= tolerance * device_rate_bpm:
            return peaks
        rates.append(rate)
    if not rates:
        raise CofError(Reason.BEAT_NONE, f"fewer than {_FEWEST} beats were found")
    found = ", ".join(f"{rate:.0f}" for rate in rates)
    raise CofError(
        Reason.BEAT_RATE_MISMATCH, f"beats come at {found} a minute, the device measured {device_rate_bpm:.0f}"
    )


def _detect(trace: np.ndarray, rate_hz: float) -> np.ndarray:
    """NeuroKit2's own detector on one trace [N], without its correction of intervals."""
    import neurokit2

    try:
        cleaned = neurokit2.ecg_clean(trace, sampling_rate=round(rate_hz), method="neurokit")
        found = neurokit2.ecg_findpeaks(cleaned, sampling_rate=round(rate_hz), method="neurokit")
    except (IndexError, ValueError):
        # The detector fails in these ways on signals without a single QRS complex.
        return np.empty(0, int)
    return np.asarray(found["ECG_R_Peaks"], int)


def _steep(peaks: np.ndarray, velocity: np.ndarray, rate_hz: float) -> np.ndarray:
    """The peaks around which the spatial velocity [N] comes near to that of the fastest ones."""
    reach = round(_REFINE_MS * rate_hz / 1000)
    fastest = np.array([velocity[max(peak - reach, 0) : peak + reach + 1].max() for peak in peaks])
    return peaks[fastest >= _SLOWEST * np.quantile(fastest, 0.9)] if len(peaks) else peaks


def _refine(peaks: np.ndarray, strength: np.ndarray, rate_hz: float) -> np.ndarray:
    """Each peak at the largest `strength` [N] within 40 ms; of two peaks within 200 ms only the stronger."""
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
