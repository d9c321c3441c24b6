"""One subject from the ECG to the heart (the paper's Fig. 3): R-R interval, stack, images and labels at four phases."""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cof.config.figures import BEATS
from cof.ecg.delineate import delineate
from cof.ecg.record import LEADS
from cof.figures import style
from cof.figures.hearts import Pair, ef_errors, median_of
from cof.figures.sources import NotDrawn, Sources
from cof.heart.structures import STRUCTURES

LEAD = "II"
_LEVELS = (0, 1, 2)
_BACKGROUND = "#eef1f4"
_COLUMNS = ["kind", "subject", "name", "phase", "time_ms", "mv", "heart", "frame", "lv_ml", "myocardium_ml", "rv_ml"]
# Inches: width of the stack and of the margin beside it, height of the ECG with its axis, of a title, gap of images.
_STACK, _MARGIN, _ECG, _AXIS, _TITLE, _GAP = 0.95, 0.27, 0.85, 0.34, 0.2, 0.05


def data(sources: Sources) -> pd.DataFrame:
    """Return ECG, waves and volumes of the subject, told apart by the column kind.

    ecg: phase of the R-R interval, time_ms and mv of lead II. wave: the same at P, R, S and T. heart: name of a shown
    phase, phase, time_ms in the scan's cycle, heart, frame, and the volumes of its structures.

    Raises:
        NotDrawn: no subject has an EF error.
        UsageError: the configuration names a subject that the run lacks.
    """
    subject = sources.settings.panel
    if subject is None:
        errors = ef_errors(sources)
        if errors.empty:
            raise NotDrawn(f"no subject of '{sources.model}' has an EF error")
        subject = median_of(errors)
    pair, rows = Pair.read(sources, subject), []
    beat = sources.row(BEATS, subject)
    if beat is not None:
        leads, rr_ms = np.reshape(beat["beat"], (len(LEADS), -1)).astype(float), float(beat["rr_ms"])
        lead = leads[LEADS.index(LEAD)]
        phases = np.arange(len(lead)) / len(lead)
        rows += [{"kind": "ecg", "phase": phase, "time_ms": phase * rr_ms, "mv": mv} for phase, mv in zip(phases, lead)]
        for wave, sample in waves(leads, rr_ms).items():
            place = {"phase": phases[sample], "time_ms": phases[sample] * rr_ms, "mv": lead[sample]}
            rows.append({"kind": "wave", "name": wave, **place})
    for name, phase in shown_phases(pair.es_phase).items():
        for heart in ("real", "generated"):
            frame = pair.frame(heart, phase)
            volumes = {f"{one.lower()}_ml": pair.volumes_ml(heart, one)[frame] for one in STRUCTURES}
            time = phase * pair.cines["real"].rr_ms
            rows.append({"kind": "heart", "name": name, "phase": phase, "time_ms": time, "heart": heart, "frame": frame}
                        | volumes)  # fmt: skip
    return pd.DataFrame(rows).assign(subject=subject).reindex(columns=_COLUMNS)


def shown_phases(es_phase: float) -> dict[str, float]:
    """Return the shown phases by name: ED, ES, and the middle between them on both sides."""
    return {"ED": 0.0, "mid-systole": es_phase / 2, "ES": es_phase, "mid-diastole": (es_phase + 1) / 2}


def waves(beat: np.ndarray, rr_ms: float) -> dict[str, int]:
    """Return the samples of the waves P, R, S and T in lead II of a cycle [12, L] mV that begins at its R peak.

    S is the lowest sample between R and the end of the QRS complex. P and T are the samples of lead II farthest from
    zero between the limits of `cof.ecg.delineate`. A wave that is not found is left out.
    """
    samples = beat.shape[1]
    twice = np.concatenate([beat, beat], axis=1)  # the waves on both sides of the R peak in the middle are whole
    marks, lead = delineate(twice, 1000 * samples / rr_ms, samples, rr_ms), twice[LEADS.index(LEAD)]
    found = {"R": samples, "S": samples + int(lead[samples : marks.q_off + 1].argmin())}
    if found["S"] == samples:
        del found["S"]
    if marks.t_off is not None:
        found["T"] = marks.q_off + int(np.abs(lead[marks.q_off : marks.t_off]).argmax())
    if marks.p_on is not None and marks.p_off is not None and marks.p_off > marks.p_on:
        found["P"] = marks.p_on + int(np.abs(lead[marks.p_on : marks.p_off]).argmax())
    return {name: sample % samples for name, sample in found.items()}


