"""The heart as two pictures for a first look: all slices at ED and ES as PNG, three beating slices as GIF.

Every picture says that the heart is synthetic. The same heart always gives the same bytes.
"""

import math
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from cof.errors import CofError, Reason, redact
from cof.heart.function import volume_curve
from cof.heart.structures import STRUCTURES
from cof.twins.exports.heart import SYNTHETIC, Heart
from cof.twins.page.mesh import LOOKS
from cof.twins.text import numbers
from cof.viewer.cines import Crop, contours, place_crop

TITLE = f"Generated heart: {SYNTHETIC}"
# Contours of the LV cavity, of the LV with its wall, and of the RV cavity, as on the page of a heart.
NAMES = ("LV", "Myo", "RV")
COLOURS = tuple(colour for colour, _ in LOOKS.values())
_PAPER, _INK, _DOUBT = "black", "white", "#ffd54a"
_PLATE = {"facecolor": _PAPER, "edgecolor": "none", "pad": 1.5}

_WIDTH_IN, _DPI = 11.0, 100
_MONO = 0.602  # width of a character of DejaVu Sans Mono over its size
_COLUMNS = 78  # characters of a line of notices
_PER_ROW = 7  # slices of a phase side by side; more than these stand in two rows

_TILE = 208  # pixels of the longer side of a slice in the film
_BAND = 26  # pixels of a line of text
_TYPE = 14, 6  # type size in the film, pixels: the usual one, and the smallest to which long lines shrink
_MARGIN = 8  # pixels beside a line of text
_GREYS = 48  # levels of grey in the film, few so that it is small
_TICK_MS = 10  # unit of time in a GIF
_LEAST_MS = 20  # browsers show frames of less than two units for ten


def write(heart: Heart, folder: Path) -> list[Path]:
    """Write `{name}.png` and `{name}.gif`.

    Raises:
        CofError: HEART_NOT_FOUND, the labels of ED show no left ventricle.
    """
    try:
        crop = place_crop(np.asarray(heart.cine.frames[0]), heart.labels[0], heart.cine.spacing_mm)
    except ValueError as error:
        raise CofError(Reason.HEART_NOT_FOUND, str(error)) from None
    png, gif = (folder / f"{heart.name}.{end}" for end in ("png", "gif"))
    _write_picture(heart, crop, png)
    _write_film(heart, crop, gif)
    return [png, gif]


def film_times(times_ms: np.ndarray, rr_ms: float) -> tuple[list[int], list[int]]:
    """Choose frames of a cycle for a film in real time.

    Args:
        times_ms: [T], times of the frames after frame 0.
        rr_ms: duration of the cycle.

    Returns:
        Frames, frame 0 first, as many as there can be if none is shown for less than `_LEAST_MS`; and how long each is
        shown, in whole multiples of 10 ms, whose sum is the cycle to within 5 ms.
    """
    frames = [0]
    for frame, time in enumerate(times_ms):
        if min(time - times_ms[frames[-1]], rr_ms - time) >= _LEAST_MS:
            frames.append(frame)
    ends = np.rint(np.append(times_ms[frames], rr_ms) / _TICK_MS).astype(int)
    return frames, (np.diff(ends) * _TICK_MS).tolist()


