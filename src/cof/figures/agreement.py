"""Agreement of functional indices: Bland-Altman plots, and the table of errors, limits and correlations."""

from dataclasses import asdict, fields

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cof.figures import style
from cof.figures.function import ALL, INDICES, MASS, Index, groups
from cof.figures.sources import NotDrawn, Sources
from cof.tables.agreement import Agreement
from cof.tables.few import few

SHOWN = (*INDICES, MASS)
_LEAST = 3
_COLUMNS = ["kind", "category", "index", "unit", "subject", "generated", "real"]
_STATISTICS = [field.name for field in fields(Agreement)]


def data(sources: Sources) -> pd.DataFrame:
    """Return the subjects' values and the statistics of every category, told apart by the column kind.

    case: generated and real value of a subject. agreement: the fields of `cof.tables.agreement.Agreement`.

    Raises:
        NotDrawn: the metrics have no functional indices.
    """
    rows: list[dict[str, object]] = []
    groups_of = groups(sources)
    for index in SHOWN:
        pairs, told = index.pairs(sources), {"index": index.printed, "unit": index.unit}
        rows += [told | {"kind": "case", "category": ALL, "subject": one, **pairs.loc[one]} for one in pairs.index]
        for category, subjects in groups_of.items() if len(pairs) else ():
            own = pairs if subjects is None else pairs[pairs.index.isin(subjects)]
            found = Agreement.of(own["generated"].to_numpy(), own["real"].to_numpy())
            rows.append(told | {"kind": "agreement", "category": category, **asdict(found)})
    if not rows:
        raise NotDrawn(f"the metrics of '{sources.model}' have no functional indices, such as ef_pct")
    return pd.DataFrame(rows, columns=[*_COLUMNS, *_STATISTICS])


def draw(frame: pd.DataFrame, sources: Sources) -> Figure:
    """Return one Bland-Altman plot per index.

    Raises:
        NotDrawn: there are fewer than three subjects.
    """
    count = _subjects(frame)
    if count < _LEAST:
        raise NotDrawn(f"only {count} subjects of '{sources.model}'; limits of agreement need at least {_LEAST}")
    figure = Figure(figsize=(style.WIDTH, 4.4), layout="constrained")
    for axes, index in zip(figure.subplots(2, 3).ravel(), SHOWN):
        _bland_altman(axes, frame[frame["index"] == index.printed], index)
    return figure


def _bland_altman(axes: Axes, rows: pd.DataFrame, index: Index) -> None:
    cases = rows[rows["kind"] == "case"]
    axes.set_title(index.label, loc="left")
    axes.set_xlabel("mean of generated and real")
    axes.set_ylabel("generated − real")
    if cases.empty:
        axes.text(0.5, 0.5, "no rows", ha="center", transform=axes.transAxes, color=style.MUTED)
        return
    error = (cases["generated"] - cases["real"]).to_numpy(float)
    found = rows[(rows["kind"] == "agreement") & (rows["category"] == ALL)].iloc[0]
    axes.scatter((cases["generated"] + cases["real"]) / 2, error, 8, color=style.GENERATED, alpha=0.6, linewidths=0)
    axes.axhline(0, color=style.MUTED, linewidth=0.6)
    axes.axhline(found["bias"], color=style.REAL, linewidth=1.2)
    for limit in ("low", "high"):
        axes.axhline(found[limit], color=style.REAL, linewidth=1, linestyle=(0, (4, 2)))
    if not np.any(error):
        axes.text(0.5, 0.62, "0 by construction:\nthe anchor is copied", ha="center", transform=axes.transAxes)
        axes.set_ylim(-1, 1)
        axes.set_yticks([0])
        return
    half = 1.25 * max(abs(found["low"]), abs(found["high"]), np.abs(error).max())
    axes.set_ylim(-half, half)
    for value, name in ((found["bias"], "bias"), (found["low"], "−1.96 SD"), (found["high"], "+1.96 SD")):
        text = f"{name}\n{style.number(value, f'+.{index.decimals}f')}"
        axes.annotate(
            text, (1.01, value), xycoords=("axes fraction", "data"), va="center", fontsize=5.5, color=style.REAL
        )


def _subjects(frame: pd.DataFrame) -> int:
    return int(frame[frame["kind"] == "case"].groupby("index").size().max())


def remark(frame: pd.DataFrame, sources: Sources) -> str:
    """Return the number of subjects, and the indices that the metrics lack."""
    said = [f"Model {sources.model}, {_subjects(frame)} subjects."]
    if lacking := [index.printed for index in SHOWN if index.printed not in set(frame["index"])]:
        said.append(f"The metrics lack {', '.join(lacking)}.")
    if warning := few(_subjects(frame), intervals=False):
        said.append(warning)
    return " ".join(said)


def numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the agreement as text: a row per category and index."""
    decimals = {index.printed: index.decimals for index in SHOWN}
    table = []
    rows = frame[frame["kind"] == "agreement"]
    for category in dict.fromkeys(rows["category"]):
        for _, one in rows[rows["category"] == category].iterrows():
            form = f".{decimals[one['index']]}f"
            bias, low, high = (style.number(one[name], f"+{form}") for name in ("bias", "low", "high"))
            told = {"category": category, "index": f"{one['index']} ({one['unit']})", "n": f"{one['n']:.0f}"}
            errors = {name.upper(): style.number(one[name], form) for name in ("mae", "rmse")}
            printed = {"pearson": "Pearson r", "spearman": "Spearman rho", "icc": "ICC(2,1)"}
            correlations = {heading: style.number(one[name], ".3f") for name, heading in printed.items()}
            table.append(told | errors | {"bias": bias, "limits of agreement": f"{low} to {high}"} | correlations)
    return pd.DataFrame(table)
