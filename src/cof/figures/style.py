"""Style of the figures: colours, type, and the bytes of SVG and PNG, which are the same in every run."""

import io
import math
import textwrap
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cof import __version__
from cof.artefacts.markup import DASH

WIDTH = 7.2  # of a page of two columns, in inches
DPI = 300
INK, MUTED, RULE = "#1b1f24", "#5b6570", "#d9dee3"
# Hues of the contours on the page, in the colour-blind-safe tones of Okabe and Ito (Color Universal Design, 2008).
STRUCTURE = {"LV": "#d55e00", "myocardium": "#009e73", "RV": "#0072b2"}
SHORT = {"LV": "LV", "myocardium": "Myo", "RV": "RV"}
MARKER = {"LV": "o", "myocardium": "^", "RV": "s"}
# Colours of the real, the generated and the exact heart on the page.
REAL, GENERATED, EXACT = "#0f6ba8", "#c2410c", "#3f7d20"

_MADE_BY = f"chain-of-flow {__version__}"
_STYLE: Any = {
    "svg.hashsalt": "chain-of-flow",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "axes.titlesize": 8,
    "axes.labelsize": 7,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "grid.color": RULE,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "image.interpolation": "none",
}


def number(value: float, form: str) -> str:
    """Return a number as text, with a minus sign and no negative zero; a dash if it is undefined."""
    return DASH if math.isnan(value) else f"{value:{form.replace('.', 'z.')}}".replace("-", "−")


def identity(axes: Axes, values: np.ndarray, margin: float) -> None:
    """Draw the line of equal values; limit both axes to the range of `values`, widened by a share `margin` of it."""
    beyond = margin * (np.ptp(values) or 1)
    limits = values.min() - beyond, values.max() + beyond
    axes.plot(limits, limits, color=MUTED, linewidth=0.8, zorder=0)
    axes.set_xlim(limits)
    axes.set_ylim(limits)


def printed() -> Any:
    """Return the context in which every figure is drawn and saved."""
    return mpl.rc_context(_STYLE)


def encoded(figure: Figure) -> dict[str, bytes]:
    """Return a figure as `.svg` and `.png`; ids come from a fixed salt, and no date is written."""
    found = {}
    figure.draw_without_rendering()  # lays it out, once for both
    figure.set_layout_engine("none")
    for suffix, told in ((".svg", {"Date": None, "Creator": _MADE_BY}), (".png", {"Software": _MADE_BY})):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix[1:], dpi=DPI, metadata=told)
        found[suffix] = buffer.getvalue()
    return found


def notice(title: str, reason: str) -> Figure:
    """Return the picture in place of a figure that cannot be drawn, with the reason."""
    figure = Figure(figsize=(WIDTH, 1.6))
    figure.text(0.5, 0.72, f"{title}: not drawn", ha="center", fontsize=9, fontweight="bold")
    figure.text(0.5, 0.55, textwrap.fill(reason, 100), ha="center", va="top", fontsize=8, color=MUTED)
    return figure
