"""Quality pages: a table of all subjects, and one page for each flagged subject and some others.

A large cohort must not become thousands of large pages. A page is therefore one small HTML file and a few small
images, and `report.qc_flagged` and `report.qc_others` limit their number.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from cof.artefacts.parquet import read_table
from cof.cine.volume import read_cine, read_labels
from cof.config.evaluation import ReportSettings
from cof.ecg.record import Ecg
from cof.heart.function import volume_curve
from cof.heart.structures import STRUCTURES
from cof.quality.catalogue import MEASURES
from cof.report.artefacts import SPLITS, Results
from cof.report.assets import Assets
from cof.report.judged import Judged, limit_text, value_text
from cof.report.plots import render_small
from cof.report.sections.ecg import ecg_strip
from cof.report.sections.hearts import volume_curves
from cof.viewer import cines

OUTLINES = ("endocardium", "epicardium", "rv")


def choose(judged: list[Judged], settings: ReportSettings) -> list[Judged]:
    """Return the subjects that get a page: those with the most flags and doubts, and some others, evenly spread."""
    flagged = sorted((s for s in judged if s.weight), key=lambda s: (-s.weight, s.name))
    rest = [subject for subject in judged if not subject.weight]
    spread = np.unique(np.linspace(0, len(rest) - 1, min(settings.qc_others, len(rest))).round().astype(int))
    return flagged[: settings.qc_flagged] + [rest[index] for index in spread]


def build(results: Results, out: Path, pages: jinja2.Environment, judged: list[Judged], banner: Any) -> None:
    """Write the table of all subjects as HTML and CSV, and the pages of chosen subjects, into the folder `out`.

    Nothing is written for a run without measures.

    Args:
        results: results of the run.
        out: a folder that does not exist yet.
        pages: the template environment.
        judged: result of `judge`.
        banner: notice about the labels (`cof.report.origins.labels_banner`), or None.
    """
    if not judged:
        return
    out.mkdir()
    chosen = choose(judged, results.config.report)
    named = {subject.name for subject in chosen}
    table = pd.DataFrame([{"subject": s.name, "split": s.split} | s.values for s in judged])
    for column, kind in (("flags", "flags"), ("left_out_for", "excluded")):
        table[column] = [" ".join(measure.key for measure in getattr(subject, kind)) for subject in judged]
    table["not_plausible"] = [" ".join(doubt.check.key for doubt in subject.doubts) for subject in judged]
    table.to_csv(out / "quality.csv", index=False, float_format="%.6g")
    context = {"kind": results.kind, "measures": MEASURES, "splits": SPLITS, "text": value_text}
    context |= {"banner": banner}
    index = pages.get_template("qc_index.html").render(context, subjects=judged, named=named)
    (out / "index.html").write_text(index)
    page = pages.get_template("qc_subject.html")
    assets = Assets(out / "assets")
    order = [subject.name for subject in chosen]
    for subject, strip, cycle in _with_ecgs(results, chosen):
        place = order.index(subject.name)
        shown = {
            "subject": subject,
            "rows": _rows(results, subject, table),
            "heart": _heart(results, assets, subject.name),
            "strip": _strip(assets, subject.name, strip, cycle),
            "before": order[place - 1] if place else None,
            "after": order[place + 1] if place + 1 < len(order) else None,
        }
        (out / f"{subject.name}.html").write_text(page.render(context, **shown))


def _with_ecgs(results: Results, chosen: list[Judged]) -> Iterator[tuple[Judged, Any, Any]]:
    """Yield each subject with its rows of `ecg` and `beats` (or None), with one batch in memory at a time."""
    for batch in sorted({subject.batch for subject in chosen}):
        tables = []
        for stage in ("ecg", "beats"):
            path = results.root / stage / f"{batch}.parquet"
            tables.append(read_table(path).set_index("subject") if path.is_file() else pd.DataFrame())
        for subject in chosen:
            if subject.batch == batch:
                strip, cycle = (rows.loc[subject.name] if subject.name in rows.index else None for rows in tables)
                yield subject, strip, cycle


def _rows(results: Results, subject: Judged, table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the subject's measures as text, with limits, the cohort's median and the rank in the cohort."""
    limits = results.config.quality
    rows = []
    for measure in MEASURES:
        value, known = subject.values[measure.key], table[measure.key].dropna()
        worse = (known > value) if measure.worse == "high" else (known < value)
        rows.append(
            vars(measure)
            | {
                "value": value_text(measure, value),
                "flag": limit_text(measure, getattr(limits.flag, measure.key)),
                "exclude": limit_text(measure, getattr(limits.exclude, measure.key)),
                "beyond": "left out" if measure in subject.excluded else "flagged" if measure in subject.flags else "",
                "median": value_text(measure, float(known.median())) if len(known) else "",
                "rank": f"{int(worse.sum()) + 1} of {len(known)}" if np.isfinite(value) and known.nunique() > 1 else "",
            }
        )
    return rows


