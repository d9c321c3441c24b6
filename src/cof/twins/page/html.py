"""One generated heart as one HTML file: moving surfaces, cine, ECG, volumes, regional function, numbers, warnings."""

import base64
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from cof.ecg.record import LEADS
from cof.errors import CofError, Reason, UsageError, redact
from cof.heart.function import volume_curve
from cof.heart.structures import STRUCTURES
from cof.heart.surfaces import ENDS
from cof.twins.exports import tables
from cof.twins.exports.heart import SYNTHETIC, Heart
from cof.twins.function import heart_function
from cof.twins.page import bullseye
from cof.twins.page.mesh import LOOKS, mesh_data
from cof.viewer import cines
from cof.viewer.templates import STATIC, as_hash, environment

FOLDER = Path(str(files("cof.twins.page")))
LEVELS = ("base", "mid", "apex")
_ROWS = (
    ("EDV", "edv_ml", "mL", 0),
    ("ESV", "esv_ml", "mL", 0),
    ("SV", "sv_ml", "mL", 0),
    ("EF", "ef_pct", "%", 0),
    ("CO", "co_l_min", "L/min", 1),
    ("LV mass", "mass_g", "g", 0),
    ("Time to ES", "time_to_end_systole_ms", "ms", 0),
)
_ROUND = 3  # decimals of volumes and voltages that the page draws


def page(heart: Heart) -> str:
    """Return the page of a heart, which contains everything that it shows.

    Raises:
        CofError: HEART_NOT_FOUND, the labels of ED show no left ventricle.
    """
    surfaces, no_surfaces = _surfaces(heart)
    cine = _cine(heart)
    data = {
        "rr_ms": round(float(heart.cine.rr_ms), _ROUND),
        "timed": heart.timed,
        "frames": len(heart.labels),
        "cine": cine["viewer"],
        "volumes": _volumes(heart),
        "ecg": None if heart.beat_mv is None else dict(zip(LEADS, heart.beat_mv.round(_ROUND).tolist())),
        "oriented": heart.cine.oriented,
    }
    context = {
        "heart": heart,
        "summary": heart.summary,
        "synthetic": SYNTHETIC,
        "notices": heart.notices,
        "doubtful": heart.summary.get("labels", {}).get("doubtful", False),
        "warnings": [f"{warning['of']}: {warning['message']}" for warning in heart.summary["warnings"]],
        "read": _read(heart),
        "trained_on": [
            (name, network["hearts"], network.get("cohort", ""))
            for name, network in heart.summary["trained_on"].items()
            if "hearts" in network
        ],
        "columns": _columns(heart),
        "rows": _numbers(heart),
        "intervals": heart.summary.get("intervals", {}).get("note", ""),
        "levels": [
            (name, index + 1, index + 1 in heart.doubtful_slices) for name, index in zip(LEVELS, cine["slices"])
        ],
        "doubt": heart.doubt_message,
        "sheets": {name: _image(image) for name, image in cine["sheets"].items()},
        "no_surfaces": no_surfaces,
        "ends": ENDS,
        "remarks": [] if surfaces is None else [r for made in heart.surfaces.values() for r in made.remarks],
        "views": [] if surfaces is None else list(surfaces["views"]),
        "keys": [(name, colour) for name, (colour, _) in zip(("LV cavity", "LV wall", "RV cavity"), LOOKS.values())],
        "bullseyes": bullseye.charts(tables.regional(heart)),
        "leads": [] if heart.beat_mv is None else LEADS,
        "data": _json(data),
        "mesh": _json(surfaces),
        "styles": [Markup(file.read_text()) for file in (STATIC / "viewer.css", FOLDER / "page.css")],
        "scripts": [
            Markup(file.read_text())
            for file in (
                *([] if surfaces is None else [FOLDER / "surfaces.min.js"]),
                STATIC / "cine.js",
                FOLDER / "page.js",
            )
        ],
        "made_by": _provenance(heart),
    }
    return environment(FOLDER).get_template("twin.html").render(context)


def _surfaces(heart: Heart) -> tuple[dict[str, Any] | None, str]:
    """Return the surfaces, or why there are none."""
    try:
        return mesh_data(heart), ""
    except (UsageError, CofError) as error:
        return None, str(error)


def _cine(heart: Heart) -> dict[str, Any]:
    """Return sprite sheets of the generated and, if there is one, the recorded cine, in the same crop and window."""
    try:
        crop = cines.place_crop(np.asarray(heart.cine.frames[0]), heart.labels[0], heart.cine.spacing_mm)
    except ValueError as error:
        raise CofError(Reason.HEART_NOT_FOUND, str(error)) from None
    frames, labels = {"generated": heart.cine.frames}, {"generated": heart.labels}
    if heart.recorded is not None:
        frames["real"], labels["real"] = heart.recorded.cine.frames, heart.recorded.labels
    return {
        "sheets": {name: cines.sprite_sheet(stack, crop) for name, stack in frames.items()},
        "viewer": cines.viewer_data(crop, labels),
        "slices": crop.slices,
    }


