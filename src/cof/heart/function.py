"""Ventricular function from segmentations over the cycle.

A volume is the number of voxels times the voxel volume. The height of a voxel is the distance between slice centres, so
it includes the slice gap (Petersen et al., J Cardiovasc Magn Reson 19:18, 2017).
"""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

MYOCARDIAL_DENSITY_G_PER_ML = 1.05
ES_SHARE_OF_STROKE = 0.1


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
    frames = len(curve_ml)
    esv = float(curve_ml.min())
    level = esv + ES_SHARE_OF_STROKE * (float(curve_ml[0]) - esv)
    if not curve_ml[0] > esv:
        return float("nan")
    spline = CubicSpline(np.arange(frames + 1) / frames, np.append(curve_ml, curve_ml[0]), bc_type="periodic")
    crossings = spline.solve(level, extrapolate=False)
    falling = crossings[spline(crossings, 1) < 0]
    return float(falling.min()) * rr_ms if len(falling) else float("nan")


def pearson(a: np.ndarray, b: np.ndarray) -> float:
    """Compute the Pearson correlation of all elements of two arrays; NaN if either is constant."""
    x, y = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    if x.min() == x.max() or y.min() == y.max():
        return float("nan")
    x, y = x - x.mean(), y - y.mean()
    return float(np.clip((x @ y) / np.sqrt((x @ x) * (y @ y)), -1, 1))
