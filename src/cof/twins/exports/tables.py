"""The function of a generated heart as tables: indices, volume curves, and regional function of the LV."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cof.heart.function import volume_curve
from cof.heart.segments import NAMES
from cof.heart.strain import by_segment, engineering_pct, green_lagrange
from cof.heart.structures import STRUCTURES
from cof.metrics.regional import is_mirrored, regional_function
from cof.metrics.strain import wall_stretch
from cof.twins.exports.heart import SYNTHETIC, Heart
from cof.twins.function import DECIMALS, heart_function

# Index of `heart_function` -> its name in the table, and the unit.
_INDICES = {
    "edv_ml": ("EDV", "mL"),
    "esv_ml": ("ESV", "mL"),
    "sv_ml": ("SV", "mL"),
    "ef_pct": ("EF", "%"),
    "co_l_min": ("CO", "L/min"),
    "mass_g": ("mass", "g"),
    "time_to_end_systole_ms": ("time to end systole", "ms"),
}
TABLES = ("function", "curves", "regional")


def write(heart: Heart, folder: Path) -> list[Path]:
    """Write each table that the heart has as CSV, and all of them as `function.json`: lists of rows.

    What is not defined, such as a time where the duration of the cycle is not known, is empty in CSV and null in JSON.
    """
    made = tables(heart)
    paths = []
    for name, table in made.items():
        paths.append(folder / f"{name}.csv")
        table.to_csv(paths[-1], index=False)
    rows: dict[str, Any] = {name: json.loads(table.to_json(orient="records")) for name, table in made.items()}
    paths.append(folder / "function.json")
    paths[-1].write_text(json.dumps({"notices": [SYNTHETIC, *heart.notices]} | rows, indent=1, allow_nan=False))
    return paths


def tables(heart: Heart) -> dict[str, pd.DataFrame]:
    """Make the tables, by the names of `TABLES`.

    Returns:
        `function`: ventricle, index, value, unit. `curves`: frame, time_ms and the volume of each structure in mL.
        `regional`, of a heart with a displacement: that of `regional`.
    """
    cine = heart.cine
    if not heart.timed:
        cine = replace(cine, rr_ms=math.nan, frame_times_ms=np.full(len(cine.frames), np.nan))
    found = heart_function(cine, heart.labels)
    indices = [
        (ventricle, name, found[ventricle][key], unit)
        for ventricle in ("LV", "RV")
        for key, (name, unit) in _INDICES.items()
        if key in found[ventricle]
    ]
    curves = {
        f"{structure.lower()}_ml": np.round(volume_curve(heart.labels, label, cine.spacing_mm), DECIMALS)
        for structure, label in STRUCTURES.items()
    }
    made = {
        "function": pd.DataFrame(indices, columns=["ventricle", "index", "value", "unit"]).astype({"value": float}),
        "curves": pd.DataFrame({"frame": range(len(heart.labels)), "time_ms": cine.frame_times_ms} | curves),
    }
    region = regional(heart)
    if region is not None:
        made["regional"] = region
    return made


def regional(heart: Heart) -> pd.DataFrame | None:
    """Return the regional function of the left ventricle, one row per segment; None for a heart without a displacement.

    Returns:
        segment (1 to 16 of the American Heart Association), name, peak_ms, thickening_pct (`cof.metrics.regional`),
        wall_thickness_ed_mm, and strain at the frame of the smallest LV (`cof.heart.strain`):
        strain_{circumferential, radial, longitudinal}_pct (engineering) and green_lagrange_{...} (without unit). NaN
        where undefined.
    """
    if heart.displacement is None or heart.placement is None:
        return None
    moved, labels, mirrored = np.asarray(heart.displacement), heart.labels[0], is_mirrored(heart.cine)
    rr_ms = heart.cine.rr_ms if heart.timed else math.nan
    function = regional_function(labels, moved, heart.placement, rr_ms, mirrored)
    stretch = wall_stretch(labels, moved[[function.es_frame]], heart.placement, mirrored)
    by_direction = {name: getattr(stretch, name) for name in ("circumferential", "radial", "longitudinal")}
    measured = {
        "peak_ms": function.peak_ms,
        "thickening_pct": function.thickening_pct,
        "wall_thickness_ed_mm": function.thickness_mm[0],
        **{
            f"strain_{name}_pct": by_segment(engineering_pct(values), stretch.segments)[0]
            for name, values in by_direction.items()
        },
    }
    lagrange = {
        f"green_lagrange_{name}": by_segment(green_lagrange(values), stretch.segments)[0].round(4)
        for name, values in by_direction.items()
    }
    rounded = {name: np.round(values, DECIMALS) for name, values in measured.items()}
    return pd.DataFrame({"segment": range(1, len(NAMES) + 1), "name": NAMES} | rounded | lagrange)