def _write_picture(heart: Heart, crop: Crop, path: Path) -> None:
    """Write all slices at ED and at ES with contours, the LV curve, and the numbers."""
    slices = heart.labels.shape[1]
    whole = replace(crop, slices=tuple(range(slices)))
    across = slices if slices <= _PER_ROW else math.ceil(slices / 2)
    phases = {"ED": 0, "ES": heart.es_frame}
    per_phase = math.ceil(slices / across)
    rows, columns = crop.tile()
    side = _WIDTH_IN / across
    tall = side * rows * crop.spacing_mm[0] / (columns * crop.spacing_mm[1])
    doubtful = heart.doubtful_slices
    words = _words(heart)
    head, foot, gap = 0.75, max(2.6, 0.16 * len(words) + 0.5), 0.28
    height = head + 2 * (gap + per_phase * tall) + foot
    lines = contours(heart.labels[list(phases.values())], whole)
    with mpl.rc_context(
        {
            "font.family": "DejaVu Sans",
            "font.size": 9,
            "text.color": _INK,
            "text.parse_math": False,  # a notice may hold "$"
            "axes.edgecolor": _INK,
        }
    ):
        figure = Figure(figsize=(_WIDTH_IN, height), dpi=_DPI, facecolor=_PAPER)
        place = _placer(figure, _WIDTH_IN, height)
        figure.text(0.01, 1 - 0.3 / height, TITLE, size=15, weight="bold", va="center")
        figure.text(0.01, 1 - 0.58 / height, f"model {heart.summary['model']}", va="center")
        for at, (name, colour) in enumerate(zip(NAMES, COLOURS)):
            figure.text(0.82 + 0.06 * at, 1 - 0.58 / height, name, color=colour, weight="bold", va="center")
        top = head
        for number, (phase, frame) in enumerate(phases.items()):
            told = f"{phase}: {_moment(heart, frame)}"
            figure.text(0.01, 1 - (top + gap / 2) / height, told, weight="bold", va="center")
            top += gap
            for index in range(slices):
                row, column = divmod(index, across)
                axes = place(column * side, top + row * tall, side, tall)
                image = np.asarray(heart.cine.frames[frame, index])
                _show(axes, image, whole, lines[index][number])
                name, colour = (
                    (f"{index + 1}, labels doubtful", _DOUBT) if index + 1 in doubtful else (f"{index + 1}", _INK)
                )
                axes.text(0.04, 0.95, name, transform=axes.transAxes, va="top", size=8, color=colour, bbox=_PLATE)
            top += per_phase * tall
        _curve(place(0.55, top + 0.3, 3.6, foot - 0.8), heart)
        wide = 72 * (_WIDTH_IN - 4.7) / _MONO  # type size of one character on the whole width, points
        size = min(9.0, wide / max(map(len, words)))
        figure.text(
            4.5 / _WIDTH_IN, 1 - (top + 0.3) / height, "\n".join(words), va="top", size=size, family="DejaVu Sans Mono"
        )
        about = {"Title": TITLE, "Description": redact("; ".join(heart.notices)), "Software": None}
        figure.savefig(path, format="png", metadata=about)


def _words(heart: Heart) -> list[str]:
    """Return the lines of text beside the curve: numbers, what their marks mean, doubtful labels, and the notices."""
    lines = numbers(heart.summary)
    if "reference" in heart.summary:
        source = heart.summary["reference"]["source"]
        lines = [*lines, "", f"Ranges: {source}", "H, L: the generated value is above, below the range"]
    told = heart.doubt_message, redact("; ".join(heart.notices))
    doubt, notices = (textwrap.wrap(said, _COLUMNS, break_on_hyphens=False) for said in told)
    return [*lines, *doubt, "", *notices]


def _placer(figure: Figure, width: float, height: float) -> Callable[[float, float, float, float], Axes]:
    """Return a function that adds axes at a place in inches from the upper left corner."""
    return lambda x, y, w, h: figure.add_axes((x / width, 1 - (y + h) / height, w / width, h / height))


def _show(axes: Axes, image: np.ndarray, crop: Crop, outlines: list[list[list[float]]]) -> None:
    low, high = crop.window
    shown = image[slice(*crop.y), slice(*crop.x)]
    axes.imshow(shown, cmap="gray", vmin=low, vmax=high, aspect="auto", extent=(0, shown.shape[1], shown.shape[0], 0))
    for polygons, colour in zip(outlines, COLOURS):
        for polygon in polygons:
            closed = [*polygon, *polygon[:2]]
            axes.plot(closed[::2], closed[1::2], color=colour, linewidth=1.0)
    axes.set_xlim(0, shown.shape[1])
    axes.set_ylim(shown.shape[0], 0)
    axes.set_axis_off()


def _curve(axes: Axes, heart: Heart) -> None:
    """Draw the LV volume over the cycle, and that of the scan beside it."""
    spacing, lv = heart.cine.spacing_mm, STRUCTURES["LV"]
    drawn = [("generated", COLOURS[0], "-", heart.labels, heart.cine)]
    if heart.recorded is not None:
        drawn.append(("scan", _INK, "--", heart.recorded.labels, heart.recorded.cine))
    for name, colour, style, labels, cine in drawn:
        volume = volume_curve(labels, lv, spacing)
        scale = 1.0 if heart.timed else 100 / cine.rr_ms
        times = np.append(cine.frame_times_ms, cine.rr_ms) * scale
        axes.plot(times, np.append(volume, volume[0]), color=colour, linestyle=style, label=name, linewidth=1.5)
    axes.set_facecolor(_PAPER)
    axes.set_ylim(bottom=0)
    doubt = " (labels doubtful)" if heart.summary.get("labels", {}).get("doubtful") else ""
    axes.set_title(f"LV volume, mL{doubt}", color=_INK, size=9, loc="left")
    axes.set_xlabel("ms" if heart.timed else "% of the cycle", color=_INK)
    axes.tick_params(colors=_INK)
    axes.legend(facecolor=_PAPER, edgecolor=_PAPER, labelcolor=_INK, loc="lower right")


