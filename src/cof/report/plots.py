"""Style and output of all figures of the page: colours, SVG in a light and a dark theme, small WebP images.

The same data give the same bytes in every run.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

SMALL_DPI = 110


@dataclass(frozen=True)
class Theme:
    """Colours of one theme; the page's style sheet uses the same colours."""

    name: str
    ink: str
    muted: str
    rule: str
    paper_minor: str
    paper_major: str
    highlight: str
    real: str
    generated: str
    exact: str

    @property
    def expert(self) -> str:
        """Colour of an expert's annotation."""
        return self.ink

    def series(self, name: str) -> str:
        """Return the colour of the real, generated or exact heart."""
        return str(getattr(self, name))


THEMES = (
    Theme("light", "#1b1f24", "#5b6570", "#d9dee3", "#f6e3e1", "#eec4c0", "#ffd54a", "#0f6ba8", "#c2410c", "#3f7d20"),
    Theme("dark", "#e8eaed", "#a4adb8", "#363d46", "#3a2a2c", "#54393b", "#8a6d00", "#72bdf0", "#ff9d66", "#9ad06e"),
)
# Printed source of the volumes of each curve.
CURVE_NAMES = {
    "real": "labels of the real cine",
    "generated": "labels of the generated heart",
    "exact": "exact truth",
    "expert": "expert's contours",
}


def _style(theme: Theme) -> Any:
    """Return Matplotlib's settings for one theme."""
    return {
        "svg.hashsalt": "chain-of-flow",
        "svg.fonttype": "path",
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "text.color": theme.ink,
        "axes.labelcolor": theme.ink,
        "axes.edgecolor": theme.muted,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.color": theme.muted,
        "ytick.color": theme.muted,
        "xtick.labelcolor": theme.ink,
        "ytick.labelcolor": theme.ink,
        "grid.color": theme.rule,
        "grid.linewidth": 0.6,
        "path.simplify_threshold": 0.3,
        "legend.frameon": False,
        "hatch.color": theme.rule,
    }


def render(draw: Callable[[Theme], Figure]) -> dict[str, bytes]:
    """Return the figure that `draw` makes as SVG, by theme.

    The bytes depend on the data alone: ids come from a fixed salt, and no date is written.
    """
    images = {}
    for theme in THEMES:
        with mpl.rc_context(_style(theme)):
            buffer = io.BytesIO()
            draw(theme).savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
        images[theme.name] = buffer.getvalue()
    return images


def render_small(draw: Callable[[Theme], Figure]) -> bytes:
    """Return the figure that `draw` makes as one small WebP image on white, for pages with very many figures."""
    with mpl.rc_context(_style(THEMES[0])):
        buffer = io.BytesIO()
        draw(THEMES[0]).savefig(
            buffer, format="webp", dpi=SMALL_DPI, facecolor="white", pil_kwargs={"quality": 55, "method": 4}
        )
    return buffer.getvalue()
