"""The counterpart of the paper's Fig. 4 below a table: a radar chart for Table I, bars for Table II."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cof.config.evaluation import TableSettings
from cof.config.metrics import Metric
from cof.report.assets import Assets
from cof.report.plots import Theme

# Metrics of the radar chart: the paper's six, and Fréchet distances that replace FID and FVD.
_RADAR = frozenset(
    {"ssim", "psnr", "fid", "fvd", "m_corr", "m_ssim", "fd_imagenet", "fd_imagenet_video", "fd_labeller"}
    | {"fd_labeller_video"}
)


def overview(
    assets: Assets, name: str, settings: TableSettings, rows: dict[str, dict[str, pd.Series]], metrics: list[Metric]
) -> dict[str, Any] | None:
    """Return the figure that corresponds to the paper's figure of its Table I or II; None for other tables."""
    if settings.paper == "table1":
        shown = [metric for metric in metrics if metric.key in _RADAR]
        if len(shown) < 3 or len(rows) < 2:  # a radar chart needs three metrics and two models
            return None
        shares = radar_shares(rows, shown)
        numbers = "; ".join(
            f"{row} {', '.join('none' if np.isnan(share) else f'{share:.2f}' for share in of)}"
            for row, of in shares.items()
        )
        alt = (
            f"Radar of every model's place between the worst (0) and the best (1) model in "
            f"{', '.join(metric.label for metric in shown)}: {numbers}"
        )
        caption = (
            "Like the paper's Fig. 4(a): every metric from its worst model (centre) to its best (ring), so that a "
            "larger area is better. It does not show the size of a difference: the scale of every metric ends at its "
            "worst and its best model, even if both are nearly equal."
        )
        body = [(row, ["–" if np.isnan(share) else f"{share:.2f}" for share in of]) for row, of in shares.items()]
        return {
            "figure": assets.figure(f"radar-{name}", alt, radar(rows, shown)),
            "caption": caption,
            "numbers": {"headings": [metric.label for metric in shown], "rows": body},
        }
    if settings.paper == "table2":
        shown = [metric for metric in metrics if metric.key.startswith(("dice_", "iou_"))]
        if not shown:
            return None
        numbers = "; ".join(
            f"{row} " + ", ".join(f"{metric.label} {of[metric.key]['mean']:.2f}" for metric in shown)
            for row, of in rows.items()
        )
        caption = (
            "Like the paper's Fig. 4(b): mean over subjects with its 95 % interval; the numbers are those of the table."
        )
        alt = f"Bars of Dice and IoU of every model: {numbers}"
        return {
            "figure": assets.figure(f"bars-{name}", alt, bars(rows, shown)),
            "caption": caption,
            "numbers": None,
        }
    return None


def radar(rows: dict[str, dict[str, pd.Series]], metrics: Sequence[Metric]) -> Callable[[Theme], Figure]:
    """Return a radar chart like the paper's Fig. 4(a): one polygon per model; the best model per metric is on the ring.

    Args:
        rows: rows of the table's long form, by printed name of the model and key of the metric.
        metrics: spokes, clockwise from the top.
    """
    shares = radar_shares(rows, metrics)

    def draw(theme: Theme) -> Figure:
        # The axes are placed explicitly, because a layout engine leaves no room for labels around a circle.
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
        for angle, metric in zip(angles, metrics):  # align the labels so that they point away from the ring
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
    """Return each model's position between the worst (0) and the best (1) model per metric; NaN without a value.

    If all models are equal, all get 1. A distance below its floor counts as the floor, so that distances which do not
    tell generated hearts from real ones have no order.
    """
    values = np.array(
        [
            [np.fmax(cells[metric.key]["mean"], cells[metric.key].get("floor", np.nan)) for metric in metrics]
            for cells in rows.values()
        ],
        float,
    )
    signed = values * [1 if metric.better == "up" else -1 for metric in metrics]
    low, high = np.nanmin(signed, axis=0), np.nanmax(signed, axis=0)
    spread = np.where(high > low, high - low, 1)
    return dict(zip(rows, np.where(high > low, (signed - low) / spread, np.where(np.isnan(signed), np.nan, 1))))


def bars(rows: dict[str, dict[str, pd.Series]], metrics: Sequence[Metric]) -> Callable[[Theme], Figure]:
    """Return bars like the paper's Fig. 4(b): one group per metric, one bar per model with its 95 % interval.

    Args:
        rows: rows of the table's long form, by printed name of the model and key of the metric.
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
    """Return colour, dashes and hatch of the model at this place; the first has a colour of its own."""
    others = (theme.real, theme.exact, theme.muted, theme.ink)
    turn = (place - 1) // len(others) % 3 if place else 0
    colour = others[(place - 1) % len(others)] if place else theme.generated
    return colour, ("-", (0, (5, 2)), (0, (1, 1.5)))[turn], ("", "///", "...")[turn]
