"""Closed surfaces of the ventricles from the labels of one frame.

Slices are far apart, so that a surface is made of in-plane signed distances, interpolated linearly between slices (Raya
and Udupa, IEEE Trans Med Imaging 9:32, 1990), by marching cubes on a fine isotropic grid and Taubin's smoothing.
"""

from dataclasses import dataclass

import numpy as np
import trimesh
from scipy import ndimage
from scipy.interpolate import interp1d
from skimage.measure import marching_cubes
from skimage.morphology import ball
from trimesh.smoothing import filter_taubin

from cof.errors import CofError, Reason
from cof.heart.outlines import signed_distance
from cof.heart.structures import STRUCTURES, SURFACES

ENDS = (
    "Base and apex are cut where the labels end, which the heart does not: the base is a plane half a slice distance "
    "above the centre of the most basal labelled slice, the apex a cap at most three quarters of one below the last."
)

STEP_MM = 2.0
_MARGIN = 3
# Height of the cap in slice distances: half an ellipsoid of it holds what half a slice does. Small caps are half balls.
_CAP = 0.75
# Standard deviation in steps of the smoothing along z, which rounds the kinks at the slices.
_BLUR = 1.0
# Grid values nearer to zero than this share of a step would put vertices so near to grid points that slivers arise.
_CLEARANCE = 0.2
_TAUBIN = {"lamb": 0.5, "nu": 0.53, "iterations": 30}
# Radii in steps of the balls by which handles are cut off and tunnels filled, tried in turn.
_RADII = (0, 1, 2, 3)
_SPHERE = 2


@dataclass(frozen=True, eq=False)
class Surface:
    """A closed surface with the same triangles in every frame.

    Attributes:
        name: key of `SURFACES`.
        vertices: float64 [T, V, 3] in mm; x, y, z in the coordinates of the patient (RAS).
        faces: int32 [F, 3], anticlockwise seen from outside.
        remarks: what was repaired, in words.
    """

    name: str
    vertices: np.ndarray
    faces: np.ndarray
    remarks: tuple[str, ...] = ()

    @property
    def volume_ml(self) -> np.ndarray:
        """Enclosed volume of every frame in mL, [T]."""
        return enclosed_ml(self.vertices, self.faces)


