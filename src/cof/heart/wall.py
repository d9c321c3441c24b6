"""The wall of the left ventricle at end diastole as lines of tissue around the cavity, at three depths."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d, map_coordinates

from cof.heart.segments import levels, offsets, segment_at, turn_to_septum
from cof.heart.structures import STRUCTURES

RAYS = 72
# The borders are smoothed along the circumference by a Gaussian of this SD: the steps of voxels, not the shape.
_SMOOTH_DEG = 10.0
_STEPS_PER_PIXEL = 4
# Depths of the lines as shares of the wall, from its inner border: the centre line, and both ends of the middle half.
DEPTHS = (0.25, 0.5, 0.75)
INNER, CENTRE, OUTER = range(3)


@dataclass(frozen=True)
class Wall:
    """Points of the wall at ED, on rays from the centre of the cavity in every slice that shows it.

    Attributes:
        points_mm: float64 [S, RAYS, 3, 3]: slices from base to apex; rays; `DEPTHS`; z, y, x in mm from the centre of
            voxel 0. NaN on rays that cross no wall.
        segments: [S, RAYS], the AHA segment of each ray, 1 to 16.
    """

    points_mm: np.ndarray
    segments: np.ndarray

    @classmethod
    def of(cls, labels: np.ndarray, spacing_mm: tuple[float, float, float], slices: range, mirrored: bool) -> "Wall":
        """Find the wall.

        A ray's border encloses the area that the labels enclose: its radius is R with R^2 / 2 = integral of m r dr,
        m being the mask of the cavity for the inner, and of cavity and myocardium for the outer border. A wall thinner
        than a pixel is none.

        Args:
            labels: [Z, Y, X] of ED, slices from base to apex.
            spacing_mm: along z, y, x.
            slices: slices to use.
            mirrored: whether the image is a mirror image of the short-axis view from the apex.

        Returns:
            The wall; without slices if the labels lack LV or RV.
        """
        turn = turn_to_septum(labels, spacing_mm, mirrored)
        cavity = labels == STRUCTURES["LV"]
        whole = cavity | (labels == STRUCTURES["myocardium"])
        held = [z for z in slices if cavity[z].any()] if turn is not None else []
        points = np.full((len(held), RAYS, 3, 3), np.nan)
        segments = np.zeros((len(held), RAYS), np.uint8)
        angles = np.arange(RAYS) * 360 / RAYS
        directions = np.stack(offsets(angles, mirrored), -1)
        pixel = np.array(spacing_mm[1:])
        for row, (z, level) in enumerate(zip(held, levels(len(held)))):
            centre = np.argwhere(cavity[z]).mean(0) * pixel
            reach = np.linalg.norm(np.argwhere(whole[z]) * pixel - centre, axis=1).max() + pixel.max()
            inner, outer = (_radii(mask[z].astype(float), centre, directions, reach, pixel) for mask in (cavity, whole))
            thickness = np.where(outer - inner < pixel.max(), np.nan, outer - inner)
            radii = inner[:, None] + thickness[:, None] * DEPTHS
            points[row, ..., 0] = np.where(np.isfinite(radii), z * spacing_mm[0], np.nan)
            points[row, ..., 1:] = centre + directions[:, None] * radii[..., None]
            segments[row] = segment_at(angles + (turn or 0.0), int(level))
        return cls(points, segments)


def _radii(mask: np.ndarray, centre: np.ndarray, directions: np.ndarray, reach: float, pixel: np.ndarray) -> np.ndarray:
    """Return the radius [RAYS] in mm of the border of a mask [Y, X] on rays from a centre in mm."""
    width = float(pixel.min()) / _STEPS_PER_PIXEL
    radius = np.arange(0.5 * width, reach, width)
    at = centre + directions[:, None] * radius[:, None]
    inside = map_coordinates(mask, np.moveaxis(at / pixel, -1, 0), order=1)
    square = 2 * (inside * radius).sum(1) * width
    return np.sqrt(gaussian_filter1d(square, _SMOOTH_DEG * RAYS / 360, mode="wrap"))
