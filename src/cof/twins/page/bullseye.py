"""Bull's-eyes of regional function: the 16 segments of the American Heart Association as shapes of an SVG.

Segments lie as a reader sees them: anterior on top, the septum on the left (Cerqueira et al., Circulation 105:539,
2002).
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cof.heart.segments import APEX, NAMES, RING
from cof.heart.strain import mean_of_segments

# Inner and outer radius of basal, mid and apical ring; width of a segment, and centres in degrees, anticlockwise from
# the right.
_RINGS = ((70.0, 98.0, 60.0, RING), (42.0, 70.0, 60.0, RING), (12.0, 42.0, 90.0, APEX))
UNKNOWN = "#d9dde2"
_WORSE, *_BETTER = ("#f2b48a", "#e3eef5", "#b5d3e6", "#72aad0", "#2f74a8")
_DARK = ("#2f74a8",)


@dataclass(frozen=True)
class Colour:
    """A colour and the values that have it, from the top of the colour before up to `top`, in %."""

    top: float
    colour: str
    told: str


THICKENING = (
    Colour(0.0, _WORSE, "thinner"),
    Colour(20.0, _BETTER[0], "0 to 20 %"),
    Colour(40.0, _BETTER[1], "20 to 40 %"),
    Colour(60.0, _BETTER[2], "40 to 60 %"),
    Colour(math.inf, _BETTER[3], "over 60 %"),
)
SHORTENING = (
    Colour(-20.0, _BETTER[3], "below -20 %"),
    Colour(-15.0, _BETTER[2], "-20 to -15 %"),
    Colour(-10.0, _BETTER[1], "-15 to -10 %"),
    Colour(0.0, _BETTER[0], "-10 to 0 %"),
    Colour(math.inf, _WORSE, "longer"),
)


@dataclass(frozen=True)
class Segment:
    """One segment as it is drawn.

    Attributes:
        name: such as "mid inferoseptal".
        path: outline, the data of an SVG path; the centre of the bull's-eye is (0, 0), its radius 98.
        x, y: place of its number.
        value: value in %, rounded, or a dash.
        fill, ink: colours of the area and of the number.
    """

    name: str
    path: str
    x: float
    y: float
    value: str
    fill: str
    ink: str


@dataclass(frozen=True)
class Chart:
    """One bull's-eye.

    Attributes:
        key: name within the page.
        title: its heading.
        note: what is shown, and what limits it.
        values: [16] in %, NaN where undefined.
        scale: its colours.
    """

    key: str
    title: str
    note: str
    values: np.ndarray
    scale: tuple[Colour, ...]

    @property
    def segments(self) -> list[Segment]:
        """The segments 1 to 16."""
        return segments(self.values, self.scale)


def charts(regional: pd.DataFrame | None) -> list[Chart]:
    """Return the charts of a heart's regional function (`cof.twins.exports.tables.regional`), without empty ones."""
    if regional is None:
        return []
    means = {n: mean_of_segments(regional[f"strain_{n}_pct"].to_numpy()) for n in ("radial", "longitudinal")}
    others = ", ".join(f"{name} {mean:.0f} %" for name, mean in means.items() if np.isfinite(mean))
    made = (
        Chart(
            "wall",
            "Wall thickening",
            "Change of wall thickness from ED to ES in 16 AHA segments of fixed planes. The base moves out of the "
            "basal slices, so that basal segments thicken less here than their tissue does.",
            regional["thickening_pct"].to_numpy(),
            THICKENING,
        ),
        Chart(
            "strain",
            "Circumferential strain",
            "Engineering strain from ED to ES along the centre line of the wall, of the tissue of 16 AHA segments. "
            f"Mean of the other directions: {others or 'not known'}. Both are uncertain: motion is known in voxels "
            "nearly as coarse as the wall, and slices 10 mm apart hardly show longitudinal strain.",
            regional["strain_circumferential_pct"].to_numpy(),
            SHORTENING,
        ),
    )
    return [chart for chart in made if np.isfinite(chart.values).any()]


def segments(values: np.ndarray, scale: tuple[Colour, ...]) -> list[Segment]:
    """Return the segments 1 to 16 with their values [16] in %."""
    drawn = []
    places = [(inner, outer, width, centre) for inner, outer, width, centres in _RINGS for centre in centres]
    for name, (inner, outer, width, centre), value in zip(NAMES, places, values, strict=True):
        known = bool(np.isfinite(value))
        fill = next(step.colour for step in scale if value < step.top) if known else UNKNOWN
        x, y = _at((inner + outer) / 2, centre)
        drawn.append(
            Segment(
                name=name,
                path=_sector(inner, outer, centre - width / 2, centre + width / 2),
                x=round(x, 1),
                y=round(y, 1),
                value=f"{value:.0f}" if known else "–",
                fill=fill,
                ink="#ffffff" if fill in _DARK else "#1b1f24",
            )
        )
    return drawn


def _at(radius: float, degrees: float) -> tuple[float, float]:
    return radius * math.cos(math.radians(degrees)), -radius * math.sin(math.radians(degrees))


def _sector(inner: float, outer: float, start: float, end: float) -> str:
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = (
        _at(outer, start), _at(outer, end), _at(inner, end), _at(inner, start),
    )  # fmt: skip
    return (
        f"M{x0:.2f} {y0:.2f}A{outer:g} {outer:g} 0 0 0 {x1:.2f} {y1:.2f}"
        f"L{x2:.2f} {y2:.2f}A{inner:g} {inner:g} 0 0 1 {x3:.2f} {y3:.2f}Z"
    )
