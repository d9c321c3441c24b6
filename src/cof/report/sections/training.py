"""The section of training: what each network has learnt from, its curves, and the labeller's scores."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from cof.report.artefacts import Missing, Results
from cof.report.assets import Assets
from cof.report.origins import labeller_heading, networks
from cof.report.plots import Theme
from cof.report.section import Sources
from cof.tables.costs import HEADINGS, cells, learnt, panel, parts, read_logs
from cof.tables.few import few

PROGRESS = ("iteration", "epoch", "step")


def context(sources: Sources) -> dict[str, Any]:
    """Return the curves of all trainings, and the labeller's scores on participants not used to train it."""
    results, assets = sources.results, sources.assets
    config = results.config
    trained = [("labeller", "nnU-Net, the labeller")]
    trained += [(f"registrations/{name}", f"TOPPR, registration '{name}'") for name in config.registrations]
    trained += [
        (f"models/{name}", f"{name}, family {model.family}") for name, model in config.models.items() if model.training
    ]
    curves, missing = [], []
    for folder, title in trained:
        path = results.root / folder / "log.csv"
        if not path.is_file():
            missing.append(Missing(f"the training log of {title}", f"{folder}/log.csv"))
            continue
        origin = results.origin(folder)
        if origin is not None and origin.where is not None:
            title = f"{title} (trained in {origin.where})"
        for part, log in parts(pd.read_csv(path)).items():
            progress = next((name for name in PROGRESS if name in log.columns), log.columns[0])
            columns = [name for name in log.columns if name != progress and log[name].notna().any()]
            last = ", ".join(f"{name} {log[name].dropna().iloc[-1]:.4g}" for name in columns)
            alt = f"Training curves of {panel(title, part)} over {len(log)} logged {progress}s; at the end: {last}"
            file = "-".join(filter(None, ("training", *folder.split("/"), part)))
            figure = assets.figure(file, alt, training_curves(log, progress, columns))
            curves.append({"title": panel(title, part), "figure": figure, "last": last})
    labeller = results.record("labeller/labeller.json")
    if labeller is None:
        missing.append(Missing("the labeller's scores on participants not used to train it", "labeller/labeller.json"))
    scores = (labeller or {}).get("held_out", {})
    counts = [values["n"] for structures in scores.values() for values in structures.values()]
    return {
        "networks": networks(results),
        "labeller_heading": labeller_heading(results),
        "few": few(max(counts), intervals=False) if counts else None,
        "curves": curves,
        "learning": _learning(results, assets),
        "missing": missing,
        "labeller": [
            (phase, structure, values)
            for phase, structures in scores.items()
            for structure, values in structures.items()
        ],
    }


def _learning(results: Results, assets: Assets) -> dict[str, Any] | None:
    """Return the losses of all networks side by side, and their change at the end; None without a training log."""
    config = results.config
    folders = {name: f"models/{name}" for name in config.models}
    folders |= {f"registration {name}": f"registrations/{name}" for name in config.registrations}
    logs = {name: found for name, folder in folders.items() if (found := read_logs(results.root / folder))}
    if not logs:
        return None
    costs = [learnt(results.root / folders[name], name, name, "") for name in logs]
    rows = [dict(zip(HEADINGS, cells(cost))) for cost in costs]
    panels = {panel(name, part): log for name, of_parts in logs.items() for part, log in of_parts.items()}
    alt = (
        "Training and validation loss over the iterations; over the last fifth the training loss changes by "
        + ", ".join(f"{row[HEADINGS[0]]} {row['last fifth, training']}" for row in rows)
    )
    headings = HEADINGS[1:7]
    return {
        "figure": assets.figure("learning", alt, learning_curves(panels)),
        "headings": headings,
        "rows": [(row[HEADINGS[0]], [row[heading] for heading in headings]) for row in rows],
    }


def training_curves(log: pd.DataFrame, progress: str, columns: list[str]) -> Callable[[Theme], Figure]:
    """Return the figure of the `columns` of a training log over its column `progress`, one panel per column."""

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
    """Return the figure of training and validation loss over the iterations, one panel per network.

    The last fifth of the iterations is shaded.

    Args:
        logs: columns iteration, train_loss and, if there is one, validation_loss, by printed name.
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
