"""The function of a generated heart as tables: indices, volume curves, and regional function of the LV."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cof.heart.function import volume_curve
from cof.heart.structures import STRUCTURES
from cof.metrics.regional import SEGMENTS, is_mirrored, regional_function
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
        `regional`, of a heart with a displacement: segment (1 to 16 of the American Heart Association), peak_ms,
        thickening_pct, as `cof.metrics.regional` defines them.
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
    if heart.displacement is not None and heart.placement is not None:
        moved = np.asarray(heart.displacement)
        region = regional_function(heart.labels[0], moved, heart.placement, cine.rr_ms, is_mirrored(cine))
        made["regional"] = pd.DataFrame(
            {
                "segment": range(1, SEGMENTS + 1),
                "peak_ms": np.round(region.peak_ms, DECIMALS),
                "thickening_pct": np.round(region.thickening_pct, DECIMALS),
            }
        )
    return made
