"""Functional agreement by ECG category (the paper's Fig. 6): bootstrap distributions of r, and r without an ECG."""

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MultipleLocator

from cof.figures import style
from cof.figures.function import ALL, EDV, INDICES, groups
from cof.figures.sources import NotDrawn, Sources
from cof.tables.bootstrap import resampled
from cof.tables.statistics import Statistic, partial_correlation, pearson

MODEL, MEAN, SIZE, PARTIAL = "model", "population mean", "EDV alone", "model, given EDV"
CURVE = "LV curve"
_QUANTILES = {"low": 0.025, "q1": 0.25, "median": 0.5, "q3": 0.75, "high": 0.975}
_COLUMNS = ["category", "index", "predictor", "n", "r", *_QUANTILES, "undefined", "drawn"]
_FACE = {MODEL: style.GENERATED, MEAN: style.REAL, SIZE: "#9aa3ad", PARTIAL: "#f6cdb3"}
_STEP = 0.19


def data(sources: Sources) -> pd.DataFrame:
    """Return one row per category, index and predictor.

    Columns: n, r, percentiles of r in bootstrap resamples (for the LV curve: mean and percentiles of the subjects' own
    r), undefined (resamples without variance, which the percentiles leave out), and whether the category is drawn.

    Raises:
        NotDrawn: the metrics have no functional indices.
    """
    groups_of = groups(sources)
    rows: list[dict[str, object]] = []
    for index, predictor, values, statistic in _samples(sources):
        for category, subjects in groups_of.items():
            own = values if subjects is None else values[values.index.isin(subjects)]
            drawn = len(own) >= sources.settings.least_subjects
            told = {"category": category, "index": index, "predictor": predictor, "n": len(own), "drawn": drawn}
            rows.append(told | _distribution(own.to_numpy(float), statistic, sources))
    if not rows:
        raise NotDrawn(f"the metrics of '{sources.model}' have no functional indices, such as ef_pct")
    frame = pd.DataFrame(rows, columns=_COLUMNS)
    order = {name: place for place, name in enumerate(groups_of)}
    return frame.sort_values("category", key=lambda names: names.map(order), kind="stable", ignore_index=True)


def _samples(sources: Sources) -> Iterator[tuple[str, str, pd.DataFrame, Statistic | None]]:
    """Yield index, predictor, its values by subject, and the statistic over subjects; None for values of their own."""
    mean = sources.settings.population_mean
    size = EDV.pairs(sources)["real"].rename("size")
    for index in INDICES:
        pairs = index.pairs(sources)
        if pairs.empty:
            continue
        yield index.printed, MODEL, pairs, pearson
        if mean is not None:
            yield index.printed, MEAN, index.pairs(sources, mean), pearson
        if index is not EDV:
            known = pairs.join(size, how="inner")
            yield index.printed, SIZE, known[["size", "real"]], pearson
            yield index.printed, PARTIAL, known, partial_correlation
    for predictor, model in ((MODEL, sources.model), (MEAN, mean)):
        if model is not None and len(values := sources.values("lv_curve_r", "LV", model)):
            yield CURVE, predictor, values.to_frame(), None


def _distribution(values: np.ndarray, statistic: Statistic | None, sources: Sources) -> dict[str, float]:
    """Return r and its percentiles; NaN where there is nothing to resample."""
    if statistic is None:
        draws, found = values[:, 0], float(values.mean()) if len(values) else math.nan
    else:
        found = float(statistic(values)) if len(values) > 1 else math.nan
        draws = resampled(values, sources.evaluation.bootstrap, sources.evaluation.seed, statistic)
    defined = draws[np.isfinite(draws)]
    levels = np.quantile(defined, list(_QUANTILES.values())) if len(defined) else [math.nan] * len(_QUANTILES)
    return {"r": found, **dict(zip(_QUANTILES, map(float, levels))), "undefined": len(draws) - len(defined)}


