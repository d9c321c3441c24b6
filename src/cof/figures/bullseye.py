"""Regional function: bull's-eyes of real, generated and exact motion, and agreement in every segment."""

import math

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Wedge

from cof.figures import style
from cof.figures.sources import NotDrawn, Sources
from cof.heart.segments import APEX, NAMES, RING, SEGMENTS
from cof.tables.agreement import Agreement
from cof.tables.few import few

# First part of the rows' names, and the printed name.
QUANTITIES = {
    "strain_circumferential": "circumferential strain (%)",
    "strain_radial": "radial strain (%)",
    "wall_thickening": "wall thickening (%)",
}
# Printed name of a heart, and what the rows' names hold before the unit.
HEARTS = {"real": "_reference", "generated": "", "exact": "_true"}
# Inner and outer radius of the rings, width of a segment, and centres in degrees, anticlockwise from the right; as a
# reader sees them, anterior is on top and the septum on the left.
_RINGS = ((0.7, 1.0, 60.0, RING), (0.4, 0.7, 60.0, RING), (0.0, 0.4, 90.0, APEX))
_PLACES = [(inner, outer, width, centre) for inner, outer, width, centres in _RINGS for centre in centres]
_LEVEL = {"basal": ("o", "#332288"), "mid": ("s", "#44aa99"), "apical": ("^", "#cc6677")}
_SHADES = {"strain_circumferential": "YlGnBu_r", "strain_radial": "YlGnBu", "wall_thickening": "YlGnBu"}
_COLUMNS = ["kind", "quantity", "segment", "heart", "mean", "sd", "n", "mae", "bias", "pearson", "icc"]


def data(sources: Sources) -> pd.DataFrame:
    """Return the means of the hearts and the agreement of generated with real motion, told apart by the column kind.

    mean: mean, sd and n over subjects of a quantity in a segment of a heart. agreement: n, mae, bias, pearson and icc
    over the subjects that have both values.

    Raises:
        NotDrawn: the metrics have no segments of real and generated hearts.
    """
    names = {f"{name}{part}_pct": (name, heart) for name in QUANTITIES for heart, part in HEARTS.items()}
    rows = sources.rows(list(names))
    rows = rows[rows["structure"].str.fullmatch(r"LV-\d\d", na=False)]
    if not {"real", "generated"} <= {names[metric][1] for metric in rows["metric"].unique()}:
        raise NotDrawn(f"the metrics of '{sources.model}' have no rows by segment of generated and real hearts")
    told = [names[metric] for metric in rows["metric"]]
    rows = rows.assign(quantity=[name for name, _ in told], heart=[heart for _, heart in told])
    rows["segment"] = rows["structure"].str.removeprefix("LV-").astype(int)
    found = rows.groupby(["quantity", "heart", "segment"], sort=False)["value"].agg(["mean", "std", "count"])
    means = found.reset_index().rename(columns={"std": "sd", "count": "n"}).assign(kind="mean")
    wide = rows.pivot_table(index=["quantity", "segment", "subject"], columns="heart", values="value", dropna=False)
    agreed = []
    for (name, segment), own in wide.groupby(level=[0, 1], sort=False):
        one = Agreement.of(own["generated"].to_numpy(float), own["real"].to_numpy(float))
        agreed.append(
            {"kind": "agreement", "quantity": name, "segment": segment, "n": one.n}
            | {key: getattr(one, key) for key in ("mae", "bias", "pearson", "icc")}
        )
    return pd.concat([means, pd.DataFrame(agreed)], ignore_index=True).reindex(columns=_COLUMNS)


def draw(frame: pd.DataFrame, sources: Sources) -> Figure:
    """Return one row per quantity: a bull's-eye per heart, one of r over subjects, and the segments' means."""
    means = frame[frame["kind"] == "mean"]
    hearts = [heart for heart in HEARTS if heart in set(means["heart"])]
    shown = [name for name in QUANTITIES if name in set(means["quantity"])]
    across = len(hearts) + 2
    figure = Figure(figsize=(style.WIDTH, 1.5 * len(shown) + 0.2), layout="constrained")
    grid = figure.subplots(len(shown), across, squeeze=False, width_ratios=[1] * (across - 1) + [1.1])
    for line, name in zip(grid, shown):
        own = means[means["quantity"] == name]
        low, high = own["mean"].min(), own["mean"].max()
        norm = Normalize(low, high) if math.isfinite(low) else Normalize(0, 1)
        for axes, heart in zip(line, hearts):
            _bullseye(axes, _of_segments(own[own["heart"] == heart], "mean"), norm, _SHADES[name], ".0f")
        bar = figure.colorbar(
            ScalarMappable(norm, _SHADES[name]), ax=line[: len(hearts)], location="left", aspect=16, shrink=0.85
        )
        bar.set_label(QUANTITIES[name])
        bar.outline.set_visible(False)
        agreed = frame[(frame["kind"] == "agreement") & (frame["quantity"] == name)]
        enough = agreed[agreed["n"] >= sources.settings.least_subjects]
        _bullseye(line[-2], _of_segments(enough, "pearson"), Normalize(-1, 1), "PuOr", ".2f")
        _scatter(line[-1], own)
    titles = {"real": "real (registered)", "generated": "generated", "exact": "exact"}
    for axes, title in zip(grid[0], [*(titles[heart] for heart in hearts), "r over subjects", "means of the segments"]):
        axes.set_title(title, fontsize=7.5)
    return figure


