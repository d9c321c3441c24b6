"""Cases of hypertrophy and ischaemia (the paper's Fig. 7): contours at ED and ES, and LV volume curves."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from cof.figures import style
from cof.figures.hearts import DASHES, Pair, ef_errors, median_of
from cof.figures.sources import NotDrawn, Sources
from cof.heart.function import ventricular_function

CATEGORIES = ("hypertrophy", "ischaemia")
MEDIAN, WORST, NAMED = "median EF error", "worst EF error", "named in the configuration"
HEARTS = {"real": style.REAL, "generated": style.GENERATED}
_COLUMNS = ["category", "rule", "subject", "of", "heart", "frame", "time_ms", "volume_ml", "mark", "ef_pct"]
_MID = 1


def data(sources: Sources) -> pd.DataFrame:
    """Return the LV volume curves of every case.

    Columns: category and rule that chose the subject, of (number of subjects to choose from), heart (real or
    generated), frame, time_ms (by the RR interval of the scan), volume_ml, mark (ED, ES or empty) and ef_pct.

    Raises:
        NotDrawn: no subject of these categories has an EF error.
        UsageError: the configuration names a subject that the run lacks.
    """
    parts = []
    for category, rule, subject, of in chosen(sources):
        pair = Pair.read(sources, subject)
        rr_ms = pair.cines["real"].rr_ms
        for heart in HEARTS:
            volumes = pair.volumes_ml(heart)
            frames = np.arange(len(volumes))
            marks = np.where(frames == 0, "ED", np.where(frames == volumes.argmin(), "ES", ""))
            told = {"category": category, "rule": rule, "subject": subject, "of": of, "heart": heart, "frame": frames}
            told |= {"time_ms": frames * rr_ms / len(volumes), "volume_ml": volumes, "mark": marks}
            parts.append(pd.DataFrame(told).assign(ef_pct=ventricular_function(volumes, rr_ms).ef_pct))
    if not parts:
        raise NotDrawn(f"no subject of '{sources.model}' in the categories {' and '.join(CATEGORIES)} has an EF error")
    return pd.concat(parts, ignore_index=True)[_COLUMNS]


def chosen(sources: Sources) -> list[tuple[str, str, str, int]]:
    """Return category, rule, subject, and number of subjects to choose from, of every case; each subject once."""
    if sources.settings.cases:
        held = sources.categories
        named = {one: ", ".join(name for name, of in held.items() if one in of) for one in sources.settings.cases}
        return [(category or "no category", NAMED, one, 1) for one, category in named.items()]
    errors, found = ef_errors(sources), []
    for category in CATEGORIES:
        own = errors[errors.index.isin(sources.categories.get(category, []))]
        if len(own):
            found.append((category, MEDIAN, median_of(own), len(own)))
        if len(own) > 1:
            found.append((category, WORST, str(own.index[-1]), len(own)))
    return found


def draw(frame: pd.DataFrame, sources: Sources) -> Figure:
    """Return a block per case: four images with contours above two panels of volume curves."""
    keys = frame[["category", "rule", "subject"]]
    cases = [tuple(map(str, one)) for one in keys.drop_duplicates().to_numpy()]
    down = -(-len(cases) // 2)
    figure = Figure(figsize=(style.WIDTH, 2.55 * down), layout="constrained")
    blocks = figure.subfigures(down, 2, squeeze=False, wspace=0.03, hspace=0.03).ravel()
    for block, (category, rule, subject) in zip(blocks, cases):
        rows = frame[(keys == (category, rule, subject)).all(axis=1)]
        _block(block, rows, Pair.read(sources, subject))
        ef = rows.groupby("heart")["ef_pct"].first()
        title = f"{category.capitalize()}, {rule}" if rule != NAMED else category.capitalize()
        told = f"{subject}: EF {ef['real']:.0f} % real, {ef['generated']:.0f} % generated"
        block.suptitle(f"{title}\n{told}", fontsize=7, x=0.02, ha="left")
    return figure


def _block(block: SubFigure, rows: pd.DataFrame, pair: Pair) -> None:
    images = [(phase, name, heart) for phase, name in ((0.0, "ED"), (pair.es_phase, "ES")) for heart in HEARTS]
    top = [f"{name} {heart}" for _, name, heart in images]
    rows_of_panels: Any = [top, ["real alone"] * 2 + ["both"] * 2]
    panels = block.subplot_mosaic(rows_of_panels, height_ratios=(1, 1.15))
    for (phase, _, heart), title in zip(images, top):
        axes = panels[title]
        axes.imshow(pair.image(heart, phase, _MID), cmap="gray", vmin=0, vmax=1, aspect=pair.aspect)
        for contour in HEARTS:
            pair.outline(axes, contour, phase, _MID)
        axes.set_title(title, fontsize=6.5, pad=2)
        axes.set_axis_off()
    top_ml = 1.12 * float(rows["volume_ml"].max())
    for title, hearts in (("real alone", ("real",)), ("both", tuple(HEARTS))):
        axes = panels[title]
        for heart in hearts:
            _curve(axes, rows[rows["heart"] == heart], heart, pair.cines["real"].rr_ms)
        axes.set_ylim(0, top_ml)
        axes.set_xlim(0, pair.cines["real"].rr_ms)
        axes.set_xlabel("time (ms)", labelpad=1)
        axes.grid(axis="y")
    panels["real alone"].set_ylabel("LV (mL)")
    panels["both"].tick_params(labelleft=False)
    block.legend(*panels["both"].get_legend_handles_labels(), loc="upper right", borderaxespad=0.2, handlelength=2)


def _curve(axes: Axes, rows: pd.DataFrame, heart: str, rr_ms: float) -> None:
    colour = HEARTS[heart]
    times, volumes = np.append(rows["time_ms"], rr_ms), np.append(rows["volume_ml"], rows["volume_ml"].iloc[0])
    axes.plot(times, volumes, color=colour, linestyle=DASHES[heart], linewidth=1.3, label=heart)
    marked = rows[rows["mark"] != ""]
    axes.plot(marked["time_ms"], marked["volume_ml"], "o", color=colour, markersize=3, clip_on=False, zorder=3)
    if heart == "real":
        for _, one in marked.iterrows():
            offset = (3, 4) if one["mark"] == "ED" else (-3, -8)
            place = one["time_ms"], one["volume_ml"]
            axes.annotate(one["mark"], place, offset, textcoords="offset points", fontsize=6)


def remark(frame: pd.DataFrame, sources: Sources) -> str:
    """Return how many subjects each category has, and the cases that do not exist."""
    said = [f"Model {sources.model}."]
    if sources.settings.cases:
        return f"{said[0]} The configuration names these subjects, so that they are no sample of any category."
    for category in CATEGORIES:
        own = frame[frame["category"] == category]
        count = int(own["of"].max()) if len(own) else 0
        said.append(f"{category.capitalize()}: chosen from {count} subject{'' if count == 1 else 's'}.")
    return " ".join(said)


def numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Return EDV, ESV and EF of both hearts: a row per case."""
    table = []
    for (category, rule, subject), rows in frame.groupby(["category", "rule", "subject"], sort=False):
        told = {"category": category, "rule": rule, "subject": subject}
        for heart in HEARTS:
            own = rows[rows["heart"] == heart]
            volumes = own["volume_ml"].to_numpy()
            told |= {
                f"EDV {heart} (mL)": f"{volumes[0]:.0f}",
                f"ESV {heart} (mL)": f"{volumes.min():.0f}",
                f"EF {heart} (%)": f"{own['ef_pct'].iloc[0]:.1f}",
            }
        table.append(told)
    return pd.DataFrame(table)
