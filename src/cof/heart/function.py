"""Ventricular function from segmentations over the cycle.

A volume is the number of voxels times the voxel volume. The height of a voxel is the distance between slice centres, so
it includes the slice gap (Petersen et al., J Cardiovasc Magn Reson 19:18, 2017).
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.signal import find_peaks

MYOCARDIAL_DENSITY_G_PER_ML = 1.05
ES_SHARE_OF_STROKE = 0.1
# A filling wave stands out from the filling rate around it by at least this share of the peak filling rate.
LEAST_WAVE = 0.2
_FILLING_SAMPLES = 1000


@dataclass(frozen=True)
class Function:
    """Indices of one ventricle.

    Attributes:
        edv_ml: end-diastolic volume, the volume of frame 0.
        esv_ml: end-systolic volume, the smallest volume of the cycle.
        sv_ml: stroke volume EDV - ESV.
        ef_pct: ejection fraction 100 SV / EDV, in %; NaN if EDV is 0.
        co_l_min: cardiac output SV x heart rate, in L/min.
    """

    edv_ml: float
    esv_ml: float
    sv_ml: float
    ef_pct: float
    co_l_min: float


def volume_curve(labels: np.ndarray, label: int, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Compute the volume curve [T] of one structure in mL, from labels [T, Z, Y, X] with spacing (z, y, x) in mm."""
    return (labels == label).sum(axis=(1, 2, 3)) * (float(np.prod(spacing_mm)) / 1000)


def ventricular_function(curve_ml: np.ndarray, rr_ms: float) -> Function:
    """Compute the indices of a volume curve [T] in mL whose frame 0 is ED; `rr_ms` is the RR interval of the scan."""
    edv, esv = float(curve_ml[0]), float(curve_ml.min())
    sv = edv - esv
    return Function(edv, esv, sv, 100 * sv / edv if edv > 0 else float("nan"), sv * 60 / rr_ms)


def myocardial_mass(labels_ed: np.ndarray, label: int, spacing_mm: tuple[float, float, float]) -> float:
    """Compute the LV mass in g: myocardial volume of the ED labels [Z, Y, X] times 1.05 g/mL."""
    return MYOCARDIAL_DENSITY_G_PER_ML * float(volume_curve(labels_ed[None], label, spacing_mm)[0])


def curve_correlation(a_ml: np.ndarray, b_ml: np.ndarray) -> float:
    """Compute the Pearson correlation of two volume curves [T] of the same frames; NaN if either is constant."""
    return pearson(a_ml, b_ml)


def time_to_end_systole(curve_ml: np.ndarray, rr_ms: float) -> float:
    """Compute the time to end systole in ms after frame 0, from the volume curve [T] of the left ventricle.

    It is the time at which the periodic cubic spline through the curve first falls below ESV + 0.1 SV. The frame of the
    smallest volume is less reliable: it lies somewhere on the isovolumic plateau, and its place depends on noise.

    Returns:
        The time in ms; NaN for a curve that never falls below its first frame.
    """
    esv = float(curve_ml.min())
    level = esv + ES_SHARE_OF_STROKE * (float(curve_ml[0]) - esv)
    if not curve_ml[0] > esv:
        return float("nan")
    spline = _periodic_spline(curve_ml)
    crossings = spline.solve(level, extrapolate=False)
    falling = crossings[spline(crossings, 1) < 0]
    return float(falling.min()) * rr_ms if len(falling) else float("nan")


@dataclass(frozen=True)
class CurveShape:
    """Shape of the volume curve of a ventricle.

    Attributes:
        peak_ejection_ml_s: largest rate at which the volume falls, in mL/s.
        peak_filling_ml_s: largest rate at which the volume rises, in mL/s.
        filling_waves: number of waves of the filling rate between ES and the end of the cycle: 2 for early filling and
            atrial kick, 1 if these are fused or the atrium does not contract, 0 for a heart that does not fill.
        atrial_kick_pct: share of the filling volume EDV - ESV that enters after diastasis, in %; NaN unless there are
            exactly two filling waves, since the end of diastasis is known only between two.
    """

    peak_ejection_ml_s: float
    peak_filling_ml_s: float
    filling_waves: int
    atrial_kick_pct: float


def curve_shape(curve_ml: np.ndarray, rr_ms: float) -> CurveShape:
    """Compute the shape of a volume curve [T] in mL whose frame 0 is ED, from the periodic cubic spline through it.

    Rates are derivatives of the spline at the RR interval `rr_ms`; a spline through few frames underestimates them. A
    filling wave is a peak of the filling rate from the frame of the smallest volume to the end of the cycle, with a
    prominence of at least 20 % of the peak filling rate. Diastasis ends where the filling rate between the two waves is
    smallest.
    """
    spline, per_second = _periodic_spline(curve_ml), 1000 / rr_ms
    # The rate is extreme where its derivative, which is linear between knots, is zero, or at a knot.
    turning = spline.derivative(2).roots(extrapolate=False)
    rates = spline(np.concatenate([spline.x, turning[np.isfinite(turning)]]), 1)
    peaks = max(0.0, -float(rates.min())) * per_second, max(0.0, float(rates.max())) * per_second
    edv, esv = float(curve_ml[0]), float(curve_ml.min())
    if not edv > esv:
        return CurveShape(*peaks, 0, math.nan)
    phases = np.linspace(int(curve_ml.argmin()) / len(curve_ml), 1, _FILLING_SAMPLES)
    filling = np.pad(np.maximum(spline(phases, 1), 0), 1)  # a wave may reach its peak at the end of the cycle
    waves, _ = find_peaks(filling, prominence=LEAST_WAVE * filling.max())
    if len(waves) != 2:
        return CurveShape(*peaks, len(waves), math.nan)
    first, second = waves - 1
    volume = float(spline(phases[first + int(spline(phases[first:second], 1).argmin())]))
    return CurveShape(*peaks, 2, 100 * (edv - volume) / (edv - esv))


def curve_error(curve_ml: np.ndarray, reference_ml: np.ndarray) -> float:
    """Compute the RMSE of a volume curve [T] as a share of the reference's EDV; NaN if that is 0."""
    rmse, edv = float(np.sqrt(np.mean((curve_ml - reference_ml) ** 2))), float(reference_ml[0])
    return rmse / edv if edv > 0 else math.nan


def _periodic_spline(curve: np.ndarray) -> CubicSpline:
    """Return the periodic cubic spline through a cycle [T], as a function of the phase."""
    frames = len(curve)
    return CubicSpline(np.arange(frames + 1) / frames, np.append(curve, curve[0]), bc_type="periodic")


def pearson(a: np.ndarray, b: np.ndarray) -> float:
    """Compute the Pearson correlation of all elements of two arrays; NaN if either is constant."""
    x, y = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    if x.min() == x.max() or y.min() == y.max():
        return float("nan")
    x, y = x - x.mean(), y - y.mean()
    return float(np.clip((x @ y) / np.sqrt((x @ x) * (y @ y)), -1, 1))
