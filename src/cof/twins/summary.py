"""The parts of a heart's summary, as JSON values: what it was made from, and its numbers beside those of health."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from cof.cine.volume import Cine
from cof.heart import reference_ranges
from cof.heart.reference_ranges import ABSOLUTE, INDEXED, SEXES, Range


class Index(NamedTuple):
    """One number of the summary: its name, where it is in a heart's function, its unit, and the decimals to print."""

    name: str
    ventricle: str
    key: str
    unit: str
    decimals: int = 0


INDICES = (
    Index("LV EDV", "LV", "edv_ml", "mL"),
    Index("LV ESV", "LV", "esv_ml", "mL"),
    Index("LV SV", "LV", "sv_ml", "mL"),
    Index("LV EF", "LV", "ef_pct", "%"),
    Index("LV CO", "LV", "co_l_min", "L/min", 1),
    Index("LV mass", "LV", "mass_g", "g"),
    Index("RV EDV", "RV", "edv_ml", "mL"),
    Index("RV ESV", "RV", "esv_ml", "mL"),
    Index("RV EF", "RV", "ef_pct", "%"),
)


def ecg_record(beat: pd.Series, strip: pd.Series | None) -> dict[str, Any]:
    """Describe an ECG.

    Args:
        beat: its row of the table beats.
        strip: its row of the table ecg; None where there is none.
    """
    read: Any = {} if strip is None else strip
    return {
        "rr_ms": round(float(beat["rr_ms"]), 1),
        "correlation": round(float(beat["correlation"]), 3),
        "low_quality": bool(beat["low_quality"]),
        "irregular": bool(beat["irregular"]),
        "ectopic_beats": int(beat["ectopic_beats"]),
        "paced": bool(beat["paced"]),
        "suspected_reversal": str(beat.get("suspected_reversal", "")),
        **{name: [str(part) for part in read.get(name, [])] for name in ("categories", "soft_categories", "repairs")},
    }


def scan_record(stack: Cine, lone: bool, anchor_phase: float) -> dict[str, Any]:
    """Describe a scan.

    Args:
        stack: the scan as read.
        lone: whether it is a single anchor volume.
        anchor_phase: phase in [0, 1) of the frame that the model saw.
    """
    return {
        "kind": "anchor" if lone else "cine",
        "anchor_phase": anchor_phase,
        "slices": stack.frames.shape[1],
        "frames": stack.frames.shape[0],
        "rr_ms": round(float(stack.rr_ms), 1) if math.isfinite(stack.rr_ms) else None,
        "rolled_by": stack.rolled_by,
        "ed_by": stack.ed_by,
        "repairs": list(stack.repairs),
        "synthetic": stack.synthetic,
    }


def reference_record() -> dict[str, Any]:
    """Describe the reference ranges."""
    return {
        "source": reference_ranges.SOURCE,
        "doi": reference_ranges.DOI,
        "population": reference_ranges.POPULATION,
        "ages_y": list(reference_ranges.AGES_Y),
        "limits": reference_ranges.LIMITS,
    }


def index_records(
    function: Mapping[str, Any],
    recorded: Mapping[str, Any] | None,
    intervals: Mapping[str, Any],
    sex: str | None,
    bsa_m2: float | None,
) -> list[dict[str, Any]]:
    """Put every number of a heart beside that of its scan, its interval and the reference ranges.

    Args:
        function: function of the generated heart (`cof.twins.function.heart_function`).
        recorded: the same of the scan, if it is a whole cine.
        intervals: `intervals` of the summary; empty without a calibrated model.
        sex: "F" or "M"; None takes the ranges of both.
        bsa_m2: body surface area in m2; None leaves out the numbers per m2.

    Returns:
        For each of `INDICES` a record: `name`, `key`, `unit`, `decimals`, and `generated`, `scan`, `interval`, `ranges`
        and `outside` as in `_beside`; with a body surface area, `per_m2` has those of the indexed number, None where
        a number is not indexed. What is not defined or not known is None.
    """
    records = []
    for index in INDICES:
        key = (index.ventricle, index.key)
        values = [None if one is None else one[index.ventricle][index.key] for one in (function, recorded)]
        found = intervals.get(index.key, {}) if index.ventricle == "LV" else {}
        interval = None if found.get("low") is None else [found["low"], found["high"]]
        record: dict[str, Any] = {
            "name": index.name,
            "key": f"{index.ventricle.lower()}_{index.key}",
            "unit": index.unit,
            "decimals": index.decimals,
            "interval": interval,
        }
        record |= _beside(values, ABSOLUTE.get(key, {}), sex, index.decimals)
        if bsa_m2 is not None:
            scaled = [None if value is None else round(value / bsa_m2, 2) for value in values]
            sized = not index.unit.startswith("%")
            record["per_m2"] = _beside(scaled, INDEXED.get(key, {}), sex, index.decimals) if sized else None
        records.append(record)
    return records


def _beside(values: list[float | None], ranges: Mapping[str, Range], sex: str | None, decimals: int) -> dict[str, Any]:
    """Return the values of the generated heart and of the scan, ranges by sex, and "low" or "high" where outside.

    A value is compared as it is printed, so that nobody reads 80 to 175 beside a marked 80.
    """
    generated, scan = values
    kept = {one: ranges[one] for one in SEXES if one in ranges and sex in (None, one)}
    printed = {one: Range(round(limits.low, decimals), round(limits.high, decimals)) for one, limits in kept.items()}
    outside = {
        one: "" if generated is None else limits.place(round(generated, decimals)) for one, limits in printed.items()
    }
    return {
        "generated": generated,
        "scan": scan,
        "ranges": {one: list(limits) for one, limits in printed.items()},
        "outside": outside,
    }
