"""Suspicion of exchanged limb electrodes, from the frontal axes of P wave and QRS complex."""

from dataclasses import dataclass

import numpy as np

from cof.ecg.delineate import delineate
from cof.ecg.record import LEADS

# Ranges of the axes of a sinus beat, degrees, with some margin.
_NORMAL_P = (-15.0, 85.0)
_NORMAL_QRS = (-45.0, 100.0)
# Exchanged electrodes mirror the frontal plane: an axis a becomes this number minus a.
_MIRRORED = {"LA-RA": 180.0, "RA-LL": -60.0}
_BEFORE_MS, _AFTER_MS = 420.0, 520.0


@dataclass(frozen=True)
class Frontal:
    """Frontal axes of one ECG, measured on its median beat.

    Attributes:
        p_axis_deg: axis of the P wave; NaN where none was found, as in atrial fibrillation.
        qrs_axis_deg: axis of the QRS complex.
        suspected_reversal: "LA-RA" or "RA-LL" where both axes are abnormal and an exchange of these electrodes makes
            them normal; else "". An exchange of LA and LL leaves the axes normal, and is not found.
    """

    p_axis_deg: float
    qrs_axis_deg: float
    suspected_reversal: str


def frontal(signal: np.ndarray, peaks: np.ndarray, rate_hz: float, rr_ms: float) -> Frontal:
    """Measure the frontal axes of a filtered strip by the net areas of I and aVF.

    Args:
        signal: strip, [12, N] mV.
        peaks: samples of the R peaks [K] of similar beats; those too near to the ends of the strip are skipped.
        rate_hz: sampling rate.
        rr_ms: typical RR interval of the beats.
    """
    sample = rate_hz / 1000
    before, after = (round(min(ms, 0.55 * rr_ms) * sample) for ms in (_BEFORE_MS, _AFTER_MS))
    inside = [r for r in peaks if r >= before and r + after <= signal.shape[1]]
    if not inside:
        return Frontal(float("nan"), float("nan"), "")
    beat = np.median([signal[:, r - before : r + after] for r in inside], axis=0)
    marks = delineate(beat, rate_hz, before, rr_ms)
    level = np.median(beat[:, max(marks.q_on - round(16 * sample), 0) : max(marks.q_on - 1, 1)], axis=1)
    beat = beat - level[:, None]
    qrs = beat[:, marks.q_on : marks.q_off + 1].sum(axis=1)
    p = None if marks.p_on is None or marks.p_off is None else beat[:, marks.p_on : marks.p_off].sum(axis=1)
    axes = (float("nan") if p is None else frontal_axis(p), frontal_axis(qrs))
    # In dextrocardia V6 is inverted as I is; only V6 distinguishes it from exchanged arm electrodes.
    return Frontal(*axes, _reversal(*axes) if qrs[LEADS.index("V6")] > 0 else "")


def frontal_axis(areas: np.ndarray) -> float:
    """Return the angle of the frontal vector, degrees in (-180, 180], from the net areas of twelve leads."""
    one, foot = areas[LEADS.index("I")], areas[LEADS.index("aVF")]
    return float(np.rad2deg(np.arctan2(foot * 2 / np.sqrt(3), one)))


def _reversal(p_axis: float, qrs_axis: float) -> str:
    """Return the exchange that explains both axes; "" where none does or none is needed."""
    if np.isnan(p_axis) or _within(p_axis, _NORMAL_P) or _within(qrs_axis, _NORMAL_QRS):
        return ""
    normal = {
        name: abs(_centred(turn - p_axis - sum(_NORMAL_P) / 2))
        for name, turn in _MIRRORED.items()
        if _within(turn - p_axis, _NORMAL_P) and _within(turn - qrs_axis, _NORMAL_QRS)
    }
    return min(normal, key=lambda name: normal[name], default="")


def _within(angle: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= _centred(angle) <= limits[1]


def _centred(angle: float) -> float:
    return (angle + 180) % 360 - 180
