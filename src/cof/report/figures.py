"""The report's figures: arrays in, SVG out, in a light and a dark rendering with the same bytes on every run."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from cof.config.metrics import Metric
from cof.ecg.record import LEADS

PAPER_MM_PER_S = 25.0
PAPER_MM_PER_MV = 10.0
INCH_MM = 25.4
SMALL_DPI = 110

# Where the axes of a volume curve lie in its figure (left, bottom, width, height): the page moves a cursor over them.
CURVE_AXES = (0.11, 0.17, 0.86, 0.78)


@dataclass(frozen=True)
class Theme:
    """Colours of one rendering; the page's style sheet uses the same ones."""

    name: str
    ink: str
    muted: str
    rule: str
    paper_minor: str
    paper_major: str
    highlight: str
    real: str
    generated: str
    exact: str

    @property
    def expert(self) -> str:
        """The colour of what an expert drew."""
        return self.ink

    def series(self, name: str) -> str:
        """The colour of the real, generated or exact heart."""
        return str(getattr(self, name))


THEMES = (
    Theme("light", "#1b1f24", "#5b6570", "#d9dee3", "#f6e3e1", "#eec4c0", "#ffd54a", "#0f6ba8", "#c2410c", "#3f7d20"),
    Theme("dark", "#e8eaed", "#a4adb8", "#363d46", "#3a2a2c", "#54393b", "#8a6d00", "#72bdf0", "#ff9d66", "#9ad06e"),
)

# What the volumes of a heart were counted in, by the name of its curve.
CURVE_NAMES = {
    "real": "labels of the real cine",
    "generated": "labels of the generated heart",
    "exact": "exact truth",
    "expert": "expert's contours",
}

_DASHES = {"real": "-", "generated": (0, (5, 2)), "exact": (0, (1, 1.5))}


def _style(theme: Theme) -> Any:
    """Matplotlib's settings for one rendering."""
    return {
        "svg.hashsalt": "chain-of-flow",
        "svg.fonttype": "path",
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "text.color": theme.ink,
        "axes.labelcolor": theme.ink,
        "axes.edgecolor": theme.muted,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.color": theme.muted,
        "ytick.color": theme.muted,
        "xtick.labelcolor": theme.ink,
        "ytick.labelcolor": theme.ink,
        "grid.color": theme.rule,
        "grid.linewidth": 0.6,
        "path.simplify_threshold": 0.3,
        "legend.frameon": False,
        "hatch.color": theme.rule,
    }


def render(draw: Callable[[Theme], Figure]) -> dict[str, bytes]:
    """The figure that `draw` makes, as SVG for each theme.

    The bytes depend on the data alone: ids come from a fixed salt, and no date is written.
    """
    images = {}
    for theme in THEMES:
        with mpl.rc_context(_style(theme)):
            buffer = io.BytesIO()
            draw(theme).savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
        images[theme.name] = buffer.getvalue()
    return images


def render_small(draw: Callable[[Theme], Figure]) -> bytes:
    """The figure that `draw` makes as one WebP on white, for figures of which there are very many."""
    with mpl.rc_context(_style(THEMES[0])):
        buffer = io.BytesIO()
        draw(THEMES[0]).savefig(
            buffer, format="webp", dpi=SMALL_DPI, facecolor="white", pil_kwargs={"quality": 55, "method": 4}
        )
    return buffer.getvalue()


def _paper(axes: Axes, theme: Theme, seconds: float, height_mv: float) -> None:
    """ECG paper: small squares of 40 ms by 0.1 mV, large ones of 200 ms by 0.5 mV."""
    axes.set_xlim(0, seconds)
    axes.set_ylim(0, height_mv)
    axes.set_axis_off()
    for across, up, colour, width in (
        (0.04, 0.1, theme.paper_minor, 0.35),
        (0.2, 0.5, theme.paper_major, 0.6),
    ):
        columns, rows = np.arange(0, seconds + 1e-9, across), np.arange(0, height_mv + 1e-9, up)
        lines = [[(x, 0), (x, height_mv)] for x in columns] + [[(0, y), (seconds, y)] for y in rows]
        axes.add_collection(LineCollection(lines, colors=colour, linewidths=width, zorder=0), autolim=False)


