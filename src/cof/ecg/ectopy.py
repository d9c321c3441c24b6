"""Premature beats of a strip: ventricular ones by shape, width and prematurity, atrial ones by prematurity alone."""

from dataclasses import dataclass

import numpy as np

from cof.ecg.delineate import INDEPENDENT, qrs_limits

_BEFORE_MS, _AFTER_MS = 100.0, 160.0
_LAG_MS = 20.0
# Beats whose QRS complexes correlate less, over all leads at once, do not come the same way.
_ALIKE = 0.75
# A ventricular beat is wider than the others by this, and comes at most after this share of the usual interval.
_WIDER_MS = 16.0
_EARLY = 0.9
# An atrial premature beat comes after this share of the interval before it, and of the one that follows. In sinus
# arrhythmia neighbouring intervals differ less, and short ones follow each other.
_CUT_SHORT = 0.8
# Where the other intervals scatter more than this about their mean, as in atrial fibrillation, none is premature.
_REGULAR = 0.12
# Groups of beats at least this large, as a share, may be the sinus beats of bigeminy.
_SECOND = 0.3


@dataclass(frozen=True)
class Ectopy:
    """Which beats of a strip are premature, each [K] bool in the order of its R peaks."""

    ventricular: np.ndarray
    atrial: np.ndarray


def find_ectopic(signal: np.ndarray, peaks: np.ndarray, rate_hz: float) -> Ectopy:
    """The premature beats among R peaks [K] of a filtered strip [12, N] mV.

    Ventricular: of another shape than the prevailing beats, wider, and early. Where two shapes are about as frequent,
    as in bigeminy, the narrower one prevails. Atrial: of the prevailing shape, after an interval that is short beside
    both its neighbours, in an otherwise regular rhythm. A first beat has no interval before it: what is early there is
    told by the pause that follows.
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
    """Beats [K] of an otherwise regular rhythm whose interval is short beside those before and after it, of [K - 1]."""
    before, after = np.concatenate([[np.nan], rr]), np.concatenate([rr, [np.nan]])
    earlier = np.concatenate([[np.nan], before[:-1]])
    beside = np.fmin(earlier, after)  # a strip's second and last beats have one neighbour
    found = (before < _CUT_SHORT * beside) & ~ventricular
    # Intervals beside a ventricular beat tell nothing of the atria.
    found[1:] &= ~ventricular[:-1]
    clean = np.concatenate([[False], ~ventricular[:-1] & ~ventricular[1:], [False]])  # of the intervals [K + 1]
    found &= np.concatenate([[False], clean[:-2]]) | clean[1:]
    touched = found | ventricular
    others = rr[~touched[:-1] & ~touched[1:]]
    groups = [others] if len(others) >= 3 else [before[found], after[found & ~np.isnan(after)]]
    regular = all(len(group) and group.std() <= _REGULAR * group.mean() for group in groups)
    return found if regular else np.zeros_like(found)


def _prevailing(alike: np.ndarray, signal: np.ndarray, peaks: np.ndarray, rate_hz: float) -> np.ndarray:
    """The beats [K] of the commonest shape; of two common ones the narrower."""
    first = alike[np.argmax(alike.sum(axis=0))]
    rest = alike & ~first[None] & ~first[:, None]
    second = rest[np.argmax(rest.sum(axis=0))]
    if second.sum() < max(_SECOND * len(peaks), 2):
        return first
    return min(first, second, key=lambda group: _width(signal, peaks[group], rate_hz))


def _window(signal: np.ndarray, peak: int, rate_hz: float, reach: int = 0) -> np.ndarray:
    """The independent leads about a peak, [8, M] mV, the ends repeated beyond the strip."""
    before, after = (round(ms * rate_hz / 1000) + reach for ms in (_BEFORE_MS, _AFTER_MS))
    at = np.clip(np.arange(peak - before, peak + after), 0, signal.shape[1] - 1)
    return signal[list(INDEPENDENT)][:, at]


def _shapes(signal: np.ndarray, peaks: np.ndarray, rate_hz: float) -> np.ndarray:
    """QRS complexes of each beat at several lags, [K, lags, values] of length one about each lead's mean."""
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
    """The largest correlation over lags of each beat with each, [K, K]."""
    middle = shapes[:, shapes.shape[1] // 2]
    one_way = np.einsum("klv,mv->kml", shapes, middle, optimize=True).max(axis=2)
    return np.maximum(one_way, one_way.T)


def _width(signal: np.ndarray, peaks: np.ndarray, rate_hz: float) -> float:
    """Duration of the QRS complex of the median of some beats, ms."""
    reach = round(250 * rate_hz / 1000)
    at = np.clip(peaks[:, None] + np.arange(-reach, reach + 1), 0, signal.shape[1] - 1)
    first, last = qrs_limits(np.median(signal[:, at], axis=1), rate_hz, reach)
    longest = 280.0  # where it never rests
    return longest if first is None or last is None else (last - first) * 1000 / rate_hz
