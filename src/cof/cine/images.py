"""One frame of one slice: its pixels, its place, its series and its moment."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from cof.cine.headers import Moment, Series
from cof.cine.pixels import Grey
from cof.errors import CofError, Reason

# Elements that state the place of an image, and the number of values of each.
PLACE = {"PixelSpacing": 2, "ImagePositionPatient": 3, "ImageOrientationPatient": 6}
_TO_RAS = np.array([-1.0, -1.0, 1.0])
_UNIT = 1e-3  # by which the length of a direction may differ from 1


@dataclass(frozen=True, eq=False)
class Plane:
    """The plane of an image, in RAS millimetres.

    Attributes:
        position: [3], centre of the first pixel.
        along_x: [3], unit vector of increasing columns.
        along_y: [3], unit vector of increasing rows.
        normal: [3], unit vector, along_x x along_y.
        spacing_mm: y, x.
    """

    position: np.ndarray
    along_x: np.ndarray
    along_y: np.ndarray
    normal: np.ndarray
    spacing_mm: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Image:
    """One frame of one slice.

    Attributes:
        grey: pixels [Y, X], rescaled if the file says so, and what is known about them.
        plane: place of the image; images at one place share the object.
        series: series of the image.
        kind: values of ImageType, complex component and, where the file says so, "TAGGED" and "SYNTHETIC"; in upper
            case.
        moment: time of the recording.
        interval_ms: the scanner's RR interval.
        cycle_frames: number of frames of a cycle that the scanner states.
    """

    grey: Grey
    plane: Plane
    series: Series
    kind: frozenset[str]
    moment: Moment
    interval_ms: float | None
    cycle_frames: float | None

    @property
    def pixels(self) -> np.ndarray:
        """Pixels [Y, X], rescaled if the file says so."""
        return self.grey.pixels


def make_plane(spacing_mm: list[float], position: list[float], orientation: list[float]) -> Plane:
    """Make a plane from DICOM's numbers (LPS; spacing of rows, then of columns).

    Raises:
        CofError: CINE_GEOMETRY, the numbers do not describe a plane.
    """
    for (name, count), numbers in zip(PLACE.items(), (spacing_mm, position, orientation)):
        if len(numbers) != count:
            raise CofError(Reason.CINE_GEOMETRY, f"{name} of an image is incomplete: {len(numbers)} of {count} numbers")
        if not np.isfinite(numbers).all():
            raise CofError(Reason.CINE_GEOMETRY, f"{name} of an image is not a number")
    if min(spacing_mm) <= 0:
        raise CofError(
            Reason.CINE_GEOMETRY,
            f"PixelSpacing of an image is {spacing_mm[0]:.3g} x {spacing_mm[1]:.3g}; both must be above 0",
        )
    directions = np.reshape(orientation, (2, 3)) * _TO_RAS
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    if not lengths.min() > 0:
        raise CofError(Reason.CINE_GEOMETRY, "ImageOrientationPatient of an image has a direction of length 0")
    along_x, along_y = directions / lengths
    if abs(along_x @ along_y) > 1e-2:
        raise CofError(Reason.CINE_GEOMETRY, "rows and columns of an image are not at right angles")
    normal = np.cross(along_x, along_y)
    return Plane(
        np.array(position) * _TO_RAS,
        along_x,
        along_y,
        normal / np.linalg.norm(normal),
        (spacing_mm[0], spacing_mm[1]),
    )


@lru_cache(maxsize=1024)
def is_unit(orientation: tuple[float, ...]) -> bool:
    """Tell whether the two directions of an orientation have unit length."""
    return bool((np.abs(np.linalg.norm(np.reshape(orientation, (2, 3)), axis=1) - 1) <= _UNIT).all())
