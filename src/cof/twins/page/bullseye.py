"""The bull's-eye of wall thickening: the 16 segments of the American Heart Association as shapes of an SVG.

Segments lie as a reader sees them: anterior on top, the septum on the left (Cerqueira et al., Circulation 105:539,
2002).
"""

import math
from dataclasses import dataclass

import numpy as np

from cof.metrics.regional import is_mirrored, regional_function
from cof.twins.exports.heart import Heart

_WALLS = ("anterior", "anteroseptal", "inferoseptal", "inferior", "inferolateral", "anterolateral")
NAMES = (
    *(f"{level} {wall}" for level in ("basal", "mid") for wall in _WALLS),
    *(f"apical {wall}" for wall in ("anterior", "septal", "inferior", "lateral")),
)
# Inner and outer radius of basal, mid and apical ring; width of a segment, and centres in degrees, anticlockwise from
# the right.
_RINGS = (
    (70.0, 98.0, 60.0, (90.0, 150.0, 210.0, 270.0, 330.0, 30.0)),
    (42.0, 70.0, 60.0, (90.0, 150.0, 210.0, 270.0, 330.0, 30.0)),
    (12.0, 42.0, 90.0, (90.0, 180.0, 270.0, 0.0)),
)
# Thickening in % up to which a colour reaches, and the colour; darker is more.
SCALE = ((0.0, "#f2b48a"), (20.0, "#e3eef5"), (40.0, "#b5d3e6"), (60.0, "#72aad0"), (math.inf, "#2f74a8"))
UNKNOWN = "#d9dde2"
_DARK = ("#2f74a8",)


@dataclass(frozen=True)
class Segment:
    """One segment as it is drawn.

    Attributes:
        name: such as "mid inferoseptal".
        path: outline, the data of an SVG path; the centre of the bull's-eye is (0, 0), its radius 98.
        x, y: place of its number.
        value: thickening in %, rounded, or a dash.
        fill, ink: colours of the area and of the number.
    """

    name: str
    path: str
    x: float
    y: float
    value: str
    fill: str
    ink: str


def thickening(heart: Heart) -> np.ndarray | None:
    """Return the wall thickening [16] in % from ED to ES, NaN where undefined; None for a heart without motion."""
    if heart.displacement is None or heart.placement is None:
        return None
    displacement = heart.displacement.float().numpy()
    found = regional_function(heart.labels[0], displacement, heart.placement, heart.cine.rr_ms, is_mirrored(heart.cine))
    return found.thickening_pct if np.isfinite(found.thickening_pct).any() else None


def segments(values: np.ndarray) -> list[Segment]:
    """Return the segments 1 to 16 with their thickening [16] in %."""
    drawn = []
    places = [(inner, outer, width, centre) for inner, outer, width, centres in _RINGS for centre in centres]
    for name, (inner, outer, width, centre), value in zip(NAMES, places, values, strict=True):
        known = bool(np.isfinite(value))
        fill = next(colour for top, colour in SCALE if value < top or math.isinf(top)) if known else UNKNOWN
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