def ecg_strip(signal: np.ndarray, rate_hz: float, first_sample: int, last_sample: int) -> Callable[[Theme], Figure]:
    """A 12-lead ECG on paper (25 mm/s, 10 mm/mV): three rows of four leads and a rhythm strip of lead II.

    Args:
        signal: [12, N] mV, leads in the order of `cof.ecg.record.LEADS`.
        rate_hz: sampling rate.
        first_sample, last_sample: the chosen cycle, marked wherever those samples are drawn.
    """

    def draw(theme: Theme) -> Figure:
        samples = signal.shape[1]
        seconds = samples / rate_hz
        quarter = seconds / 4
        times = np.arange(samples) / rate_hz
        row_mv = 2.4
        traces = signal - np.median(signal, axis=1, keepdims=True)
        highest = max(traces[lead].max() for lead in range(0, 12, 3))
        height_mv = row_mv * 4 + 0.6 + max(0.0, highest - 0.55 * row_mv)
        figure = Figure(figsize=(seconds * PAPER_MM_PER_S / INCH_MM, height_mv * PAPER_MM_PER_MV / INCH_MM))
        axes = figure.add_axes((0, 0, 1, 1))
        _paper(axes, theme, seconds, height_mv)
        begin, end = first_sample / rate_hz, last_sample / rate_hz
        for row in range(4):
            level = 0.6 + row_mv * (3.38 - row)
            for column in range(4) if row < 3 else range(1):
                lead = column * 3 + row if row < 3 else LEADS.index("II")
                left, right = (column * quarter, (column + 1) * quarter) if row < 3 else (0.0, seconds)
                shown = (times >= left) & (times < right)
                axes.plot(
                    times[shown], level + traces[lead, shown], color=theme.ink, linewidth=0.9, solid_joinstyle="round"
                )
                name = LEADS[lead]
                axes.text(left + 0.05, level + 0.95, name, fontsize=10, fontweight="bold", va="center")
                if column and row < 3:
                    axes.plot([left, left], [level - 0.25, level + 0.25], color=theme.muted, linewidth=0.8)
                marked = max(left, begin), min(right, end)
                if marked[0] < marked[1]:
                    bottom, top = level - row_mv * 0.36, level + row_mv * 0.52
                    axes.fill_between(marked, bottom, top, color=theme.highlight, alpha=0.35, linewidth=0)
        axes.text(seconds - 0.05, 0.12, "25 mm/s, 10 mm/mV", ha="right", fontsize=8, color=theme.muted)
        return figure

    return draw


def cardiac_cycle(beat: np.ndarray, rr_ms: float) -> Callable[[Theme], Figure]:
    """The representative cycle [12, L] mV, all leads over the phase of the cycle, limb leads beside chest leads."""

    def draw(theme: Theme) -> Figure:
        figure = Figure(figsize=(4.4, 4.6))
        phase = np.arange(beat.shape[1]) / beat.shape[1]
        step = 1.9
        for column, (title, leads) in enumerate((("limb leads", range(6)), ("chest leads", range(6, 12)))):
            axes = figure.add_axes((0.02 + 0.5 * column, 0.11, 0.46, 0.83))
            axes.set_title(title, fontsize=9, color=theme.muted, loc="left")
            for row, lead in enumerate(leads):
                level = -row * step
                axes.axhline(level, color=theme.rule, linewidth=0.6)
                axes.plot(phase, level + beat[lead], color=theme.ink, linewidth=1.0)
                axes.text(0.62, level + 0.5, LEADS[lead], ha="center", fontsize=9, fontweight="bold")
            axes.set_xlim(0, 1)
            axes.set_ylim(-5 * step - 1.2, 1.9)
            axes.set_xticks([0, 0.5, 1], ["R", f"{rr_ms / 2:.0f} ms", "R"])
            axes.get_xticklabels()[0].set_horizontalalignment("left")
            axes.get_xticklabels()[2].set_horizontalalignment("right")
            axes.tick_params(left=False, labelleft=False)
            axes.spines["left"].set_visible(False)
        return figure

    return draw


