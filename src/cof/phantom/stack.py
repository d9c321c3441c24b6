"""Geometry of the scanner's short-axis slices in the heart and in the patient."""

from dataclasses import dataclass

import numpy as np

from cof.config.data import PhantomSettings
from cof.phantom.anatomy import Heart
from cof.phantom.motion import REACH_MM, Points, polar_points

SLICE_DISTANCE_MM = 10.0
SLICE_THICKNESS_MM = 8.0
# The slice profile as sub-planes: offsets along the slice normal and their weights.
PROFILE_OFFSETS_MM = np.array([-3.2, -1.6, 0.0, 1.6, 3.2], np.float32)
PROFILE_WEIGHTS = np.array([0.14, 0.22, 0.28, 0.22, 0.14], np.float32)
# Ratio of the through-plane to the in-plane scatter of breath-hold positions.
_THROUGH_PLANE_RATIO = 0.8 / 1.5
# For planning: the share of the LV's length at the apex that may stay uncovered, and the wall below the apex.
_SPARED_APEX = 0.17
_APICAL_WALL_MM = 8.0


@dataclass(frozen=True)
class Stack:
    """The geometry of one acquisition. Image axes: x along a row (patient's left and back), y down a column (feet).

    Attributes:
        matrix: number of rows, and of columns, of a slice.
        spacing_mm: pixel spacing.
        height_mm: [Z] true heights of the slice centres in the heart frame, from base to apex.
        shift_mm: [Z, 2] true offset (x, y) of each breath-hold from the header's position.
        centre: column and row of the LV axis at half its length, without shift.
        rotation: angle in rad by which the heart is rotated in the image, anticlockwise.
        orientation: [2, 3] unit vectors of a row and of a column in the patient (LPS).
        position_mm: [Z, 3] LPS position of each slice's first pixel, as the header states it.
        box: first row, last row + 1, first column, last column + 1 of the region that can move.
    """

    matrix: int
    spacing_mm: float
    height_mm: np.ndarray
    shift_mm: np.ndarray
    centre: tuple[float, float]
    rotation: float
    orientation: np.ndarray
    position_mm: np.ndarray
    box: tuple[int, int, int, int]

    @property
    def box_shape(self) -> tuple[int, int, int]:
        """Number of slices, rows and columns of the region that can move."""
        top, bottom, left, right = self.box
        return len(self.height_mm), bottom - top, right - left

    def image_mm(self) -> tuple[np.ndarray, np.ndarray]:
        """Return x and y in mm from the LV axis of every pixel of every slice, each float32 [Z, rows, columns]."""
        pixel = np.arange(self.matrix, dtype=np.float32)
        x = (pixel - self.centre[0]) * self.spacing_mm
        y = (pixel - self.centre[1]) * self.spacing_mm
        shape = (len(self.height_mm), self.matrix, self.matrix)
        across = x[None, None, :] - self.shift_mm[:, 0, None, None]
        down = y[None, :, None] - self.shift_mm[:, 1, None, None]
        return np.broadcast_to(across, shape).astype(np.float32), np.broadcast_to(down, shape).astype(np.float32)

    def to_heart(self, heart: Heart, x: np.ndarray, y: np.ndarray, height: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Map image points x, y [P, N] on planes of heights [P] to lateral and anterior in the heart frame."""
        cosine, sine = np.cos(self.rotation), np.sin(self.rotation)
        above = (height - heart.length_mm / 2)[:, None]
        lateral = cosine * x - sine * y - heart.lean[0] * above
        anterior = -sine * x - cosine * y - heart.lean[1] * above
        return lateral, anterior

    def to_image(
        self, heart: Heart, lateral: np.ndarray, anterior: np.ndarray, towards_base: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Map a displacement in the heart frame to the image's z (towards the apex), y and x axes."""
        lateral = lateral + heart.lean[0] * towards_base
        anterior = anterior + heart.lean[1] * towards_base
        cosine, sine = np.cos(self.rotation), np.sin(self.rotation)
        return -towards_base, -sine * lateral - cosine * anterior, cosine * lateral - sine * anterior

    def box_points(self, heart: Heart, offsets_mm: np.ndarray) -> tuple[np.ndarray, Points]:
        """Return the pixels of the box on sub-planes of every slice.

        Args:
            heart: the anatomy.
            offsets_mm: [S] distances of the sub-planes from the slice centre, towards the base.

        Returns:
            heights [Z * S] and points [Z * S, rows * columns], slice by slice.
        """
        top, bottom, left, right = self.box
        x, y = (axis[:, top:bottom, left:right].reshape(len(self.height_mm), -1) for axis in self.image_mm())
        planes = len(offsets_mm)
        height = (self.height_mm[:, None] + offsets_mm[None]).ravel().astype(np.float32)
        lateral, anterior = self.to_heart(heart, np.repeat(x, planes, 0), np.repeat(y, planes, 0), height)
        return height, polar_points(lateral, anterior)

    def affine(self) -> np.ndarray:
        """Return the affine [4, 4], voxel index (x, y, z from base to apex) to RAS mm, from the header's positions."""
        affine = np.eye(4)
        affine[:3, 0] = self.orientation[0] * self.spacing_mm
        affine[:3, 1] = self.orientation[1] * self.spacing_mm
        affine[:3, 2] = self.position_mm[1] - self.position_mm[0]
        affine[:3, 3] = self.position_mm[0]
        return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def _rotate(vectors: np.ndarray, axis: np.ndarray, angle: float) -> np.ndarray:
    """Rotate row vectors about a unit axis (Rodrigues)."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return vectors * cosine + np.cross(axis, vectors) * sine + np.outer(vectors @ axis, axis) * (1 - cosine)


def plan_stack(heart: Heart, settings: PhantomSettings, rng: np.random.Generator) -> Stack:
    """Plan the slices as an operator would: parallel to the valve plane, and into the atria if there are enough slices.

    The apical sixth of the LV's length holds about 4 % of its volume, and may stay uncovered. The first slice that the
    LV does not need goes to the atria, since the base descends in systole. Further ones cover the apex, and the rest is
    divided between both.
    """
    spacing = float(rng.normal(1.83, 0.02) if rng.random() < 0.8 else rng.uniform(1.2, 2.3))
    apex = _SPARED_APEX * heart.length_mm
    spare = settings.slices - (heart.length_mm - apex) / SLICE_DISTANCE_MM
    above = int(spare >= 1)
    above += int(max(0.0, spare - above - (apex + _APICAL_WALL_MM) / SLICE_DISTANCE_MM) / 2)
    top = heart.length_mm + SLICE_DISTANCE_MM * (above - 0.5) + rng.normal(0, 1.5)
    planned = top - SLICE_DISTANCE_MM * np.arange(settings.slices)
    scatter = rng.normal(0, 1, (settings.slices, 3)) * settings.slice_shift_mm
    height = planned + scatter[:, 2] * _THROUGH_PLANE_RATIO
    rotation = float(np.deg2rad(rng.normal(-4, 12)))

    outer = heart.rv_epi[(heart.z_mm > 0) & (heart.z_mm < heart.length_mm)].max(0)
    angles = np.arange(outer.size) * 2 * np.pi / outer.size + rotation
    x, y = outer * np.cos(angles), -outer * np.sin(angles)
    middle = (settings.matrix - 1) / 2
    aim = rng.normal(0, 5, 2)
    centre = (
        middle - (0.8 * (x.max() + x.min()) / 2 + aim[0]) / spacing,
        middle - (0.8 * (y.max() + y.min()) / 2 + aim[1]) / spacing,
    )
    margin = REACH_MM + 3 * settings.slice_shift_mm
    box = (
        max(0, int(np.floor(centre[1] + (y.min() - margin) / spacing))),
        min(settings.matrix, int(np.ceil(centre[1] + (y.max() + margin) / spacing)) + 1),
        max(0, int(np.floor(centre[0] + (x.min() - margin) / spacing))),
        min(settings.matrix, int(np.ceil(centre[0] + (x.max() + margin) / spacing)) + 1),
    )

    towards_base = np.array([-0.65, 0.60, 0.47])
    towards_base /= np.linalg.norm(towards_base)
    down = np.array([0.0, 0.0, -1.0])
    down -= (down @ towards_base) * towards_base
    down /= np.linalg.norm(down)
    axes = np.stack([np.cross(down, towards_base), down, towards_base])
    for axis, angle in zip(np.eye(3), rng.normal(0, np.deg2rad(6), 3)):
        axes = _rotate(axes, axis, angle)
    middle_mm = np.array([35.0, -25.0, -20.0]) + rng.normal(0, 12, 3)
    corner = middle_mm - axes[0] * centre[0] * spacing - axes[1] * centre[1] * spacing
    position = corner + (planned - heart.length_mm / 2)[:, None] * axes[2]
    return Stack(
        matrix=settings.matrix,
        spacing_mm=spacing,
        height_mm=height.astype(np.float32),
        shift_mm=scatter[:, :2].astype(np.float32),
        centre=centre,
        rotation=rotation,
        orientation=axes[:2],
        position_mm=position,
        box=box,
    )