def _heart(results: Results, assets: Assets, name: str) -> dict[str, Any] | None:
    """Return all slices at ED and ES as one image with contours, and the volume curve; None without cine or labels."""
    real, labels = results.files("cine", ".nii"), results.files("labels", ".nii.gz")
    if real is None or labels is None or name not in real or name not in labels:
        return None
    cine, drawn = read_cine(real[name]), read_labels(labels[name])
    curve = volume_curve(drawn, STRUCTURES["LV"], cine.spacing_mm)
    moments = [0, int(curve.argmin())]
    crop = cines.place_crop(np.asarray(cine.frames[0]), drawn[0], cine.spacing_mm)
    middle = crop.slices[len(crop.slices) // 2]
    crop = replace(crop, slices=tuple(range(drawn.shape[1])))
    rows, columns = crop.tile()
    outlines = cines.contours(drawn[moments], crop)
    alt = f"LV volume over the cycle, from {curve[0]:.0f} mL at end diastole to {curve.min():.0f} mL at end systole"
    return {
        "sheet": assets.add(f"{name}.webp", cines.sprite_sheet(cine.frames[moments], crop)),
        "rows": rows,
        "columns": columns,
        "aspect": columns * crop.spacing_mm[1] / (rows * crop.spacing_mm[0]),
        "middle": middle,
        "slices": len(crop.slices),
        "frames": len(cine.frames),
        "moments": [("ED", 0), (f"ES, frame {moments[1]}", 1)][: 1 + (len(curve) > 1)],
        "paths": [
            [[(kind, _path(polygons)) for kind, polygons in zip(OUTLINES, frame)] for frame in level]
            for level in outlines
        ],
        "curve": assets.figure(f"{name}-volume", alt, volume_curves({"real": curve})),
        "spacing": " x ".join(f"{spacing:.2f}" for spacing in cine.spacing_mm),
        "repairs": cine.repairs,
    }


def _path(polygons: list[list[float]]) -> str:
    """Return polygons as the attribute `d` of an SVG path."""
    return "".join("M" + " ".join(f"{value:g}" for value in polygon) + "z" for polygon in polygons)


def _strip(assets: Assets, name: str, strip: Any, cycle: Any) -> dict[str, Any] | None:
    """Return the figure of the ECG with the chosen cycle marked; None without an ECG."""
    if strip is None:
        return None
    record = Ecg.from_row(strip)
    first, last = (0, 0) if cycle is None else (int(cycle["first_sample"]), int(cycle["last_sample"]))
    drawn = render_small(ecg_strip(record.signal, record.rate_hz, first, last))
    return {
        "image": assets.add(f"{name}-ecg.webp", drawn),
        "statements": list(record.statements),
        "rr_ms": None if cycle is None else float(cycle["rr_ms"]),
    }
