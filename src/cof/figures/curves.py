"""Shape of the LV volume curve: timing, rates and atrial kick of generated against real hearts."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cof.figures import style
from cof.figures.function import Index
from cof.figures.sources import NotDrawn, Sources
from cof.tables.agreement import Agreement
from cof.tables.few import few

SHAPES = (
    Index("t_es", "ms", "time to ES", "ms", decimals=0),
    Index("peak_ejection", "ml_s", "peak ejection rate", "mL/s", decimals=0),
    Index("peak_filling", "ml_s", "peak filling rate", "mL/s", decimals=0),
    Index("atrial_kick", "pct", "atrial kick", "% of filling"),
)
_COLUMNS = ["index", "unit", "model", "subject", "generated", "real"]


def data(sources: Sources) -> pd.DataFrame:
    """Return one row per index, model (the drawn one and the population mean) and subject: generated and real value.

    Raises:
        NotDrawn: the metrics have no such rows, or no subject has both values.
    """
    models = dict.fromkeys(filter(None, (sources.model, sources.settings.population_mean)))
    parts = [
        index.pairs(sources, model).reset_index().assign(index=index.printed, unit=index.unit, model=model)
        for index in SHAPES
        for model in models
    ]
    frame = pd.concat(parts, ignore_index=True)[_COLUMNS]
    if not (frame["model"] == sources.model).any():
        raise NotDrawn(
            f"no subject of '{sources.model}' has {', '.join(index.printed for index in SHAPES)} of both hearts"
        )
    return frame


def draw(frame: pd.DataFrame, sources: Sources) -> Figure:
    """Return one scatter plot per index, with the line of identity."""
    figure = Figure(figsize=(style.WIDTH, 2.3), layout="constrained")
    panels = figure.subplots(1, len(SHAPES))
    for axes, index in zip(panels, SHAPES):
        _scatter(axes, frame[frame["index"] == index.printed], index, sources.model)
    drawn = max(panels, key=lambda axes: len(axes.get_legend_handles_labels()[0]))
    figure.legend(*drawn.get_legend_handles_labels(), loc="outside lower right", ncols=2)
    figure.supxlabel("real heart", fontsize=7)
    figure.supylabel("generated heart", fontsize=7)
    return figure


def _scatter(axes: Axes, rows: pd.DataFrame, index: Index, model: str) -> None:
    axes.set_title(index.label, loc="left")
    own, mean = rows[rows["model"] == model], rows[rows["model"] != model]
    if own.empty:
        axes.text(0.5, 0.5, "no subject has\nboth values", ha="center", transform=axes.transAxes, color=style.MUTED)
        axes.set_xticks([])
        axes.set_yticks([])
        return
    axes.scatter(
        mean["real"], mean["generated"], 9, facecolors="none", edgecolors="#9aa3ad", linewidths=0.5,
        label="population mean",
    )  # fmt: skip
    axes.scatter(
        own["real"], own["generated"], 9, color=style.GENERATED, alpha=0.7, linewidths=0, label=f"model {model}"
    )
    style.identity(axes, rows[["generated", "real"]].to_numpy(float), 0.06)
    axes.set_aspect("equal")
    found = Agreement.of(own["generated"].to_numpy(), own["real"].to_numpy())
    text = f"r {style.number(found.pearson, '.2f')}, MAE {found.mae:.{index.decimals}f}\nn {found.n}"
    axes.text(0.04, 0.97, text, transform=axes.transAxes, va="top", fontsize=6)


def remark(frame: pd.DataFrame, sources: Sources) -> str:
    """Return the numbers of subjects of every panel."""
    own = frame[frame["model"] == sources.model]
    counts = own.groupby("index").size()
    told = ", ".join(f"{index.printed} {counts.get(index.printed, 0)}" for index in SHAPES)
    said = [f"Model {sources.model}; subjects with both values: {told}."]
    if sources.settings.population_mean is None:
        said.append("The run has no population-mean motion.")
    if warning := few(own["subject"].nunique(), intervals=False):
        said.append(warning)
    return " ".join(said)


def numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Return n, MAE, bias and correlations: a row per index and model."""
    table = []
    for (index, unit, model), rows in frame.groupby(["index", "unit", "model"], sort=False):
        found = Agreement.of(rows["generated"].to_numpy(float), rows["real"].to_numpy(float))
        table.append(
            {
                "index": f"{index} ({unit})",
                "model": model,
                "n": f"{found.n}",
                "MAE": style.number(found.mae, ".1f"),
                "bias": style.number(found.bias, "+.1f"),
                "Pearson r": style.number(found.pearson, ".3f"),
                "ICC(2,1)": style.number(found.icc, ".3f"),
            }
        )
    return pd.DataFrame(table)