def _moment(heart: Heart, frame: int) -> str:
    at = f"{heart.times_ms[frame]:.0f} ms" if heart.timed else f"{100 * frame / len(heart.labels):.0f} % of the cycle"
    return f"frame {frame}, {at}"


def _write_film(heart: Heart, crop: Crop, path: Path) -> None:
    """Write the three slices of a crop, beating at the heart's rate, with contours."""
    frames, durations = film_times(heart.times_ms, heart.cine.rr_ms)
    rows, columns = crop.tile()
    tall, wide = rows * crop.spacing_mm[0], columns * crop.spacing_mm[1]
    size = round(_TILE * wide / max(tall, wide)), round(_TILE * tall / max(tall, wide))
    lines = contours(heart.labels[frames], crop)
    rate = f"{60_000 / heart.cine.rr_ms:.0f} bpm" if heart.timed else "rate not known"
    doubtful = heart.doubtful_slices
    names = [f"slice {index + 1}{', labels doubtful' * (index + 1 in doubtful)}" for index in crop.slices]
    title = _band(f"{TITLE}, {rate}", len(crop.slices) * size[0])
    below = np.hstack([_band(name, size[0]) for name in names])
    pictures = []
    for at, frame in enumerate(frames):
        tiles = [
            _tile(np.asarray(heart.cine.frames[frame, index]), crop, size, lines[level][at])
            for level, index in enumerate(crop.slices)
        ]
        made = Image.fromarray(np.vstack([title, np.hstack(tiles), below]), "P")
        made.putpalette(_palette())
        pictures.append(made)
    first, *others = pictures
    first.save(
        path,
        "GIF",
        save_all=True,
        append_images=others,
        duration=durations,
        loop=0,
        optimize=False,
        comment=TITLE.encode(),
    )


def _palette() -> list[int]:
    """Return the colours of the film: greys, then those of the contours."""
    greys = [level for grey in range(_GREYS) for level in [round(255 * grey / (_GREYS - 1))] * 3]
    return greys + [int(colour[at : at + 2], 16) for colour in COLOURS for at in (1, 3, 5)]


def _tile(image: np.ndarray, crop: Crop, size: tuple[int, int], outlines: list[list[list[float]]]) -> np.ndarray:
    """Return one slice with contours, as indices of the palette."""
    low, high = crop.window
    shown = np.clip((image[slice(*crop.y), slice(*crop.x)].astype(np.float32) - low) / (high - low), 0, 1)
    large = Image.fromarray(shown).resize(size, Image.Resampling.BICUBIC)
    grey = np.rint(np.clip(np.asarray(large), 0, 1) * (_GREYS - 1)).astype(np.uint8)
    drawn = Image.fromarray(grey)
    pen = ImageDraw.Draw(drawn)
    scale = np.array(size) / shown.shape[::-1]
    for structure, polygons in enumerate(outlines):
        for polygon in polygons:
            points = np.reshape([*polygon, *polygon[:2]], (-1, 2)) * scale
            pen.line([tuple(point) for point in points.tolist()], fill=_GREYS + structure, width=1)
    return np.asarray(drawn)


def _band(words: str, width: int) -> np.ndarray:
    """Return a line of text in white on black, as indices of the palette. It is as small as the width demands."""
    drawn = Image.new("L", (width, _BAND))
    pen = ImageDraw.Draw(drawn)
    usual, smallest = _TYPE
    fonts = (ImageFont.load_default(size) for size in range(usual, smallest, -1))
    fits = (font for font in fonts if pen.textlength(words, font) <= width - 2 * _MARGIN)
    font = next(fits, ImageFont.load_default(smallest))
    pen.text((_MARGIN, _BAND // 2), words, fill=_GREYS - 1, font=font, anchor="lm")
    return np.asarray(drawn)