def training_curves(log: pd.DataFrame, progress: str, columns: list[str]) -> Callable[[Theme], Figure]:
    """Small multiples of `columns` of a training log over its column `progress`."""

    def draw(theme: Theme) -> Figure:
        across = min(3, len(columns))
        down = -(-len(columns) // across)
        figure = Figure(figsize=(2.7 * across, 1.75 * down + 0.25), layout="constrained")
        grid = np.atleast_1d(figure.subplots(down, across, squeeze=False)).ravel()
        for axes, name in zip(grid, columns):
            known = log[[progress, name]].dropna()
            axes.plot(known[progress], known[name], color=theme.real, linewidth=1.2)
            axes.set_title(name.replace("_", " "), fontsize=9, loc="left")
            axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(4))
            axes.grid(axis="y")
        for axes in grid[len(columns) :]:
            axes.set_visible(False)
        figure.supxlabel(progress, fontsize=9)
        return figure

    return draw


def learning_curves(logs: dict[str, pd.DataFrame]) -> Callable[[Theme], Figure]:
    """Training and validation loss over the iterations, a panel for each network, its last fifth shaded.

    Args:
        logs: printed name to columns iteration, train_loss and, where there is one, validation_loss.
    """

    def draw(theme: Theme) -> Figure:
        across = min(3, len(logs))
        down = -(-len(logs) // across)
        figure = Figure(figsize=(2.7 * across, 1.9 * down + 0.3), layout="constrained")
        grid = figure.subplots(down, across, squeeze=False).ravel()
        for axes, (name, log) in zip(grid, logs.items()):
            series = (
                ("train_loss", "training", theme.real, "-"),
                ("validation_loss", "validation", theme.generated, "--"),
            )
            last = float(log["iteration"].max())
            axes.axvspan(0.8 * last, last, color=theme.rule, alpha=0.6, linewidth=0)
            positive = True
            for column, label, colour, dashes in series:
                if column in log and log[column].notna().any():
                    known = log[["iteration", column]].dropna()
                    axes.plot(
                        known["iteration"], known[column], color=colour, linestyle=dashes, linewidth=1.2, label=label
                    )
                    positive &= bool((known[column] > 0).all())
            if positive:
                axes.set_yscale("log")
                axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axes.yaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
                axes.yaxis.set_minor_formatter(NullFormatter())
            axes.set_xlim(0, last)
            axes.set_title(name, fontsize=9, loc="left")
            axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
            axes.grid(axis="y")
        grid[0].legend(fontsize=8)
        for axes in grid[len(logs) :]:
            axes.set_visible(False)
        figure.supxlabel("iteration", fontsize=9)
        figure.supylabel("loss", fontsize=9)
        return figure

    return draw


def volume_curves(
    curves: dict[str, np.ndarray], expert: Sequence[tuple[float, float]] = ()
) -> Callable[[Theme], Figure]:
    """LV volume over one cycle.

    Args:
        curves: mL at equally spaced phases, by the name of the heart: real, generated or exact.
        expert: phase and mL of the frames that an expert annotated.
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


def intervals(rows: dict[str, dict[str, pd.Series]], metrics: Sequence[Metric]) -> Callable[[Theme], Figure]:
    """Every model's mean with its 95 % interval, a panel for each metric.

    Args:
        rows: printed name of the model to its row of the table's long form for each metric.
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


def anchor_phases(
    lines: dict[str, list[tuple[float, dict[str, pd.Series]]]], metrics: Sequence[Metric]
) -> Callable[[Theme], Figure]:
    """What becomes of every metric as the anchor is taken at other phases, a panel for each.

    Args:
        lines: printed name of a model to the phases of its anchors, each with the table's rows for each metric.
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


def radar(rows: dict[str, dict[str, pd.Series]], metrics: Sequence[Metric]) -> Callable[[Theme], Figure]:
    """The paper's Fig. 4(a): a polygon for each model over all metrics, the best model of each on the outer ring.

    Args:
        rows: printed name of the model to its row of the table's long form for each metric.
        metrics: spokes, clockwise from the top.
    """
    shares = radar_shares(rows, metrics)

    def draw(theme: Theme) -> Figure:
        # Placed by hand: a layout engine leaves no room for labels around a circle.
        figure = Figure(figsize=(6.8, 5.1))
        axes: Any = figure.add_axes((0.25, 0.29, 0.5, 0.66), projection="polar")
        axes.set_theta_offset(np.pi / 2)
        axes.set_theta_direction(-1)
        angles = 2 * np.pi * np.arange(len(metrics) + 1) / len(metrics)
        for place, (name, of) in enumerate(shares.items()):
            closed = np.append(of, of[0])
            colour, dashes, _ = _series(theme, place)
            axes.plot(angles, closed, color=colour, linestyle=dashes, linewidth=2 if place == 0 else 1.3, label=name)
            if place == 0:
                axes.fill(angles, np.nan_to_num(closed), color=colour, alpha=0.15, linewidth=0)
        axes.set_xticks(angles[:-1], [""] * len(metrics))
        for angle, metric in zip(angles, metrics):  # they grow away from the ring
            side = float(np.sin(angle))
            align = "center" if abs(side) < 1e-3 else "left" if side > 0 else "right"
            axes.text(angle, 1.1, f"{metric.label} {metric.arrow}", ha=align, va="center")
        axes.set_ylim(0, 1)
        axes.set_yticks([0.25, 0.5, 0.75, 1], [""] * 4)
        axes.spines["polar"].set_color(theme.rule)
        figure.legend(loc="lower center", ncols=min(3, len(rows)), fontsize=8.5)
        return figure

    return draw


def radar_shares(rows: dict[str, dict[str, pd.Series]], metrics: Sequence[Metric]) -> dict[str, np.ndarray]:
    """Each model's place between the worst (0) and the best (1) model of each metric; NaN where it has no value.

    Where all models are equal, all have 1.
    """
    values = np.array([[float(cells[metric.key]["mean"]) for metric in metrics] for cells in rows.values()])
    signed = values * [1 if metric.better == "up" else -1 for metric in metrics]
    low, high = np.nanmin(signed, axis=0), np.nanmax(signed, axis=0)
    spread = np.where(high > low, high - low, 1)
    return dict(zip(rows, np.where(high > low, (signed - low) / spread, np.where(np.isnan(signed), np.nan, 1))))


def bars(rows: dict[str, dict[str, pd.Series]], metrics: Sequence[Metric]) -> Callable[[Theme], Figure]:
    """The paper's Fig. 4(b): a group of bars for each metric, a bar for each model with its 95 % interval.

    Args:
        rows: printed name of the model to its row of the table's long form for each metric.
        metrics: groups in order.
    """

    def draw(theme: Theme) -> Figure:
        figure = Figure(figsize=(1.4 + 1.25 * len(metrics), 3.2), layout="constrained")
        axes = figure.subplots()
        width = 0.84 / len(rows)
        for place, (name, cells) in enumerate(rows.items()):
            colour, _, hatch = _series(theme, place)
            across = np.arange(len(metrics)) - 0.42 + width * (place + 0.5)
            means, low, high = (
                np.array([float(cells[metric.key][column]) for metric in metrics])
                for column in ("mean", "ci_low", "ci_high")
            )
            axes.bar(across, means, width * 0.92, color=colour, hatch=hatch, label=name)
            axes.errorbar(
                across,
                means,
                np.clip([means - low, high - means], 0, None),
                fmt="none",
                ecolor=theme.ink,
                elinewidth=0.8,
            )
        axes.set_xticks(range(len(metrics)), [metric.label for metric in metrics])
        axes.tick_params(axis="x", length=0)
        axes.set_ylim(0, 1)
        axes.set_axisbelow(True)
        axes.grid(axis="y")
        figure.legend(loc="outside lower center", ncols=min(4, len(rows)), fontsize=8.5)
        return figure

    return draw


def _series(theme: Theme, place: int) -> tuple[str, Any, str]:
    """Colour, dashes and hatch of the model in so many-th place: the first stands out, and no two look alike."""
    others = (theme.real, theme.exact, theme.muted, theme.ink)
    turn = (place - 1) // len(others) % 3 if place else 0
    colour = others[(place - 1) % len(others)] if place else theme.generated
    return colour, ("-", (0, (5, 2)), (0, (1, 1.5)))[turn], ("", "///", "...")[turn]


@dataclass(frozen=True)
class FunnelStep:
    """One step of the cohort's way through the stages.

    Attributes:
        label: what happened.
        left: subjects that no stage had left out by then.
        lost: subjects lost here, by reason.
    """

    label: str
    left: int
    lost: dict[str, int]


def funnel(steps: Sequence[FunnelStep]) -> Callable[[Theme], Figure]:
    """The cohort from the first step to the last: a bar of those left, and beside it whom the step lost, and why.

    The two most frequent reasons are named.
    """

    def draw(theme: Theme) -> Figure:
        figure = Figure(figsize=(8.6, 0.42 * len(steps) + 0.3), layout="constrained")
        axes = figure.subplots()
        came = max(steps[0].left, 1)
        for level, step in enumerate(steps):
            lost = sum(step.lost.values())
            axes.barh(level, step.left, height=0.62, color=theme.real)
            axes.barh(level, lost, left=step.left, height=0.62, color=theme.generated)
            on_bar = step.left > 0.1 * came
            colour = theme.ink if not on_bar else "white" if theme.name == "light" else "black"
            axes.text(0.015 * came, level, f"{step.left:,}", va="center", color=colour)
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in list(step.lost.items())[:2])
            reasons += f", {len(step.lost) - 2} more" if len(step.lost) > 2 else ""
            if lost:
                axes.text(step.left + lost + 0.012 * came, level, f"−{lost:,}: {reasons}", va="center", fontsize=8.5)
        axes.set_yticks(range(len(steps)), [step.label for step in steps])
        axes.set_ylim(len(steps) - 0.45, -0.55)
        axes.set_xlim(0, 2.15 * came)
        axes.tick_params(left=False, bottom=False, labelbottom=False)
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
        return figure

    return draw


def distributions(panels: Sequence[tuple[str, np.ndarray, float | None]]) -> Callable[[Theme], Figure]:
    """Small multiples of histograms over the cohort.

    Args:
        panels: title, values without NaN, and the limit to draw, if any.
    """

    def draw(theme: Theme) -> Figure:
        across = min(4, len(panels))
        down = -(-len(panels) // across)
        figure = Figure(figsize=(2.15 * across, 1.3 * down), layout="constrained")
        grid = figure.subplots(down, across, squeeze=False).ravel()
        for axes, (title, values, limit) in zip(grid, panels):
            axes.set_title(title, fontsize=9, loc="left")
            if len(values):
                axes.hist(values, bins=min(30, max(5, len(values) // 4)), color=theme.real, alpha=0.85)
            if limit is not None:
                axes.axvline(limit, color=theme.generated, linewidth=1.4, linestyle=(0, (4, 2)))
            axes.xaxis.set_major_locator(MaxNLocator(4))
            axes.yaxis.set_major_locator(MaxNLocator(2, integer=True))
        for axes in grid[len(panels) :]:
            axes.set_visible(False)
        return figure

    return draw