def enclosed_ml(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Volume in mL inside a closed surface, [...], by the divergence theorem.

    Args:
        vertices: [..., V, 3] in mm.
        faces: [F, 3], anticlockwise seen from outside; the other way round the volume is negative.
    """
    middle = vertices.mean(axis=-2, keepdims=True)
    a, b, c = (vertices[..., corner, :] - middle for corner in faces.T)
    return (np.cross(a, b) * c).sum(axis=(-2, -1)) / 6000


def surface_of(
    name: str, labels: np.ndarray, spacing_mm: tuple[float, float, float]
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Make one closed surface of one frame: watertight, one body, without tunnels.

    Args:
        name: key of `SURFACES`.
        labels: [Z, Y, X], slices from base to apex.
        spacing_mm: of the voxels (z, y, x).

    Returns:
        Vertices [V, 3] in mm (z, y, x) from the centre of voxel 0, triangles int32 [F, 3], and what was repaired. The
        triangles are anticlockwise seen from outside if (z, y, x) are taken for right-handed axes.

    Raises:
        CofError: HEART_NOT_FOUND, the labels show nothing of it or too little, or a tunnel cannot be closed.
    """
    mask = np.isin(labels, [STRUCTURES[structure] for structure in SURFACES[name]])
    if not mask.any():
        raise CofError(Reason.HEART_NOT_FOUND, f"the labels of end diastole show no {name}")
    level, origin = _level(mask, spacing_mm)
    for radius in _RADII:
        body = _body(level, radius)
        if not body.any():
            raise CofError(Reason.HEART_NOT_FOUND, f"the labels of end diastole show too little of the {name}")
        vertices, faces = _triangles(level, body)
        if len(vertices) - len(faces) // 2 == _SPHERE:
            mended = f"{name}: a tunnel closed by opening and closing with a ball of {radius * STEP_MM:g} mm"
            remarks = (mended,) if radius else ()
            return vertices + origin, faces, remarks
    raise CofError(Reason.HEART_NOT_FOUND, f"the labels of end diastole leave a tunnel through the {name}")


def _level(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Sample a function that is positive inside a structure on an isotropic grid.

    Args:
        mask: bool [Z, Y, X].
        spacing_mm: of its voxels (z, y, x).

    Returns:
        The function [Z', Y', X'] in mm, about the distance from the surface; and the place of its first value in mm
        (z, y, x) from the centre of voxel 0.
    """
    distance, down, across = spacing_mm
    slices = np.flatnonzero(mask.any(axis=(1, 2)))
    planes = np.stack([signed_distance(ndimage.binary_fill_holes(mask[index]), (down, across)) for index in slices])
    rows, columns = (
        _ticks(np.flatnonzero(mask.any(axis=(0, axis))), spacing) for axis, spacing in ((2, down), (1, across))
    )
    at = np.stack(np.meshgrid(rows / down, columns / across, indexing="ij"))
    planes = np.stack([ndimage.map_coordinates(plane, at, order=1, mode="nearest") for plane in planes])

    base, last = distance * (slices[0] - 0.5), distance * slices[-1]
    cap = min(_CAP * distance, planes[-1].max())
    # The plane of the base lies midway between two grid points.
    heights = np.arange(base - (_MARGIN + 0.5) * STEP_MM, last + cap + _MARGIN * STEP_MM, STEP_MM)
    within = np.clip(heights, distance * slices[0], last)
    level = planes[[0]].repeat(len(heights), axis=0)
    if len(slices) > 1:
        level = interp1d(distance * slices, planes, axis=0)(within)
    beyond = np.clip((heights - last) / cap, 0, None)
    shrunk = planes[-1].max() * (1 - np.sqrt(1 - np.clip(beyond, 0, 1) ** 2)) + cap * np.clip(beyond - 1, 0, None)
    level = ndimage.gaussian_filter1d(level, _BLUR, axis=0, mode="nearest") - shrunk[:, None, None]
    return np.minimum(level, (heights - base)[:, None, None]), np.array([heights[0], rows[0], columns[0]])


def _ticks(indices: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Grid positions in mm along one in-plane axis, about voxels of these indices."""
    reach = _MARGIN * STEP_MM
    return np.arange(spacing_mm * indices[0] - reach, spacing_mm * indices[-1] + reach + STEP_MM, STEP_MM)


def _body(level: np.ndarray, radius: int) -> np.ndarray:
    """Return where a function on the isotropic grid is positive: the largest body alone, filled.

    Args:
        level: [Z, Y, X] in mm.
        radius: of the ball in steps by which the body is opened and closed; 0 leaves it as it is.
    """
    body = _largest(level > 0)
    return (
        _largest(ndimage.binary_closing(ndimage.binary_opening(body, ball(radius)), ball(radius))) if radius else body
    )


def _largest(mask: np.ndarray) -> np.ndarray:
    """Return the largest body of a mask [Z, Y, X], its cavities filled; of an empty mask nothing."""
    bodies, _ = ndimage.label(mask)
    sizes = np.bincount(bodies.ravel(), minlength=2)
    return np.asarray(ndimage.binary_fill_holes(bodies == 1 + np.argmax(sizes[1:])))


def _triangles(level: np.ndarray, body: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Make the smooth surface of a body on the isotropic grid.

    Args:
        level: [Z, Y, X] in mm, zero at the surface where it agrees with `body` on the side.
        body: bool [Z, Y, X].

    Returns:
        Vertices [V, 3] in mm from the first value, triangles int32 [F, 3].
    """
    least = _CLEARANCE * STEP_MM
    level = np.where(body, np.maximum(level, least), np.minimum(level, -least))
    vertices, faces, *_ = marching_cubes(level, 0.0, spacing=(STEP_MM,) * 3)
    smooth = filter_taubin(trimesh.Trimesh(vertices, faces, process=False), **_TAUBIN)
    vertices, faces = np.asarray(smooth.vertices, float), np.asarray(smooth.faces, np.int32)
    return vertices, faces if enclosed_ml(vertices, faces) > 0 else faces[:, ::-1]
