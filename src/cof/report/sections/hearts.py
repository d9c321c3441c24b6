"""The section of real and generated hearts: synchronous cines, volume curves and function of held-out subjects."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cof.cine.volume import Cine, read_cine, read_labels
from cof.heart.function import time_to_end_systole, ventricular_function, volume_curve
from cof.heart.structures import STRUCTURES
from cof.quality.plausibility import Heart, doubts, measure
from cof.report import annotations
from cof.report.artefacts import Missing, Results
from cof.report.assets import Assets
from cof.report.origins import models_banner
from cof.report.plots import CURVE_NAMES, Theme
from cof.report.section import Sources
from cof.viewer import cines

# Position of the axes in the figure of a volume curve (left, bottom, width, height); the page's cursor needs it.
CURVE_AXES = (0.11, 0.17, 0.86, 0.78)
# Where `snakemake twins_export` writes the hearts that the report shows.
EXPORTS = "exports"
_DASHES = {"real": "-", "generated": (0, (5, 2)), "exact": (0, (1, 1.5))}


def context(sources: Sources) -> dict[str, Any]:
    """Return held-out subjects, real and generated: synchronous cines, volume curves, function."""
    results, assets = sources.results, sources.assets
    model = results.config.report.model
    twins = results.files(f"twins/{model}", ".nii")
    real = results.files("cine", ".nii")
    labels = results.files("labels", ".nii.gz")
    missing = [
        Missing(what, path)
        for found, what, path in (
            (twins, f"the hearts that '{model}' generated", f"twins/{model}"),
            (real, "the native cines", "cine"),
            (labels, "the labels of the real cines", "labels"),
        )
        if found is None
    ]
    if twins is None or real is None or labels is None:
        return {"model": model, "subjects": [], "missing": missing, "available": 0, "trained_on": []}
    held_out = [] if results.subjects is None else list(results.subjects.query("split == 'test'")["subject"])
    available = [
        subject
        for subject in held_out
        # A lone anchor has a generated heart but no real cine to compare with.
        if subject in twins and subject in labels and subject in real and read_cine(real[subject]).kind == "cycle"
    ]
    shown = available[: results.config.report.subjects]
    if results.synthetic and results.truth is None:
        missing.append(Missing("the exact truth of the synthetic cohort", "phantom/truth"))
    if not shown:
        missing.append(Missing("a held-out subject with a real cine and a generated one", f"twins/{model}"))
    return {
        "model": model,
        "subjects": [
            _heart(results, assets, f"heart-{index}", subject, real[subject], labels[subject], twins[subject])
            | {
                "page": _page(results, assets, model, subject),
                "remarks": _with_doubts(sources.remarks.get(subject, []), twins[subject]),
            }
            for index, subject in enumerate(shown, 1)
        ],
        "trained_on": models_banner(results, {model: model}) if shown else [],
        "missing": missing,
        "available": len(available),
        "held_out": len(held_out),
    }


def _heart(
    results: Results, assets: Assets, stem: str, subject: str, real_path: Path, labels_path: Path, twin_path: Path
) -> dict[str, Any]:
    """Return one held-out subject: data of the viewer, figure of the volume curves, table of function."""
    real, generated = read_cine(real_path), read_cine(twin_path)
    labels = {
        "real": read_labels(labels_path),
        "generated": read_labels(twin_path.with_name(f"{subject}.labels.nii.gz")),
    }
    exact = results.exact_labels(subject, real)
    if exact is not None:
        labels["exact"] = exact
    crop = cines.place_crop(np.asarray(real.frames[0]), labels["real"][0], real.spacing_mm)
    sheets = {
        "real": assets.add(f"{stem}-real.webp", cines.sprite_sheet(real.frames, crop)),
        "generated": assets.add(f"{stem}-generated.webp", cines.sprite_sheet(generated.frames, crop)),
    }
    data = cines.viewer_data(crop, {name: labels[name] for name in sheets})
    data |= {"rr_ms": real.rr_ms, "axes": CURVE_AXES}
    curves = {name: volume_curve(frames, STRUCTURES["LV"], real.spacing_mm) for name, frames in labels.items()}
    function = {name: ventricular_function(volumes, real.rr_ms) for name, volumes in curves.items()}
    drawn = (results.files("annotations", ".nii.gz") or {}).get(subject)
    expert = None if drawn is None else annotations.read(drawn, real)
    quantities = [
        ("EDV (mL)", [f"{values.edv_ml:.1f}" for values in function.values()]),
        ("ESV (mL)", [f"{values.esv_ml:.1f}" for values in function.values()]),
        ("SV (mL)", [f"{values.sv_ml:.1f}" for values in function.values()]),
        ("EF (%)", [f"{values.ef_pct:.1f}" for values in function.values()]),
        ("time to ES (ms)", [f"{time_to_end_systole(volumes, real.rr_ms):.0f}" for volumes in curves.values()]),
    ]
    points = []
    if expert is not None:
        by_expert = annotations.function(expert)
        quantities = [(name, [annotations.number(by_expert.get(name, math.nan)), *cells]) for name, cells in quantities]
        points = [(frame / len(real.frames), expert.volume_ml(m, "LV")) for m, frame in expert.frames.items()]
    alt = "LV volume over the cycle: " + "; ".join(
        f"{CURVE_NAMES[name]}, from {values.edv_ml:.0f} mL at end diastole to {values.esv_ml:.0f} mL at end systole"
        for name, values in function.items()
    )
    return {
        "name": subject,
        "facts": _subject_facts(results, subject, real),
        "viewer": data,
        "curve": assets.figure(f"{stem}-volume", alt, volume_curves(curves, points)),
        "cursor": {"top": 1 - CURVE_AXES[1] - CURVE_AXES[3], "height": CURVE_AXES[3]},
        "function": [(name, CURVE_NAMES[name]) for name in (*(["expert"] if expert else []), *function)],
        "quantities": quantities,
        "slices": [index + 1 for index in crop.slices],
        "sheets": sheets,
    }


def _page(results: Results, assets: Assets, model: str, subject: str) -> str | None:
    """Copy the page of one heart beside the report and return its address; None if the run has not made it."""
    page = results.root / EXPORTS / model / subject / "page" / f"{subject}.html"
    return assets.add(page.name, page.read_bytes()) if page.is_file() else None


def _with_doubts(remarks: list[str], twin: Path) -> list[str]:
    """Return the remarks on a subject and the doubts about its generated heart that the real heart does not share."""
    cine = read_cine(twin)
    labels = read_labels(twin.with_name(f"{twin.stem}.labels.nii.gz"))
    found = doubts(measure(Heart.of(labels, cine.spacing_mm, cine.rr_ms)))
    real, generated = (CURVE_NAMES[name] for name in ("real", "generated"))
    return remarks + [doubt.of(generated) for doubt in found if doubt.of(real) not in remarks]


def _subject_facts(results: Results, subject: str, cine: Cine) -> list[str]:
    """Return short facts: heart rates in both examinations, diagnosis categories of the ECG."""
    facts = [f"{60000 / cine.rr_ms:.0f} bpm in the scanner"]
    cycle, strip = results.row("beats", subject), results.row("ecg", subject)
    if cycle is not None:
        facts.append(f"{60000 / cycle['rr_ms']:.0f} bpm in the chosen ECG cycle")
    if strip is not None:
        facts.append("ECG: " + (", ".join(strip["categories"]) or "no category"))
    return facts


def volume_curves(
    curves: dict[str, np.ndarray], expert: Sequence[tuple[float, float]] = ()
) -> Callable[[Theme], Figure]:
    """Return the figure of the LV volume over one cycle.

    Args:
        curves: volumes in mL at equally spaced phases, by the name of the heart: real, generated or exact.
        expert: phase and volume in mL of the frames that an expert annotated.
    """

    def draw(theme: Theme) -> Figure:
        figure = Figure(figsize=(4.8, 2.7))
        axes = figure.add_axes(CURVE_AXES)
        for name, volumes in curves.items():
            phase = np.arange(len(volumes) + 1) / len(volumes)
            closed = np.append(volumes, volumes[0])
            axes.plot(
                phase, closed, color=theme.series(name), linestyle=_DASHES[name], linewidth=1.8, label=CURVE_NAMES[name]
            )
        if expert:
            phases, drawn = zip(*expert)
            axes.plot(
                phases,
                drawn,
                "D",
                color=theme.expert,
                markersize=5,
                clip_on=False,
                zorder=3,
                label=CURVE_NAMES["expert"],
            )
        axes.set_xlim(0, 1)
        largest = [*(float(volumes.max()) for volumes in curves.values()), *(volume for _, volume in expert)]
        axes.set_ylim(0, 1.12 * max(largest))
        axes.set_xlabel("phase of the cycle (0 is end diastole)", labelpad=2)
        axes.set_ylabel("LV volume (mL)")
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.grid(axis="y")
        axes.legend(loc="best", fontsize=8.5)
        return figure

    return draw
