"""A tube of muscle with an RV at its side, and its incompressible contraction with a twist, in closed form."""

import numpy as np

SPACING_MM = (8.0, 0.7, 0.7)
SHAPE = (8, 104, 104)
CENTRE = np.array([36.0, 36.4])  # mm, y and x
INNER_MM, OUTER_MM = 12.0, 22.0
FIRST, LAST = 1, 6  # slices with a heart


def tube(rv_degrees: float = 180.0, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Labels [Z, Y, X]; the RV lies at `rv_degrees` from the image's right over its top."""
    y, x = (np.arange(size) * step for size, step in zip(shape[1:], SPACING_MM[1:]))
    down, across = np.meshgrid(y - CENTRE[0], x - CENTRE[1], indexing="ij")
    radius = np.hypot(down, across)
    rad = np.deg2rad(rv_degrees)
    plane = np.zeros(shape[1:], np.uint8)
    plane[(np.hypot(down + 24 * np.sin(rad), across - 24 * np.cos(rad)) < 8) & (radius >= OUTER_MM)] = 3
    plane[radius < OUTER_MM] = 2
    plane[radius < INNER_MM] = 1
    labels = np.zeros(shape, np.uint8)
    labels[FIRST : LAST + 1] = plane
    return labels


class Contraction:
    """The map of a tube that shortens, turns and narrows, keeping the volume of its wall.

    z = l Z, angle = Angle + twist Z, r^2 = a^2 + (R^2 - A^2) / l, with capitals at ED, l the stretch of the axis, A and
    a the inner radii; Z is counted from the first slice. The cavity scales by a / A.
    """

    def __init__(self, inner_mm: float = 7.0, along: float = 0.85, twist_per_mm: float = 0.004) -> None:
        self.inner, self.along, self.twist = inner_mm, along, twist_per_mm
        self.top = FIRST * SPACING_MM[0]

    def radius(self, rest: np.ndarray) -> np.ndarray:
        """The radius in the frame of wall that lies at `rest` at ED."""
        return np.sqrt(np.maximum(self.inner**2 + (rest**2 - INNER_MM**2) / self.along, 0))

    def carry(self, points: np.ndarray) -> np.ndarray:
        """Where points [..., 3] of the wall lie in the frame."""
        height = points[..., 0] - self.top
        down, across = np.moveaxis(points[..., 1:] - CENTRE, -1, 0)
        rest = np.hypot(down, across)
        angle = np.arctan2(-down, across) + self.twist * height
        moved = self.radius(rest)
        return np.stack(
            [
                self.top + self.along * height,
                CENTRE[0] - moved * np.sin(angle),
                CENTRE[1] + moved * np.cos(angle),
            ],
            -1,
        )

    def pull(self, at: np.ndarray) -> np.ndarray:
        """The displacement [..., 3] that pulls the frame back at points [..., 3] of it."""
        height = (at[..., 0] - self.top) / self.along
        down, across = np.moveaxis(at[..., 1:] - CENTRE, -1, 0)
        moved = np.hypot(down, across)
        wall = np.sqrt(np.maximum(INNER_MM**2 + self.along * (moved**2 - self.inner**2), 0))
        rest = np.where(moved < self.inner, moved * INNER_MM / self.inner, wall)
        angle = np.arctan2(-down, across) - self.twist * height
        back = np.stack([self.top + height, CENTRE[0] - rest * np.sin(angle), CENTRE[1] + rest * np.cos(angle)], -1)
        return back - at