def _volumes(heart: Heart) -> dict[str, dict[str, list[float]]]:
    """Return the volume curves in mL by heart and ventricle."""
    spacing = heart.cine.spacing_mm
    shown = {"generated": heart.labels} | ({} if heart.recorded is None else {"real": heart.recorded.labels})
    return {
        name: {v: volume_curve(labels, STRUCTURES[v], spacing).round(_ROUND).tolist() for v in ("LV", "RV")}
        for name, labels in shown.items()
    }


def _columns(heart: Heart) -> list[str]:
    return ["generated"] if heart.recorded is None else ["generated", "scan"]


def _numbers(heart: Heart) -> list[dict[str, Any]]:
    """Return the rows of the table of function: for LV and RV a cell for each of `_columns`."""
    columns = [heart.summary["function"]]
    if heart.recorded is not None:
        columns.append(heart_function(heart.recorded.cine, heart.recorded.labels))
    intervals = heart.summary.get("intervals", {})
    rows = []
    for name, key, unit, decimals in _ROWS:
        cells = {
            ventricle: [_number(column[ventricle].get(key), decimals, key in column[ventricle]) for column in columns]
            for ventricle in ("LV", "RV")
        }
        bounds = intervals.get({"edv_ml": "", "esv_ml": "esv_ml", "ef_pct": "ef_pct"}.get(key, ""), {})
        interval = "" if bounds.get("low") is None else f"{bounds['low']:.0f} to {bounds['high']:.0f}"
        rows.append({"name": name, "unit": unit, "cells": cells, "interval": interval})
    rate = [_number(60_000 / c["rr_ms"] if c["rr_ms"] else None, 0, True) for c in columns]
    rows.append({"name": "Heart rate", "unit": "bpm", "cells": {"LV": rate, "RV": [""] * len(columns)}, "interval": ""})
    return rows


def _number(value: float | None, decimals: int, exists: bool) -> str:
    if value is None:
        return "not known" if exists else ""
    return f"{value:.{decimals}f}"


def _read(heart: Heart) -> list[tuple[str, list[str]]]:
    """Return what was read of scan and ECG, and what was repaired."""
    scan, ecg = heart.summary["scan"], heart.summary["ecg"]
    told = [f"{scan['frames']} frames of {scan['slices']} slices"] if "frames" in scan else []
    if scan.get("kind") == "anchor":
        told = [f"one volume of {scan['slices']} slices"]
    if heart.recorded is not None:
        told.append("the model saw one frame of it; the others are shown for comparison")
    if scan.get("rolled_by"):
        told.append(f"the cycle begins {scan['rolled_by']} frames later than recorded, at end diastole")
    if not heart.cine.oriented:
        told.append("the file tells no orientation: directions in the patient are assumed")
    told += [f"repaired: {repair}" for repair in scan["repairs"]]
    if not scan["repairs"]:
        told.append("nothing had to be repaired")
    found = [("Scan", told)]
    if ecg is None:
        found.append(("ECG", ["none: the motion is predicted from the anatomy alone"]))
    else:
        heard = [f"RR interval {ecg['rr_ms']:.0f} ms"]
        marks = (("low_quality", "low quality"), ("irregular", "irregular rhythm"), ("paced", "paced"))
        heard += [said for key, said in marks if ecg.get(key)]
        if ecg.get("ectopic_beats"):
            heard.append(f"{ecg['ectopic_beats']} ectopic beats")
        heard += [f"repaired: {repair}" for repair in ecg["repairs"]] or ["nothing had to be repaired"]
        found.append(("ECG", heard))
    return found


def _provenance(heart: Heart) -> list[tuple[str, Any]]:
    """Return pairs of name and value on the software that made the heart."""
    record = heart.cine.provenance
    told: list[tuple[str, Any]] = [("model", heart.summary["model"])]
    told += [(name, version) for name, version in sorted(record.get("versions", {}).items())]
    if "config_hash" in record:
        told.append(("configuration", as_hash(record["config_hash"])))
    return told


def _image(content: bytes) -> Markup:
    return Markup("data:image/webp;base64," + base64.b64encode(content).decode())


def _json(value: Any) -> Markup:
    """Return numbers and names for a script element; its texts are redacted, and it cannot end the element."""
    text = json.dumps(_redacted(value), separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace("&", "\\u0026"))


def _redacted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _redacted(part) for name, part in value.items()}
    if isinstance(value, str) and not value.startswith("data:"):
        return redact(value)
    return value
