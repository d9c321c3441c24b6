"""Segmentation against in-plane resolution (the paper's Fig. 8): bars of the bins, and cases with linear trends."""

import math
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cof.figures import style
from cof.figures.sources import NotDrawn, Sources
from cof.tables.bootstrap import Estimate
from cof.tables.few import few

SPACING = "spacing_in_plane_mm"
# Rows by frame, and the printed name.
MEASURES = {"dice": "Dice", "iou": "IoU", "hd95_mm": "HD95 (mm)"}
# Spacings that differ less are equal: headers round them.
LEAST_RANGE_MM = 0.01
_HALF_RANGE_MM = 0.05  # of the smallest range that is drawn
_LEAST_CASES = 3  # of a trend: a line goes through any two
_COLUMNS = ["kind", "measure", "structure", "subject", "low_mm", "high_mm", "spacing_mm", "value", "sd", "n"]
_TREND = ["slope", "slope_low", "slope_high", "intercept"]


def slope(values: np.ndarray) -> np.ndarray:
    """Return the slope of a least-squares line, of columns x, y [..., n, 2]; NaN if all x are equal."""
    x, y = (values[..., column] - values[..., column].mean(-1, keepdims=True) for column in (0, 1))
    below = np.asarray((x**2).sum(-1), float)
    return np.divide((x * y).sum(-1), below, out=np.full_like(below, np.nan), where=below > 1e-18)


def data(sources: Sources) -> pd.DataFrame:
    """Return the cases, the bins and the trends of every measure and structure, told apart by the column kind.

    case: spacing_mm and value of a subject, the mean over frames. bin: limits, mean spacing, mean, sd, n. trend: slope
    per mm of the least-squares line over all cases, its 95 % interval (`cof.tables.bootstrap`), and its intercept; NaN
    for fewer than three cases, and if their spacings are equal.

    Raises:
        NotDrawn: the metrics have no spacing, or fewer than two subjects have a measure.
    """
    spacing = sources.values(SPACING)
    if spacing.empty:
        raise NotDrawn(f"the metrics of '{sources.model}' have no rows {SPACING}")
    table = [
        row
        for measure in MEASURES
        for structure in style.STRUCTURE
        for row in _rows(sources, measure, structure, spacing)
    ]
    frame = pd.DataFrame(table, columns=[*_COLUMNS, *_TREND])
    if (frame["kind"] == "case").groupby([frame["measure"], frame["structure"]]).sum().max() < 2:
        raise NotDrawn(f"fewer than two subjects of '{sources.model}' have a spacing and Dice, IoU or HD95")
    return frame


def _rows(sources: Sources, measure: str, structure: str, spacing: pd.Series) -> list[dict[str, object]]:
    values = sources.values(measure, structure)
    values = values[values.index.isin(spacing.index)]
    at = spacing[values.index]
    told = {"measure": measure, "structure": structure}
    rows: list[dict[str, object]] = [
        told | {"kind": "case", "subject": subject, "spacing_mm": place, "value": value}
        for subject, place, value in zip(values.index, at, values)
    ]
    edges = bin_edges(spacing.to_numpy(), sources.settings.bins)
    place = np.clip(np.searchsorted(edges, at.to_numpy(), side="right") - 1, 0, len(edges) - 2)
    for index, (low, high) in enumerate(pairwise(edges)):
        inside = values[place == index]
        rows.append(
            told
            | {"kind": "bin", "low_mm": low, "high_mm": high, "n": len(inside)}
            | {"spacing_mm": at[inside.index].mean(), "value": inside.mean(), "sd": inside.std(ddof=1)}
        )
    pairs = np.column_stack([at, values]).astype(float)
    possible = len(pairs) >= _LEAST_CASES and np.ptp(pairs[:, 0]) > LEAST_RANGE_MM
    found = Estimate.none()
    if possible:
        found = Estimate.of(pairs, sources.evaluation.bootstrap, sources.evaluation.seed, slope)
    low, high = found.interval()
    trend = {"slope": found.value, "slope_low": low, "slope_high": high}
    trend["intercept"] = values.mean() - found.value * at.mean()
    return [*rows, told | {"kind": "trend", "n": len(pairs)} | trend]


def bin_edges(spacing_mm: np.ndarray, bins: int) -> np.ndarray:
    """Return the edges [bins + 1] of equal bins over the observed range; of one bin if the spacings are equal."""
    low, high = float(spacing_mm.min()), float(spacing_mm.max())
    return np.linspace(low, high, bins + 1) if high - low > LEAST_RANGE_MM else np.array([low, high])