def draw(frame: pd.DataFrame, sources: Sources) -> Figure:
    """Return the ECG above, the stack on the left, and four rows of images at four phases."""
    subject = str(frame["subject"].iloc[0])
    pair = Pair.read(sources, subject)
    shown = frame[(frame["kind"] == "heart") & (frame["heart"] == "real")]
    rows = [("real", False), ("generated", False), ("real", True), ("generated", True)]
    left = _STACK + _MARGIN
    width = (style.WIDTH - left + _GAP) / len(shown) - _GAP
    tile_rows, tile_columns = pair.crop.tile()
    height = width / len(_LEVELS) * tile_rows / tile_columns * pair.aspect
    total = 0.06 + _ECG + _AXIS + _TITLE + len(rows) * (height + _GAP)
    figure = Figure(figsize=(style.WIDTH, total))

    def place(x: float, top: float, across: float, down: float) -> Axes:
        """Add axes, placed in inches from the left and from the top."""
        inches = style.WIDTH, total
        return figure.add_axes((x / inches[0], 1 - (top + down) / inches[1], across / inches[0], down / inches[1]))

    _strip(place(left, 0.06, style.WIDTH - left - 0.03, _ECG), frame, shown)
    first = 0.06 + _ECG + _AXIS + _TITLE
    _stack(place(0.03, _TITLE, _STACK, total - _TITLE - _GAP), pair)
    for column, (name, phase, time) in enumerate(zip(shown["name"], shown["phase"], shown["time_ms"])):
        for line, (heart, labelled) in enumerate(rows):
            axes = place(left + column * (width + _GAP), first + line * (height + _GAP), width, height)
            part = _labels if labelled else _grey
            tiles = [part((pair.mask if labelled else pair.image)(heart, phase, level)) for level in _LEVELS]
            axes.imshow(np.concatenate(tiles, axis=1), aspect=pair.aspect)
            axes.set_axis_off()
            if line == 0:
                axes.set_title(f"{name}, {time:.0f} ms", fontsize=7.5, pad=3)
            if column == 0:
                text = f"{heart}\nlabels" if labelled else heart
                axes.text(-0.03, 0.5, text, transform=axes.transAxes, rotation=90, ha="right", va="center", fontsize=6)
    return figure


def _strip(axes: Axes, frame: pd.DataFrame, shown: pd.DataFrame) -> None:
    """Draw the R-R interval over its phase; the shown phases are those of the heart's cycle."""
    ecg, found = frame[frame["kind"] == "ecg"], frame[frame["kind"] == "wave"]
    axes.set_xlim(0, 1)
    axes.spines["left"].set_visible(False)
    axes.tick_params(left=False, labelleft=False, pad=1)
    if ecg.empty:
        axes.text(0.5, 0.5, "this heart has no ECG", ha="center", transform=axes.transAxes, color=style.MUTED)
        return
    step = float(ecg["time_ms"].iloc[1])
    rr_ms = step * len(ecg)
    closed = np.append(ecg["phase"], 1), np.append(ecg["mv"], ecg["mv"].iloc[0])
    axes.plot(*closed, color=style.INK, linewidth=1)
    for name, phase in zip(shown["name"], shown["phase"]):
        axes.axvline(phase, color=style.GENERATED, linewidth=0.9, linestyle=(0, (3, 2)))
        axes.annotate(
            name, (phase, 0), (3, 2), ("data", "axes fraction"), "offset points", fontsize=6, color=style.GENERATED
        )
    for _, wave in found.iterrows():
        beside = {"R": [(0.0, (6, -2)), (1.0, (-6, -2))], "S": [(wave["phase"], (9, -3))]}
        for phase, offset in beside.get(wave["name"], [(wave["phase"], (0, 4))]):
            axes.annotate(
                wave["name"], (phase, wave["mv"]), offset, textcoords="offset points", ha="center", fontsize=8,
                fontweight="bold", color=style.REAL,
            )  # fmt: skip
    lowest, spread = ecg["mv"].min(), np.ptp(ecg["mv"])
    axes.set_ylim(lowest - 0.3 * spread, lowest + 1.15 * spread)
    ticks = np.arange(0, rr_ms, 200)
    axes.set_xticks(ticks / rr_ms, [f"{tick:.0f}" for tick in ticks])
    axes.set_xlabel(f"ms after the R peak, lead {LEAD}; R-R interval {rr_ms:.0f} ms", labelpad=0, fontsize=6.5)


