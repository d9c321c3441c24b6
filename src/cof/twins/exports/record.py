"""What has to be known of exported surfaces, as JSON values."""

from typing import Any

import numpy as np

from cof.heart.function import ventricular_function
from cof.heart.surfaces import ENDS
from cof.twins.exports.heart import SYNTHETIC, Heart

_VENTRICLES = {"LV": "LV endocardium", "RV": "RV endocardium"}


def surface_record(heart: Heart) -> dict[str, Any]:
    """Describe the surfaces of a heart.

    Returns:
        Notices; how base and apex are closed; repairs and doubts about single surfaces and about time and orientation;
        of every surface the enclosed volume in mL of each frame; EDV, ESV (mL) and EF (%) of LV and RV by surfaces and
        by labels; times of the frames in ms; provenance.
    """
    surfaces = heart.surfaces
    volumes = {name: surface.volume_ml for name, surface in surfaces.items()}
    remarks = [remark for surface in surfaces.values() for remark in surface.remarks]
    if not heart.cine.oriented:
        remarks.append("the scan tells no orientation: directions are not those of the patient")
    if not heart.timed:
        remarks.append("the duration of the cycle is not known: times are those of a nominal cycle of one second")
    return {
        "notices": [SYNTHETIC, *heart.notices],
        "ends": ENDS,
        "remarks": remarks,
        "times_ms": [round(float(time), 3) for time in heart.times_ms],
        "rr_ms": round(float(heart.cine.rr_ms), 3),
        "es_frame": heart.es_frame,
        "volume_ml": {name: np.round(volume, 2).tolist() for name, volume in volumes.items()},
        "function": {
            ventricle: {
                "surfaces": _indices(volumes[name], heart.cine.rr_ms),
                "labels": {key: heart.summary["function"][ventricle][key] for key in ("edv_ml", "esv_ml", "ef_pct")},
            }
            for ventricle, name in _VENTRICLES.items()
        },
        "provenance": heart.cine.provenance,
    }


def _indices(curve_ml: np.ndarray, rr_ms: float) -> dict[str, float]:
    found = ventricular_function(curve_ml, rr_ms)
    return {key: round(getattr(found, key), 2) for key in ("edv_ml", "esv_ml", "ef_pct")}
