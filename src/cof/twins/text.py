"""The summary of one generated heart as plain text for a terminal: at most 100 characters wide, ASCII only."""

import textwrap
from collections.abc import Mapping
from typing import Any

from cof.errors import redact
from cof.heart.reference_ranges import SEXES
from cof.twins.artefacts import notices
from cof.twins.exports.heart import SYNTHETIC

WIDTH = 100
_LABEL = 12  # width of the words that begin a paragraph
_ED_BY = {
    "sheet": "as named",
    "annotation": "by an expert's contours",
    "trigger": "by the trigger times",
    "image": "by the images: the frame with most blood",
}
_MARK_OF = {"": "", "low": "L", "high": "H"}
_MARKS = (("low_quality", "low quality"), ("irregular", "irregular rhythm"), ("paced", "paced"))


def text_of(summary: Mapping[str, Any]) -> str:
    """Return the content of `summary.json` as text; what an older summary lacks is left out."""
    parts = [f"Generated heart, by the model {summary['model']}: {SYNTHETIC.upper()}", ""]
    parts += [_paragraph(*one) for one in (*_patient(summary), *_read(summary))]
    parts += ["", *numbers(summary), ""]
    parts += [_paragraph(*one) for one in (*_ranges(summary), *_cautions(summary))]
    return redact("\n".join(parts)).encode("ascii", "replace").decode()


def _paragraph(label: str, said: str) -> str:
    label, indent = label.ljust(_LABEL), " " * _LABEL
    return textwrap.fill(said, WIDTH, initial_indent=label, subsequent_indent=indent, break_on_hyphens=False)