def _stack(axes: Axes, pair: Pair) -> None:
    """Draw the slices of the real anchor in two columns, base at the top; the shown ones are framed."""
    crop, anchor = pair.crop, np.asarray(pair.cines["real"].frames[0], np.float32)
    low, high = crop.window
    tiles = np.clip((anchor[:, slice(*crop.y), slice(*crop.x)] - low) / (high - low), 0, 1)
    down = math.ceil(len(tiles) / 2)
    rows, columns = tiles.shape[1:]
    empty = np.ones((2 * down - len(tiles), rows, columns))
    sheet = np.concatenate([tiles, empty]).reshape(2, down, rows, columns)
    axes.imshow(_grey(sheet.transpose(1, 2, 0, 3).reshape(down * rows, 2 * columns)), aspect=pair.aspect)
    for place in range(len(tiles)):
        x, y = place // down * columns, place % down * rows
        behind = {"facecolor": "black", "linewidth": 0, "pad": 0.8}
        axes.text(x + 5, y + 5, str(place + 1), color="white", fontsize=5, ha="left", va="top", bbox=behind)
        if place in crop.slices:
            frame = Rectangle((x, y), columns - 1, rows - 1, fill=False, edgecolor="#e69f00", linewidth=1.3)
            axes.add_patch(frame)
    axes.set_axis_off()
    axes.set_anchor("N")
    axes.set_title("stack at ED", fontsize=7.5, pad=3)


def _grey(image: np.ndarray) -> np.ndarray:
    return np.repeat(image[..., None], 3, axis=-1)


def _labels(mask: np.ndarray) -> np.ndarray:
    """Return labels [Y, X] as colours [Y, X, 3]."""
    palette = {0: _BACKGROUND} | {code: style.STRUCTURE[name] for name, code in STRUCTURES.items()}
    return np.array([to_rgb(palette[code]) for code in sorted(palette)])[mask.astype(int)]


def remark(frame: pd.DataFrame, sources: Sources) -> str:
    """Return who is shown and why, and the waves that were not found."""
    subject = frame["subject"].iloc[0]
    why = "named in the configuration" if sources.settings.panel else "the subject with the median absolute EF error"
    said = [f"Model {sources.model}, {subject}: {why}."]
    if (frame["kind"] == "ecg").any():
        found = set(frame.loc[frame["kind"] == "wave", "name"])
        if lacking := [name for name in "PRST" if name not in found]:
            said.append(f"Not found in the ECG: {', '.join(lacking)}.")
    else:
        said.append("The heart was made without an ECG.")
    return " ".join(said)


def numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the volumes at the shown phases: a row per phase and heart."""
    rows = frame[frame["kind"] == "heart"]
    return pd.DataFrame(
        {
            "phase": rows["name"],
            "time (ms)": [f"{time:.0f}" for time in rows["time_ms"]],
            "heart": rows["heart"],
            "frame": [f"{one:.0f}" for one in rows["frame"]],
            **{f"{style.SHORT[name]} (mL)": [f"{ml:.1f}" for ml in rows[f"{name.lower()}_ml"]] for name in STRUCTURES},
        }
    )
