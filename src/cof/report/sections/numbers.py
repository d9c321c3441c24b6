"""The section of numbers: the configured tables, each with figures of its intervals and its anchors."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cof.config.evaluation import TableSettings
from cof.config.metrics import METRICS, Metric
from cof.report.artefacts import Missing, Results
from cof.report.origins import models_banner
from cof.report.plots import Theme
from cof.report.section import Sources
from cof.report.sections import radar
from cof.tables.few import few


def context(sources: Sources) -> dict[str, Any]:
    """Return the configured tables from `tables/{table}.csv`, each with a figure of its intervals.

    Columns without values are left out, and so are tables in which no metric has a value.
    """
    results, assets = sources.results, sources.assets
    found, missing, empty = [], [], []
    defined: set[str] = set()
    for name, settings in results.config.tables.items():
        path = results.root / "tables" / f"{name}.csv"
        if not path.is_file():
            missing.append(Missing(f"the table '{settings.title}'", f"tables/{name}.csv"))
            continue
        long = pd.read_csv(path, keep_default_na=False, na_values=[""], dtype={"config_hash": str, "row": str})
        known = [metric for metric in long["metric"].unique() if metric in METRICS]
        metrics = [METRICS[key] for key in known if long.loc[long["metric"] == key, "n"].max() > 0]
        if not metrics:
            empty.append((settings.title, _why_undefined(known, results)))
            continue
        defined |= {metric.key for metric in metrics}
        dropped = [key for key in known if METRICS[key] not in metrics]
        subjects = int(long["n"].max())
        rows = {
            str(row): {str(cell["metric"]): cell for _, cell in cells.iterrows()}
            for row, cells in long.groupby("row", sort=False)
        }
        alt = f"{settings.title}: mean of every metric with its 95 % interval, as in the table"
        lines = _by_anchor(results, settings, rows)
        over = f"{settings.title}: every metric over the phase of the anchor, for {', '.join(lines)}"
        found.append(
            {
                "name": name,
                "title": settings.title,
                "subjects": subjects,
                "few": few(subjects),
                "labelled": any(metric.rests_on_labels for metric in metrics),
                "trained_on": models_banner(results, settings.models),
                "dropped": [METRICS[key].label for key in dropped],
                "why_dropped": _why_undefined(dropped, results),
                "left_out": settings.left_out,
                "bootstrap": results.config.evaluation.bootstrap,
                "headings": [f"{metric.label}{f' ({metric.unit})' if metric.unit else ''}" for metric in metrics],
                "better": ["higher is better" if metric.better == "up" else "lower is better" for metric in metrics],
                "rows": [
                    (row, [_cell(cells[metric.key], metric) for metric in metrics]) for row, cells in rows.items()
                ],
                "floored": bool((long["mean"] <= long["floor"]).any()),
                "unbounded": bool(np.isinf(long.loc[long["metric"].str.contains("_interval_width_"), "mean"]).any()),
                "paper_cohort": next(iter(long["paper_cohort"].dropna()), None),
                "config_hash": str(long["config_hash"].iloc[0]),
                "cost": (results.root / "cost" / f"{name}.csv").is_file(),
                "figure": assets.figure(f"table-{name}", alt, intervals(rows, metrics)),
                "anchors": assets.figure(f"anchors-{name}", over, anchor_phases(lines, metrics)) if lines else None,
                "overview": radar.overview(assets, name, settings, rows, metrics),
            }
        )
    return {"tables": found, "missing": missing, "empty": empty, "defined": defined}


def _why_undefined(keys: list[str], results: Results) -> str:
    """Return why metrics have no value in this run; empty if their names do not show it."""
    if keys and all("exact" in key or "true" in key or METRICS[key].attainable for key in keys):
        return "" if results.synthetic else "the exact truth is known only for hearts that this software simulates"
    return ""


def _cell(cell: pd.Series, metric: Metric) -> dict[str, str]:
    """Return the value of one metric for one model as text; empty where there is none."""

    def text(key: str, sign: str = "") -> str:
        return "" if pd.isna(cell[key]) else f"{cell[key]:{sign}.{metric.decimals}f}"

    def interval(low: str, high: str, sign: str = "") -> str:
        return "" if pd.isna(cell[low]) else f"{text(low, sign)} to {text(high, sign)}"

    return {
        "n": str(cell["n"]),
        "mean": text("mean"),
        "sd": text("sd"),
        "seed_sd": text("seed_sd"),
        "interval": interval("ci_low", "ci_high"),
        "difference": text("difference", "+"),
        "difference_interval": interval("difference_ci_low", "difference_ci_high", "+"),
        "p_holm": "" if pd.isna(cell["p_holm"]) else f"{cell['p_holm']:.3f}",
        "at_floor": "yes" if cell["mean"] <= cell["floor"] else "",
        "paper": text("paper"),
    }


def intervals(rows: dict[str, dict[str, pd.Series]], metrics: Sequence[Metric]) -> Callable[[Theme], Figure]:
    """Return the figure of every model's mean with its 95 % interval, one panel per metric.

    Args:
        rows: rows of the table's long form, by printed name of the model and key of the metric.
        metrics: panels in order.
    """

    def draw(theme: Theme) -> Figure:
        across = min(4, len(metrics))
        down = -(-len(metrics) // across)
        figure = Figure(figsize=(1.35 + 1.95 * across, down * (0.26 * len(rows) + 0.75)), layout="constrained")
        grid = figure.subplots(down, across, squeeze=False, sharey=True)
        for axes, metric in zip(grid.ravel(), metrics):
            for level, cells in enumerate(rows.values()):
                cell = cells[metric.key]
                colour = theme.generated if level == 0 else theme.real
                axes.plot([cell["ci_low"], cell["ci_high"]], [level, level], color=colour, linewidth=2.2, alpha=0.55)
                axes.plot([cell["mean"]], [level], color=colour, marker="o", markersize=5, linestyle="none")
            unit = f" ({metric.unit})" if metric.unit else ""
            axes.set_title(f"{metric.label}{unit} {metric.arrow}", fontsize=9, loc="left")
            axes.set_ylim(len(rows) - 0.5, -0.5)
            axes.set_yticks(range(len(rows)), list(rows))
            axes.tick_params(axis="y", length=0)
            axes.xaxis.set_major_locator(MaxNLocator(3))
            axes.grid(axis="x")
        for axes in grid.ravel()[len(metrics) :]:
            axes.set_visible(False)
        return figure

    return draw


def _by_anchor(
    results: Results, settings: TableSettings, rows: dict[str, dict[str, pd.Series]]
) -> dict[str, list[tuple[float, dict[str, pd.Series]]]]:
    """Return the rows of every model that a table shows with several anchors, as pairs of anchor phase and row."""
    at: dict[str, list[tuple[float, dict[str, pd.Series]]]] = {}
    for name, printed in settings.models.items():
        model = results.config.models[name]
        if model.applied_model and model.anchored_at is not None and printed in rows:
            at.setdefault(model.applied_model, []).append((model.anchored_at, rows[printed]))
    for name, points in at.items():
        if settings.models.get(name) in rows:
            points.append((0.0, rows[settings.models[name]]))
        points.sort(key=lambda point: point[0])
    return {settings.models.get(name, name): points for name, points in at.items()}


def anchor_phases(
    lines: dict[str, list[tuple[float, dict[str, pd.Series]]]], metrics: Sequence[Metric]
) -> Callable[[Theme], Figure]:
    """Return the figure of every metric over the phase of the anchor, one panel per metric.

    Args:
        lines: pairs of anchor phase and the table's rows by metric, by printed name of the model.
        metrics: panels in order.
    """

    def draw(theme: Theme) -> Figure:
        across = min(3, len(metrics))
        down = -(-len(metrics) // across)
        figure = Figure(figsize=(2.9 * across, 2.0 * down + 0.5), layout="constrained")
        grid = figure.subplots(down, across, squeeze=False)
        colours = (theme.generated, theme.real, theme.exact, theme.ink)
        for axes, metric in zip(grid.ravel(), metrics):
            for place, (name, points) in enumerate(lines.items()):
                colour, phases = colours[place % len(colours)], [phase for phase, _ in points]
                cells = [row[metric.key] for _, row in points]
                low, high = ([cell[end] for cell in cells] for end in ("ci_low", "ci_high"))
                axes.plot(phases, [cell["mean"] for cell in cells], color=colour, marker="o", markersize=4, label=name)
                axes.vlines(phases, low, high, color=colour, linewidth=2.2, alpha=0.45)
            unit = f" ({metric.unit})" if metric.unit else ""
            axes.set_title(f"{metric.label}{unit} {metric.arrow}", fontsize=9, loc="left")
            axes.set_xlim(-0.05, 1)
            axes.yaxis.set_major_locator(MaxNLocator(4))
            axes.grid(axis="y")
        for axes in grid.ravel()[len(metrics) :]:
            axes.set_visible(False)
        figure.supxlabel("phase of the anchor (0 is end diastole)", fontsize=9)
        figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=len(lines), fontsize=8.5)
        return figure

    return draw
