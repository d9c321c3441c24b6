"""Strain of the wall of the left ventricle, from where its lines of tissue lie at end diastole and in another frame.

The stretch of a line element dX of the wall is its length in a frame, divided by its length at ED: |F e| averaged over
the element, F being the gradient of the map that carries tissue from ED to the frame, and e the direction of dX. The
elements are finite, some millimetres long, since the displacement is known in voxels.

- circumferential: along the centre line of the wall, in its slice.
- radial: through the middle half of the wall. Nearer to its borders an interpolated displacement mixes the wall, which
  thickens, with what lies beside it and does not. It is uncertain: a displacement has voxels nearly as coarse as the
  wall.
- longitudinal: along the centre line, from slice to slice on the same ray. It is uncertain: slices 10 mm apart hardly
  show it.
"""

from dataclasses import dataclass

import numpy as np

from cof.heart.segments import SEGMENTS
from cof.heart.wall import CENTRE, INNER, OUTER, Wall


@dataclass(frozen=True)
class Stretch:
    """Stretch of the wall in frames T, by slice and ray of a wall; 1 at ED, NaN where it is not known.

    Attributes:
        circumferential, radial, longitudinal: [T, S, RAYS].
        segments: [S, RAYS], AHA segments.
    """

    circumferential: np.ndarray
    radial: np.ndarray
    longitudinal: np.ndarray
    segments: np.ndarray

    @classmethod
    def of(cls, wall: Wall, moved_mm: np.ndarray, first_mm: float, last_mm: float) -> "Stretch":
        """Compare lengths.

        Args:
            wall: the wall at ED.
            moved_mm: [T, S, RAYS, 3, 3], where its points lie in frames; NaN where that is not known.
            first_mm, last_mm: range of z in which the motion along z is known. Longitudinal elements that leave it are
                left out.
        """
        height = moved_mm[..., CENTRE, 0]
        inside = np.where((height >= first_mm) & (height <= last_mm), 0.0, np.nan)[..., None]
        return cls(
            _around(moved_mm) / _around(wall.points_mm),
            _through(moved_mm) / _through(wall.points_mm),
            _between(moved_mm[..., CENTRE, :] + inside, wall.points_mm[..., CENTRE, :]),
            wall.segments,
        )


def engineering_pct(stretch: np.ndarray) -> np.ndarray:
    """Return the engineering strain in %: 100 (stretch - 1), the relative change of length."""
    return 100 * (stretch - 1)


def green_lagrange(stretch: np.ndarray) -> np.ndarray:
    """Return the Green-Lagrange strain e^T (F^T F - I) e / 2 = (stretch^2 - 1) / 2, without unit."""
    return (stretch**2 - 1) / 2


def by_segment(values: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """Average values [T, S, RAYS] over the rays of each segment.

    Returns:
        [T, 16]; NaN for a segment of which fewer than half of the rays have a value.
    """
    result = np.full((len(values), SEGMENTS), np.nan)
    for index in range(SEGMENTS):
        own = np.ma.masked_invalid(values[:, segments == index + 1])
        enough = (own.count(1) > 0) & (2 * own.count(1) >= own.shape[1])
        result[enough, index] = own[enough].mean(1)
    return result


def mean_of_segments(values: np.ndarray) -> float:
    """Return the mean of the segments' values [16]: a global strain; NaN if fewer than half of them are known."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if 2 * len(known) >= SEGMENTS else float("nan")


def _around(points: np.ndarray) -> np.ndarray:
    """Return the lengths [..., S, RAYS] of the centre line between the neighbours of each ray."""
    line = points[..., CENTRE, :]
    return np.linalg.norm(np.roll(line, -1, -2) - np.roll(line, 1, -2), axis=-1)


def _through(points: np.ndarray) -> np.ndarray:
    """Return the thickness [..., S, RAYS] of the middle half of the wall on each ray."""
    return np.linalg.norm(points[..., OUTER, :] - points[..., INNER, :], axis=-1)


def _between(moved: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Return the stretch [T, S, RAYS] between slices: the mean of the elements above and below that are known."""
    slices = len(rest)
    element = np.linalg.norm(np.diff(moved, axis=1), axis=-1) / np.linalg.norm(np.diff(rest, axis=0), axis=-1)
    padded = np.pad(element, ((0, 0), (1, 1), (0, 0)), constant_values=np.nan)
    sides = np.stack([padded[:, :slices], padded[:, 1 : slices + 1]])
    return np.ma.masked_invalid(sides).mean(0).filled(np.nan)