def _patient(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    patient = summary.get("patient")
    if patient is None:
        return []
    words = {
        "sex": lambda sex: {"F": "woman", "M": "man"}[sex],
        "age_y": _age,
        "height_cm": lambda height: f"{height:.0f} cm",
        "weight_kg": lambda weight: f"{weight:.0f} kg",
    }
    by = patient["stated_by"]
    known = [f"{word(patient[name])} (by the {by[name]})" for name, word in words.items() if patient[name] is not None]
    said = ", ".join(known) or "sex, age and size are not known"
    if patient["bsa_m2"] is not None:
        said += f"; body surface {patient['bsa_m2']:.2f} m2 ({patient['bsa_formula']})"
    else:
        said += "; --height and --weight give the numbers per m2 of body surface"
    return [("Patient", said), *(("", remark) for remark in patient["remarks"])]


def _age(years: float) -> str:
    """Return an age in completed years, of small children in months."""
    return f"{int(years)} years" if years >= 2 else f"{round(12 * years)} months"


def _read(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what was read of ECG and scan."""
    ecg, scan = summary["ecg"], summary["scan"]
    rates = [(scan.get("rr_ms"), "scan"), (None if ecg is None else ecg.get("rr_ms"), "ECG")]
    told = [f"{60_000 / rr_ms:.0f} bpm by the {name}" for rr_ms, name in rates if rr_ms]
    found = [("Heart rate", ", ".join(told) or "not known: neither a cine nor an ECG tells it")]
    if ecg is None:
        found.append(("ECG", "none: the motion is predicted from the anatomy alone"))
    else:
        heard = [f"by the device's statements: {', '.join(ecg.get('categories', [])) or 'unclassified'}"]
        heard += [f"possibly {name}" for name in ecg.get("soft_categories", [])]
        heard += [words for key, words in _MARKS if ecg.get(key)]
        if ecg.get("ectopic_beats"):
            heard.append(f"{ecg['ectopic_beats']} ectopic beats")
        if ecg.get("suspected_reversal"):
            heard.append(f"electrodes may be exchanged ({ecg['suspected_reversal']})")
        found.append(("ECG", "; ".join(heard)))
    if scan.get("kind") == "anchor":
        found.append(("Scan", f"one volume of {scan['slices']} slices, taken to show {_phase(scan)}"))
    elif "frames" in scan:
        by = _ED_BY.get(scan["ed_by"], "as stored")
        said = f"{scan['frames']} frames of {scan['slices']} slices; ED is frame {scan['rolled_by']}, {by} "
        found.append(("Scan", f"{said}(frames are counted from 0); the model saw one frame, at {_phase(scan)}"))
    return found


def _phase(scan: Mapping[str, Any]) -> str:
    phase = scan["anchor_phase"]
    return f"phase {phase:g} of the cycle" if phase else "ED"


def numbers(summary: Mapping[str, Any]) -> list[str]:
    """Return the lines of the table of numbers, or why there is none; no lines for a summary without `indices`."""
    if summary.get("labels", {}).get("doubtful"):
        return ["Function    not shown: the labels are doubtful. Look at them first (twin.labels.nii.gz)."]
    records = summary.get("indices", [])
    if not records:
        return []
    sexes = [sex for sex in SEXES if any(sex in record["ranges"] for record in records)]
    columns = [_column("", [record[name] for record in records], left=True) for name in ("name", "unit")]
    columns += _side(records, sexes, "generated", records)
    if any(record["interval"] for record in records):
        columns.insert(3, _column("interval", [_limits(record["interval"], record) for record in records]))
    indexed = [record.get("per_m2") for record in records]
    if any(indexed):
        columns += _side(indexed, sexes, "per m2", records)
    return ["  ".join(cells).rstrip() for cells in zip(*columns, strict=True)]


def _side(sides: list[Any], sexes: list[str], header: str, records: list[Any]) -> list[list[str]]:
    """Return the columns of numbers, of the scan if it has any, and of the ranges of each sex with their marks."""
    absolute = header == "generated"
    pairs = list(zip(sides, records, strict=True))
    columns = [_column(header, [_value(side and side["generated"], record, absolute) for side, record in pairs])]
    if absolute and any(record["scan"] is not None for record in records):
        columns.append(_column("scan", [_value(side["scan"], record, absolute) for side, record in pairs]))
    for sex in sexes:
        missing = "no range" if absolute else ""
        ranges = [_limits(side and side["ranges"].get(sex), record) or missing for side, record in pairs]
        marks = [_MARK_OF[(side or {}).get("outside", {}).get(sex, "")] for side in sides]
        marked = [f"{limits} {mark or ' '}" if any(marks) else limits for limits, mark in zip(ranges, marks)]
        columns.append(_column(f"{SEXES[sex]}  " if any(marks) else SEXES[sex], marked))
    return columns


def _column(header: str, cells: list[str], left: bool = False) -> list[str]:
    width = max(map(len, (header, *cells)))
    return [cell.ljust(width) if left else cell.rjust(width) for cell in (header, *cells)]


def _value(value: float | None, record: Mapping[str, Any], absolute: bool) -> str:
    if value is None:
        return "unknown" if absolute else ""
    return f"{value:.{record['decimals']}f}"


def _limits(limits: Any, record: Mapping[str, Any]) -> str:
    if not limits:
        return ""
    low, high = (f"{limit:.{record['decimals']}f}" for limit in limits)
    return f"{low}-{high}"


def _ranges(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    reference, patient = summary.get("reference"), summary.get("patient")
    if reference is None or patient is None:
        return []
    low, high = reference["ages_y"]
    source = f"{reference['source']}, doi {reference['doi']}"
    said = f"95 % of {reference['population']} ({source}); {reference['limits']}. "
    said += "H or L: the generated value is higher or lower"
    found = [("Ranges", said)]
    if patient["sex"] is None:
        found.append(("", "The sex is not known: both ranges are shown (--sex)."))
    if patient["age_y"] is not None and not low <= int(patient["age_y"]) <= high:
        found.append(("", f"The patient is {_age(patient['age_y'])} old: these ranges are of ages {low} to {high}."))
    return found


def _cautions(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return repairs, doubts and notices, one paragraph each."""
    named = (("ECG", summary["ecg"] or {}), ("scan", summary["scan"]))
    repairs = [f"{name}: {repair}" for name, read in named for repair in read.get("repairs", [])] or ["none"]
    doubts = [f"{warning['of']}: {warning['message']}" for warning in summary["warnings"]]
    labels = summary.get("labels", {})
    if labels.get("message") and not labels["doubtful"]:
        doubts.append(f"labels of the scan: {labels['message']} (from 1 at the base); the stack as a whole is trusted")
    intervals = summary.get("intervals", {})
    note = intervals.get("note", "")
    if "coverage" in intervals:
        note = f"for {100 * intervals['coverage']:.0f} % of hearts. {note}"
    lists = (("Repairs", repairs), ("Doubts", doubts or ["none"]), ("Intervals", [note] if note else []))
    found = [(label if not at else "", said) for label, texts in lists for at, said in enumerate(texts)]
    first, *more = notices(summary)
    return [
        *found,
        *(("Notices" if not at else "", said) for at, said in enumerate([*more, summary.get("notice", first)])),
    ]
