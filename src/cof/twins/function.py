"""Ventricular function of a generated heart: volume curves, and the indices that follow from them."""

from typing import Any

import numpy as np

from cof.cine.volume import Cine
from cof.heart.function import myocardial_mass, time_to_end_systole, ventricular_function, volume_curve
from cof.heart.structures import STRUCTURES

DECIMALS = 2


def heart_function(cine: Cine, labels: np.ndarray) -> dict[str, Any]:
    """Compute the function of one heart from the labels of its cine, as JSON values.

    Args:
        cine: the cine, for its spacing, RR interval and frame times.
        labels: uint8 [T, Z, Y, X].

    Returns:
        RR interval and frame times in ms. For LV and RV the volume curve in mL and EDV, ESV, SV (mL), EF (%) and CO
        (L/min); for the LV also the myocardial mass in g and the time to end systole in ms. Undefined values are None.
    """
    result: dict[str, Any] = {"rr_ms": _plain(cine.rr_ms), "frame_times_ms": _plain(cine.frame_times_ms)}
    for ventricle in ("LV", "RV"):
        curve = volume_curve(labels, STRUCTURES[ventricle], cine.spacing_mm)
        indices = vars(ventricular_function(curve, cine.rr_ms))
        result[ventricle] = {"volume_ml": _plain(curve)} | {name: _plain(value) for name, value in indices.items()}
        if ventricle == "LV":
            result[ventricle] |= {
                "mass_g": _plain(myocardial_mass(labels[0], STRUCTURES["myocardium"], cine.spacing_mm)),
                "time_to_end_systole_ms": _plain(time_to_end_systole(curve, cine.rr_ms)),
            }
    return result


def _plain(value: Any) -> Any:
    rounded = np.round(np.asarray(value, float), DECIMALS)
    return np.where(np.isfinite(rounded), rounded, None).tolist()  # type: ignore[call-overload]
