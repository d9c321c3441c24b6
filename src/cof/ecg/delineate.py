"""Delineation of one clean beat: onsets and ends of P, QRS and T."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from cof.ecg.record import LEADS

# The eight leads that carry independent information.
INDEPENDENT = tuple(LEADS.index(name) for name in ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6"))

# A QRS complex starts where the spatial velocity first exceeds this share of its maximum.
_QRS_LEVEL = 0.06
_FAST_LEVEL = 0.3
_QUIET_MS = 12.0
_LONGEST_QRS_HALF_MS = (90.0, 190.0)
_SMALLEST_P_MV = 0.035


@dataclass(frozen=True)
class Landmarks:
    """Samples of the onsets and ends of the waves of one beat; None where a wave was not found."""

    p_on: int | None
    p_off: int | None
    q_on: int
    q_off: int
    t_off: int | None


def rms(signal: np.ndarray) -> np.ndarray:
    """Return the root mean square over the independent leads of [12, N] mV, each about its median: [N] mV."""
    leads = signal[list(INDEPENDENT)]
    return np.sqrt(np.mean((leads - np.median(leads, axis=1, keepdims=True)) ** 2, axis=0))


def qrs_limits(beat: np.ndarray, rate_hz: float, r: int) -> tuple[int | None, int | None]:
    """Return the first and last sample of the QRS complex around sample `r` of `beat` [12, N] mV.

    At both limits the spatial velocity (root of the summed squares of the leads' derivatives) stays for 12 ms below a
    share of its largest value in the complex, or below the noise. A limit is None where this never happens.
    """
    velocity = np.linalg.norm(np.gradient(_smooth(beat[list(INDEPENDENT)], rate_hz, 2.5), axis=1), axis=0)
    first, last = _search_window(len(velocity), rate_hz, r)
    largest = velocity[first : last + 1].max()
    level = max(_QRS_LEVEL * largest, 2.0 * float(np.quantile(velocity, 0.25)))
    # Wide complexes have quiet parts between their peaks: search only outside the fast part.
    fast = np.flatnonzero(velocity[first : last + 1] >= _FAST_LEVEL * largest) + first
    quiet = max(round(_QUIET_MS * rate_hz / 1000), 2)
    resting = (
        np.convolve(velocity < level, np.ones(quiet), "full")[quiet - 1 :] >= quiet
    )  # [i]: i..i+quiet-1 are all quiet
    starts = np.flatnonzero(resting[first : max(fast[0] - quiet, first) + 1]) + first
    ends = np.flatnonzero(resting[fast[-1] : last + 1]) + fast[-1]
    return int(starts[-1] + quiet) if len(starts) else None, int(ends[0]) if len(ends) else None


def delineate(beat: np.ndarray, rate_hz: float, r: int, rr_ms: float) -> Landmarks:
    """Find the waves of one beat [12, N] mV with the R peak at sample `r`: QRS by velocity, P and T by tangents on the
    RMS over leads.

    A wave ends where the tangent at its steepest slope meets the isoelectric level (Lepeschkin and Surawicz,
    Circulation 1952).

    Args:
        beat: one beat, [12, N] mV.
        rate_hz: sampling rate.
        r: sample of the R peak.
        rr_ms: RR interval; T is searched in the first 62 % of it, P in the last 280 ms before the QRS.
    """
    sample = 1000 / rate_hz
    window = _search_window(beat.shape[1], rate_hz, r)
    q_on, q_off = (window[k] if limit is None else limit for k, limit in enumerate(qrs_limits(beat, rate_hz, r)))
    level = np.median(beat[:, max(q_on - round(16 / sample), 0) : max(q_on - round(4 / sample), 1)], axis=1)
    size = np.sqrt(np.mean(_smooth(beat - level[:, None], rate_hz, 5.0)[list(INDEPENDENT)] ** 2, axis=0))

    t_off = None
    window = (q_off + round(50 / sample), min(r + round(min(0.62 * rr_ms, 520) / sample), len(size) - 2))
    if window[1] - window[0] > round(60 / sample):
        peak = window[0] + int(np.argmax(size[slice(*window)]))
        t_off = _tangent(size, peak, +1, min(peak + round(160 / sample), len(size) - 1))

    p_on = p_off = None
    window = (max(q_on - round(280 / sample), 1), q_on - round(24 / sample))
    if window[1] - window[0] > round(60 / sample):
        part = size[slice(*window)]
        maxima = np.flatnonzero((part[1:-1] >= part[:-2]) & (part[1:-1] > part[2:])) + 1
        maxima = maxima[part[maxima] > _SMALLEST_P_MV]
        if len(maxima):
            peak = window[0] + int(maxima[np.argmax(part[maxima])])
            p_on = _tangent(size, peak, -1, max(peak - round(100 / sample), 0))
            p_off = min(_tangent(size, peak, +1, q_on), q_on)
    return Landmarks(p_on, p_off, q_on, q_off, t_off)


def _search_window(samples: int, rate_hz: float, r: int) -> tuple[int, int]:
    """Return the samples around R between which a QRS complex begins and ends."""
    before, after = (round(ms * rate_hz / 1000) for ms in _LONGEST_QRS_HALF_MS)
    return max(r - before, 0), min(r + after, samples - 1)


def _smooth(signal: np.ndarray, rate_hz: float, sigma_ms: float) -> np.ndarray:
    return gaussian_filter1d(np.asarray(signal, float), sigma_ms * rate_hz / 1000, axis=-1)


def _tangent(size: np.ndarray, peak: int, step: int, limit: int) -> int:
    """Return the sample where the steepest tangent between `peak` and `limit` (in the direction `step`) meets zero."""
    slope = np.gradient(size) * step
    path = np.arange(peak, limit + step, step)
    if len(path) < 2:
        return limit
    steepest = int(path[np.argmin(slope[path])])
    if slope[steepest] >= 0:
        return limit
    crossing = steepest + step * round(size[steepest] / -slope[steepest])
    return int(np.clip(crossing, min(peak, limit), max(peak, limit)))