def _of_segments(rows: pd.DataFrame, column: str) -> np.ndarray:
    """Return the values [16] of a column by segment; NaN where there is none."""
    return rows.set_index("segment")[column].reindex(range(1, SEGMENTS + 1)).to_numpy(float)


def _bullseye(axes: Axes, values: np.ndarray, norm: Normalize, shades: str, form: str) -> None:
    for (inner, outer, width, centre), value in zip(_PLACES, values, strict=True):
        known = math.isfinite(value)
        colour = colormaps[shades](norm(value)) if known else (0.85, 0.87, 0.89, 1.0)
        turn = centre - width / 2, centre + width / 2
        axes.add_patch(Wedge((0, 0), outer, *turn, width=outer - inner, facecolor=colour, edgecolor="white"))
        middle, angle = (inner + outer) / 2 if inner else 0.6 * outer, math.radians(centre)
        light = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 0.55
        x, y, text = middle * math.cos(angle), middle * math.sin(angle), style.number(value, form).replace("0.", ".")
        axes.text(x, y, text, ha="center", va="center", fontsize=5.5, color=style.INK if light else "white")
    axes.set_xlim(-1.02, 1.02)
    axes.set_ylim(-1.02, 1.02)
    axes.set_aspect("equal")
    axes.set_axis_off()


def _scatter(axes: Axes, means: pd.DataFrame) -> None:
    real, generated = (means[means["heart"] == heart].set_index("segment") for heart in ("real", "generated"))
    both = real.join(generated, lsuffix="_real", rsuffix="_generated", how="inner")
    both = both.dropna(subset=["mean_real", "mean_generated"])
    axes.set_box_aspect(1)
    if both.empty:
        axes.text(0.5, 0.5, "no segment has\nboth values", ha="center", transform=axes.transAxes, color=style.MUTED)
        axes.set_xticks([])
        axes.set_yticks([])
        return
    for level, (marker, colour) in _LEVEL.items():
        own = both[[NAMES[segment - 1].startswith(level) for segment in both.index]]
        axes.scatter(
            own["mean_real"], own["mean_generated"], 12, color=colour, marker=marker, linewidths=0, label=level
        )
    style.identity(axes, both[["mean_real", "mean_generated"]].to_numpy(float), 0.08)
    axes.locator_params(nbins=4)
    axes.set_xlabel("real", labelpad=1)
    axes.set_ylabel("generated", labelpad=1)
    axes.legend(fontsize=5.5, handletextpad=0.2, borderaxespad=0.1)


def remark(frame: pd.DataFrame, sources: Sources) -> str:
    """Return the number of subjects, and the quantities and hearts that the metrics lack."""
    means = frame[frame["kind"] == "mean"]
    subjects = int(means["n"].max())
    said = [f"Model {sources.model}, {subjects} subject{'' if subjects == 1 else 's'}."]
    known = set(zip(means["quantity"], means["heart"]))
    wanted = [(name, heart) for name in QUANTITIES for heart in ("real", "generated")]
    if lacking := [f"{QUANTITIES[name]} of {heart} hearts" for name, heart in wanted if (name, heart) not in known]:
        said.append(f"The metrics lack {', '.join(lacking)}.")
    if "exact" not in set(means["heart"]):
        said.append("The exact motion is known only for simulated hearts.")
    if warning := few(subjects, intervals=False):
        said.append(warning)
    return " ".join(said)


def numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the means of the hearts and the agreement: a row per quantity and segment."""
    table = []
    means = frame[frame["kind"] == "mean"].set_index(["quantity", "segment", "heart"])[["mean", "sd"]].to_dict("index")
    agreed = frame[frame["kind"] == "agreement"].set_index(["quantity", "segment"]).to_dict("index")
    none = {"mean": math.nan, "sd": math.nan}
    for name, printed in QUANTITIES.items():
        for segment in range(1, SEGMENTS + 1):
            if (name, segment) not in agreed:
                continue
            one = agreed[name, segment]
            told = {"quantity": printed, "segment": f"{segment} {NAMES[segment - 1]}"}
            for heart in HEARTS:
                cell = means.get((name, segment, heart), none)
                mean, sd = style.number(cell["mean"], ".1f"), style.number(cell["sd"], ".1f")
                told[heart] = mean if math.isnan(cell["mean"]) else f"{mean} ± {sd}"
            told |= {"n": f"{one['n']:.0f}", "MAE": style.number(one["mae"], ".1f")}
            table.append(told | {"bias": style.number(one["bias"], "+.1f"), "r": style.number(one["pearson"], ".2f")})
    return pd.DataFrame(table)