def draw(frame: pd.DataFrame, sources: Sources) -> Figure:
    """Return one panel per index, with a group of boxes per category.

    Raises:
        NotDrawn: no category has enough subjects.
    """
    shown = frame[frame["drawn"] & frame["median"].notna()]
    if shown.empty:
        raise NotDrawn(
            f"only {frame['n'].max()} subjects of '{sources.model}'; a category with fewer than "
            f"{sources.settings.least_subjects} (figures.least_subjects) is not drawn; the CSV file has its values"
        )
    names = list(dict.fromkeys(shown["category"]))
    panels = [index.printed for index in INDICES] + [CURVE]
    figure = Figure(figsize=(style.WIDTH, 2 * (0.55 + 0.4 * len(names)) + 0.6), layout="constrained")
    grid = figure.subplots(2, 3, sharey=True)
    counts = frame[frame["index"] == "EF"].groupby("category")["n"].max()
    labels = [f"{name}\nn {counts.get(name, frame[frame['category'] == name]['n'].max())}" for name in names]
    lowest = float(shown.loc[shown["index"] != CURVE, "low"].min())
    for axes, panel in zip(grid.ravel(), panels):
        if panel != CURVE:
            axes.set_xlim(min(0.0, np.floor(10 * lowest) / 10), 1.03)
            axes.xaxis.set_major_locator(MultipleLocator(0.5))
        _panel(axes, shown[shown["index"] == panel], names, labels)
        axes.set_title(panel if panel != CURVE else "LV curve, r of each subject", loc="left")
    known = [name for name in _FACE if name in set(shown["predictor"])]
    handles = [Patch(facecolor=_FACE[name], edgecolor=style.INK, linewidth=0.6, label=name) for name in known]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, names: list[str], labels: list[str]) -> None:
    known = [name for name in _FACE if name in set(rows["predictor"])]
    for predictor in known:
        own = rows[rows["predictor"] == predictor]
        shift = (known.index(predictor) - (len(known) - 1) / 2) * _STEP
        places = np.array([names.index(category) for category in own["category"]]) + shift
        boxes = [
            {"med": one["median"], "q1": one["q1"], "q3": one["q3"], "whislo": one["low"], "whishi": one["high"]}
            for _, one in own.iterrows()
        ]
        line = {"color": style.INK, "linewidth": 0.6}
        axes.bxp(
            boxes, places, orientation="horizontal", widths=0.8 * _STEP, showfliers=False, patch_artist=True,
            boxprops={"facecolor": _FACE[predictor], "edgecolor": style.INK, "linewidth": 0.5},
            medianprops=line, whiskerprops=line, capprops=line, manage_ticks=False,
        )  # fmt: skip
        axes.plot(own["r"], places, "D", color="white", markeredgecolor=style.INK, markeredgewidth=0.5, markersize=2.2)
    if len(rows) and (rows["low"] > 1 - 1e-9).all():
        axes.text(0.5, 0.5, "1 by construction:\nthe anchor is copied", transform=axes.transAxes, ha="center")
    if rows.empty:
        axes.text(0.5, 0.5, "no rows", transform=axes.transAxes, ha="center", color=style.MUTED)
    for place in range(1, len(names), 2):
        axes.axhspan(place - 0.5, place + 0.5, color="#f3f5f7", linewidth=0, zorder=0)
    axes.set_yticks(range(len(names)), labels)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")


def remark(frame: pd.DataFrame, sources: Sources) -> str:
    """Return the numbers of subjects and resamples, and the categories that are not drawn."""
    counts = frame.groupby("category", sort=False)["n"].max()
    said = [f"Model {sources.model}, {counts[ALL]} subjects, {sources.evaluation.bootstrap} resamples."]
    if sources.settings.population_mean is None:
        said.append("The run has no population-mean motion.")
    drawn = frame.groupby("category", sort=False)["drawn"].any()
    if few := [f"{name} (n {counts[name]})" for name in counts.index if not drawn[name]]:
        least = sources.settings.least_subjects
        said.append(f"Not drawn, with fewer than {least} subjects: {', '.join(few)}; the CSV file has their values.")
    if undefined := int(frame.loc[frame["drawn"], "undefined"].sum()):
        said.append(f"{undefined} resamples without variance are left out.")
    return " ".join(said)


def numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Return r with its 95 % interval: a row per category and index, a column per predictor."""
    cells = frame.assign(text=[_interval(one) for _, one in frame.iterrows()])
    table = []
    for (category, index), rows in cells.groupby(["category", "index"], sort=False):
        found = dict(zip(rows["predictor"], rows["text"]))
        table.append({"category": category, "index": index, "n": str(rows["n"].max())}
                     | {name: found.get(name, "–") for name in _FACE})  # fmt: skip
    return pd.DataFrame(table)


def _interval(row: pd.Series) -> str:
    """Return r with its interval as text."""
    low, r, high = (style.number(row[name], ".2f") for name in ("low", "r", "high"))
    return r if math.isnan(row["r"]) else f"{r} ({low} to {high})"
