"""Segmentation by slice rank (the paper's Fig. 5): heatmaps of Dice, IoU and HD95 at ED, at ES and over all phases."""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from cof.figures import style
from cof.figures.sources import NotDrawn, Sources
from cof.tables.few import few

RANKS = range(2, 8)
PHASES = {"ED": "_ed", "ES": "_es", "all phases": ""}
# Printed name, and unit in the name of its rows.
MEASURES = {"dice": ("Dice", ""), "iou": ("IoU", ""), "hd95": ("HD95 (mm)", "_mm")}
# Darker is better for overlaps, worse for distances.
_SHADES = {"dice": "Blues", "iou": "Blues", "hd95": "Oranges"}


def row_name(measure: str, phase: str) -> str:
    """Return the name of the long-form rows of one measure in one phase."""
    return f"{measure}_slice{PHASES[phase]}{MEASURES[measure][1]}"


def data(sources: Sources) -> pd.DataFrame:
    """Return one row per measure, phase, structure and rank.

    Columns: measure, phase, structure, rank, mean and sd over subjects, n (subjects with a defined value), subjects
    (all that have a slice of this rank). A subject with several values counts with their mean.

    Raises:
        NotDrawn: the metrics have no rows by slice rank.
    """
    names = {row_name(measure, phase): (measure, phase) for measure in MEASURES for phase in PHASES}
    rows = sources.rows(list(names))
    if rows.empty:
        raise NotDrawn(f"the metrics of '{sources.model}' have no rows by slice rank, such as {next(iter(names))}")
    each = rows.groupby(["metric", "structure", "slice", "subject"])["value"].mean()
    found = each.groupby(level=[0, 1, 2]).agg(["mean", "std", "count", "size"]).to_dict("index")
    none = {"mean": math.nan, "std": math.nan, "count": 0, "size": 0}
    table = []
    for name, (measure, phase) in names.items():
        for structure in style.STRUCTURE:
            for rank in RANKS:
                cell = found.get((name, structure, rank), none)
                values = cell["mean"], cell["std"], int(cell["count"]), int(cell["size"])
                table.append((measure, phase, structure, rank, *values))
    return pd.DataFrame(table, columns=["measure", "phase", "structure", "rank", "mean", "sd", "n", "subjects"])


def draw(frame: pd.DataFrame, sources: Sources) -> Figure:
    """Return one heatmap per measure (rows) and phase (columns), with the mean and n in every cell."""
    figure = Figure(figsize=(style.WIDTH, 4.4), layout="constrained")
    grid = figure.subplots(len(MEASURES), len(PHASES), sharex=True, sharey=True)
    for line, (measure, (printed, _)) in zip(grid, MEASURES.items()):
        top = 1.0 if measure != "hd95" else _top(frame[frame["measure"] == measure]["mean"])
        for axes, phase in zip(line, PHASES):
            cells = frame[(frame["measure"] == measure) & (frame["phase"] == phase)]
            shown = _heatmap(axes, cells, _SHADES[measure], top, 3 if measure != "hd95" else 2)
            if measure == next(iter(MEASURES)):
                axes.set_title(phase)
        line[0].set_ylabel(printed, fontsize=8)
        bar = figure.colorbar(shown, ax=line, pad=0.01, aspect=14)
        bar.outline.set_visible(False)
        bar.ax.tick_params(length=2)
    figure.supxlabel("slice rank, from base to apex", fontsize=7)
    return figure


def _top(values: pd.Series) -> float:
    """Return the upper end of the scale of a distance: the largest mean; 1 mm if all are zero or undefined."""
    largest = values.max()
    return float(largest) if largest > 0 else 1.0


def _heatmap(axes: Axes, cells: pd.DataFrame, shades: str, top: float, decimals: int) -> AxesImage:
    values = cells.pivot(index="structure", columns="rank", values="mean").loc[list(style.STRUCTURE)]
    counts = cells.pivot(index="structure", columns="rank", values="n").loc[list(style.STRUCTURE)].to_numpy(int)
    shown = axes.imshow(values, cmap=shades, vmin=0, vmax=top, aspect="auto")
    for (row, column), value in np.ndenumerate(values.to_numpy()):
        # White ink on the dark half of the scale.
        ink = "white" if value > 0.6 * top else style.INK
        text = "–" if math.isnan(value) else f"{value:.{decimals}f}"
        for words, down, size in ((text, -0.1, 6.5), (f"n {counts[row, column]}", 0.3, 4.8)):
            cell = axes.text(column, row + down, words, ha="center", va="center", color=ink, fontsize=size)
            cell.set_in_layout(False)  # it is inside, and measuring it takes most of the layout's time
    axes.set_xticks(range(len(values.columns)), [str(rank) for rank in values.columns])
    axes.set_yticks(range(len(values)), [style.SHORT[name] for name in values.index])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(0.5, len(values.columns) - 1), minor=True)
    axes.set_yticks(np.arange(0.5, len(values) - 1), minor=True)
    axes.grid(which="minor", color="white", linewidth=1.2)
    axes.tick_params(which="minor", length=0)
    return shown


def remark(frame: pd.DataFrame, sources: Sources) -> str:
    """Return the number of subjects, and the rows that the metrics lack."""
    subjects = int(frame["subjects"].max())
    said = [f"Model {sources.model}, {subjects} subject{'' if subjects == 1 else 's'}."]
    counts = frame.groupby(["measure", "phase"])["subjects"].max()
    pairs = [(measure, phase) for measure in MEASURES for phase in PHASES]
    if lacking := [row_name(*pair) for pair in pairs if counts[pair] == 0]:
        said.append(f"The metrics lack the rows {', '.join(lacking)}.")
    hidden = frame[(frame["subjects"] > frame["n"])]
    undefined = int((hidden["subjects"] - hidden["n"]).sum())
    if undefined:
        said.append(f"Over all cells, {undefined} values are undefined and left out.")
    if warning := few(subjects, intervals=False):
        said.append(warning)
    return " ".join(said)


def numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the mean and n of every cell: a row per measure, phase and structure, a column per rank."""
    cells = frame.assign(
        text=[
            "–" if math.isnan(mean) else f"{mean:.{2 if measure == 'hd95' else 3}f} (n {n})"
            for measure, mean, n in zip(frame["measure"], frame["mean"], frame["n"])
        ]
    )
    table = cells.pivot(index=["measure", "phase", "structure"], columns="rank", values="text")
    table = table.loc[[(m, p, s) for m in MEASURES for p in PHASES for s in style.STRUCTURE]].reset_index()
    table["measure"] = [MEASURES[measure][0] for measure in table["measure"]]
    return table.rename(columns={rank: f"rank {rank}" for rank in RANKS}).rename_axis(columns=None)