def draw(frame: pd.DataFrame, sources: Sources) -> Figure:
    """Return one row per measure: bars of the bins with SD, and cases with bin means and linear trends."""
    figure = Figure(figsize=(style.WIDTH, 5.6), layout="constrained")
    grid = figure.subplots(len(MEASURES), 2, sharex="col", width_ratios=(1, 1.1))
    for (bars, cloud), (measure, printed) in zip(grid, MEASURES.items()):
        rows = frame[frame["measure"] == measure]
        if not (rows["kind"] == "case").any():
            bars.text(0.5, 0.5, f"no rows {measure}", ha="center", transform=bars.transAxes, color=style.MUTED)
        _bars(bars, rows[rows["kind"] == "bin"])
        _cloud(cloud, rows)
        bars.set_ylabel(printed, fontsize=8)
        for axes in (bars, cloud):
            axes.grid(axis="y")
    grid[0, 0].set_title("bins of equal width: mean, SD, n", loc="left")
    grid[0, 1].set_title("cases, bin means (large), linear trends", loc="left")
    grid[-1, 0].set_xlabel("in-plane spacing (mm), from – to")
    grid[-1, 1].set_xlabel("in-plane spacing (mm)")
    return figure


def _bars(axes: Axes, bins: pd.DataFrame) -> None:
    width = 0.27
    limits = bins[bins["structure"] == "LV"]
    for place, (structure, colour) in enumerate(style.STRUCTURE.items()):
        rows = bins[bins["structure"] == structure]
        across = np.arange(len(rows)) + (place - 1) * width
        axes.bar(across, rows["value"], width * 0.92, color=colour, label=style.SHORT[structure])
        axes.errorbar(across, rows["value"], rows["sd"], fmt="none", ecolor=style.INK, elinewidth=0.7, capsize=1.5)
    axes.set_xticks(
        range(len(limits)), [f"{low:.2f}–\n{high:.2f}" for low, high in zip(limits["low_mm"], limits["high_mm"])]
    )
    counts = bins.pivot(index="low_mm", columns="structure", values="n")
    for place, (_, found) in enumerate(counts.iterrows()):
        told = (
            "/".join(f"{found[name]:.0f}" for name in style.STRUCTURE) if found.nunique() > 1 else f"{found.max():.0f}"
        )
        axes.text(place, 0.99, f"n {told}", transform=axes.get_xaxis_transform(), ha="center", va="top", fontsize=6)
    axes.tick_params(axis="x", length=0)
    axes.margins(x=0.02, y=0.14)


def _cloud(axes: Axes, rows: pd.DataFrame) -> None:
    for structure, colour in style.STRUCTURE.items():
        own = rows[rows["structure"] == structure]
        cases, bins = own[own["kind"] == "case"], own[own["kind"] == "bin"]
        marker = style.MARKER[structure]
        axes.scatter(cases["spacing_mm"], cases["value"], 7, color=colour, marker=marker, alpha=0.45, linewidths=0)
        axes.scatter(
            bins["spacing_mm"], bins["value"], 42, color=colour, marker=marker, edgecolors=style.INK, linewidths=0.9,
            zorder=4,
        )  # fmt: skip
        trend = own[own["kind"] == "trend"].iloc[0]
        label = f"{style.SHORT[structure]}: {_slope(trend)}".replace(" (", "\n(")
        if math.isfinite(trend["slope"]):
            ends = np.array([cases["spacing_mm"].min(), cases["spacing_mm"].max()])
            axes.plot(ends, trend["intercept"] + trend["slope"] * ends, color=colour, linewidth=1.3, label=label)
        else:
            axes.plot([], [], color=colour, label=label)
    axes.ticklabel_format(axis="x", useOffset=False)
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, (low + high) / 2 - _HALF_RANGE_MM), max(high, (low + high) / 2 + _HALF_RANGE_MM))
    axes.legend(
        loc="center left", bbox_to_anchor=(1, 0.5), title="slope per mm (95 % interval)", title_fontsize=6.5,
        alignment="left", handlelength=1.2,
    )  # fmt: skip


def _slope(trend: pd.Series) -> str:
    if not math.isfinite(trend["slope"]):
        return "none: equal spacings or too few"
    found, low, high = (style.number(trend[name], "+.3f") for name in ("slope", "slope_low", "slope_high"))
    return f"{found} ({low} to {high})"


def remark(frame: pd.DataFrame, sources: Sources) -> str:
    """Return the number of subjects, and the rows that the metrics lack."""
    cases = frame[frame["kind"] == "case"]
    subjects = cases["subject"].nunique()
    said = [f"Model {sources.model}, {subjects} subjects."]
    if lacking := [measure for measure in MEASURES if measure not in set(cases["measure"])]:
        said.append(f"The metrics lack the rows {', '.join(lacking)}.")
    if warning := few(subjects):
        said.append(warning)
    return " ".join(said)


def numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Return mean, SD and n of every bin, and the slope of every trend: a row per measure and structure."""
    table = []
    for (measure, structure), rows in frame.groupby(["measure", "structure"], sort=False):
        bins = rows[rows["kind"] == "bin"]
        cells = {
            f"{one['low_mm']:.2f}–{one['high_mm']:.2f} mm": (
                "–" if not one["n"] else f"{one['value']:.3f} ± {one['sd']:.3f} (n {one['n']:.0f})"
            )
            for _, one in bins.iterrows()
        }
        trend = rows[rows["kind"] == "trend"].iloc[0]
        table.append(
            {"measure": MEASURES[str(measure)], "structure": structure, **cells, "slope per mm": _slope(trend)}
        )
    return pd.DataFrame(table)
