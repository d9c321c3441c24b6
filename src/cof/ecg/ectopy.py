"""Detection of premature beats: ventricular by shape, width and prematurity, atrial by prematurity alone."""

from dataclasses import dataclass

import numpy as np

from cof.ecg.delineate import INDEPENDENT, qrs_limits

_BEFORE_MS, _AFTER_MS = 100.0, 160.0
_LAG_MS = 20.0
# Beats whose QRS complexes correlate less, over all leads at once, are conducted in different ways.
_ALIKE = 0.75
# A ventricular beat is wider than the others by at least this, and comes within this share of the usual interval.
_WIDER_MS = 16.0
_EARLY = 0.9
# The interval before an atrial premature beat is less than this share of the previous and of the following interval. In
# sinus arrhythmia neighbouring intervals differ less, and short ones follow each other.
_CUT_SHORT = 0.8
# Where the SD of the other intervals exceeds this share of their mean, as in atrial fibrillation, no beat is premature.
_REGULAR = 0.12
# A group with at least this share of the beats may be the sinus beats of bigeminy.
_SECOND = 0.3


@dataclass(frozen=True)
class Ectopy:
    """The premature beats of a strip: bool arrays [K] in the order of its R peaks."""

    ventricular: np.ndarray
    atrial: np.ndarray


def find_ectopic(signal: np.ndarray, peaks: np.ndarray, rate_hz: float) -> Ectopy:
    """Find the premature beats among R peaks [K] of a filtered strip [12, N] mV.

    A ventricular premature beat is early, wider than the prevailing beats, and of another shape. Where two shapes are
    about equally frequent, as in bigeminy, the narrower one prevails. An atrial premature beat has the prevailing
    shape, and comes after an interval that is shorter than both its neighbours, in an otherwise regular rhythm. The
    first beat has no interval before it: it is early if a pause follows.
    """
    shapes = _shapes(signal, peaks, rate_hz)
    alike = _correlations(shapes) >= _ALIKE
    prevailing = _prevailing(alike, signal, peaks, rate_hz)
    rr = np.diff(peaks).astype(float)
    before, after = np.concatenate([[np.nan], rr]), np.concatenate([rr, [np.nan]])
    earlier = np.concatenate([[np.nan], before[:-1]])
    usual = float(np.median(rr))
    early = (before < _EARLY * usual) | (before < _CUT_SHORT * after) | (before < _CUT_SHORT * earlier)
    early |= np.isnan(before) & (after * _EARLY > usual)
    width = _width(signal, peaks[prevailing], rate_hz)
    ventricular = np.zeros(len(peaks), bool)
    for beat in np.flatnonzero(~prevailing & early):
        ventricular[beat] = _width(signal, peaks[[beat]], rate_hz) >= width + _WIDER_MS
    return Ectopy(ventricular, prevailing & _cut_short(rr, ventricular))


def _cut_short(rr: np.ndarray, ventricular: np.ndarray) -> np.ndarray:
    """Return the beats [K] whose interval, of [K - 1], is shorter than both its neighbours in a regular rhythm."""
    before, after = np.concatenate([[np.nan], rr]), np.concatenate([rr, [np.nan]])
    earlier = np.concatenate([[np.nan], before[:-1]])
    beside = np.fmin(earlier, after)  # the intervals before the second and the last beat have one neighbour
    found = (before < _CUT_SHORT * beside) & ~ventricular
    # Intervals beside a ventricular beat say nothing about the atria.
    found[1:] &= ~ventricular[:-1]
    clean = np.concatenate(
        [[False], ~ventricular[:-1] & ~ventricular[1:], [False]]
    )  # whether each of the intervals [K + 1] is clean
    found &= np.concatenate([[False], clean[:-2]]) | clean[1:]
    touched = found | ventricular
    others = rr[~touched[:-1] & ~touched[1:]]
    groups = [others] if len(others) >= 3 else [before[found], after[found & ~np.isnan(after)]]
    regular = all(len(group) and group.std() <= _REGULAR * group.mean() for group in groups)
    return found if regular else np.zeros_like(found)


def _prevailing(alike: np.ndarray, signal: np.ndarray, peaks: np.ndarray, rate_hz: float) -> np.ndarray:
    """Return the beats [K] of the most common shape; of two common shapes, the narrower."""
    first = alike[np.argmax(alike.sum(axis=0))]
    rest = alike & ~first[None] & ~first[:, None]
    second = rest[np.argmax(rest.sum(axis=0))]
    if second.sum() < max(_SECOND * len(peaks), 2):
        return first
    return min(first, second, key=lambda group: _width(signal, peaks[group], rate_hz))


def _window(signal: np.ndarray, peak: int, rate_hz: float, reach: int = 0) -> np.ndarray:
    """Return the independent leads around a peak, [8, M] mV; beyond the strip its end values are repeated."""
    before, after = (round(ms * rate_hz / 1000) + reach for ms in (_BEFORE_MS, _AFTER_MS))
    at = np.clip(np.arange(peak - before, peak + after), 0, signal.shape[1] - 1)
    return signal[list(INDEPENDENT)][:, at]


def _shapes(signal: np.ndarray, peaks: np.ndarray, rate_hz: float) -> np.ndarray:
    """Return the QRS complex of each beat at several lags, [K, lags, values], each lead centred, each row of norm 1."""
    reach = round(_LAG_MS * rate_hz / 1000)
    step = max(round(4 * rate_hz / 1000), 1)
    shapes = []
    for peak in peaks:
        wide = _window(signal, int(peak), rate_hz, reach)
        length = wide.shape[1] - 2 * reach
        lags = np.stack([wide[:, lag : lag + length] for lag in range(0, 2 * reach + 1, step)])
        flat = (lags - lags.mean(axis=2, keepdims=True)).reshape(len(lags), -1)
        shapes.append(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12))
    return np.array(shapes)


def _correlations(shapes: np.ndarray) -> np.ndarray:
    """Return the largest correlation over lags between every two beats, [K, K]."""
    middle = shapes[:, shapes.shape[1] // 2]
    one_way = np.einsum("klv,mv->kml", shapes, middle, optimize=True).max(axis=2)
    return np.maximum(one_way, one_way.T)


def _width(signal: np.ndarray, peaks: np.ndarray, rate_hz: float) -> float:
    """Return the duration of the QRS complex of the median of some beats, ms."""
    reach = round(250 * rate_hz / 1000)
    at = np.clip(peaks[:, None] + np.arange(-reach, reach + 1), 0, signal.shape[1] - 1)
    first, last = qrs_limits(np.median(signal[:, at], axis=1), rate_hz, reach)
    longest = 280.0  # where no onset or no end is found
    return longest if first is None or last is None else (last - first) * 1000 / rate_hz
