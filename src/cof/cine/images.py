"""The images in an archive or folder of DICOM files: pixels, place and time of every frame of every slice.

One file may hold one image (UK Biobank and most archives) or many (enhanced multi-frame).
"""

import re
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom.config
from pydicom.dataset import Dataset

from cof.cine.archive import read_members
from cof.cine.elements import Elements, Unreadable, is_dicom, read_elements
from cof.cine.pixels import Grey, read_pixels, rescaled
from cof.errors import CofError, Reason

# The scanner's own evaluation repeats all slices with contours burnt in.
_RESULT = re.compile(r"inline_?vf", re.IGNORECASE)

# Bytes of all pixels of one archive: half of what a job is given.
_MAX_PIXEL_BYTES = 512 * 2**20

_NO_DICOM = "not a DICOM file, in spite of its name"
_NEEDED = ("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient")
_SHARED, _PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
_TO_RAS = np.array([-1.0, -1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Plane:
    """Where an image lies, in RAS millimetres.

    Attributes:
        position: [3], of the first pixel.
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
        grey: pixels [Y, X], rescaled if the file says so, and what is known of them.
        plane: where it lies; images of one place share the object.
        description, series: name and UID of the series.
        instance: number within the series.
        trigger_ms: time after the R peak.
        interval_ms: the scanner's RR interval.
    """

    grey: Grey
    plane: Plane
    description: str
    series: str
    instance: int | None
    trigger_ms: float | None
    interval_ms: float | None

    @property
    def pixels(self) -> np.ndarray:
        """[Y, X], rescaled if the file says so."""
        return self.grey.pixels


def read_images(path: Path, repairs: list[str]) -> list[Image]:
    """Every image of an archive or folder but those of the scanner's own evaluation; other files are passed over.

    Args:
        path: the archive or folder.
        repairs: takes a remark for what is left out.

    Raises:
        CofError: CINE_MISSING, CINE_UNREADABLE, CINE_GEOMETRY or CINE_NO_SHORT_AXIS, if not one image can be used.
    """
    images: dict[str, list[Image]] = {}
    planes: dict[tuple[bytes, ...], Plane] = {}
    unreadable: Counter[str] = Counter()  # files by what is wrong with them
    without_position = room = files = 0
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")  # remarks on values, which may name the patient
        for name, content in read_members(path):
            files += 1
            if not (known := is_dicom(content)) and not name.lower().endswith((".dcm", ".ima")):
                continue
            try:
                elements = read_elements(content)
                if not _has_pixels(elements, known):
                    continue
                if _RESULT.search(elements.text("SeriesDescription")):
                    continue
                if elements.dataset is not None and _is_enhanced(elements.dataset):
                    found = _frames(elements, elements.dataset)
                elif not all(elements.text(tag) for tag in _NEEDED):
                    without_position += 1
                    continue
                else:
                    found = _plain(elements, planes)
            except CofError:
                raise
            except Unreadable as fault:
                unreadable[str(fault)] += 1
                continue
            except Exception as error:  # whatever a parser of foreign bytes stumbles over
                unreadable[f"damaged ({type(error).__name__}): fetch the file again" if known else _NO_DICOM] += 1
                continue
            room += sum(image.pixels.nbytes for image in found)
            if room > _MAX_PIXEL_BYTES:
                raise CofError(Reason.CINE_UNREADABLE, "the images are too large for a cine")
            images[elements.text("SOPInstanceUID") or name] = found
    causes = [f"{cause} ({count} files)" for cause, count in unreadable.most_common()]
    if not images:
        if unreadable:
            raise CofError(
                Reason.CINE_UNREADABLE,
                f"none of {unreadable.total()} DICOM files holds a readable image: {'; '.join(causes)}",
            )
        if without_position:
            raise CofError(Reason.CINE_GEOMETRY, f"none of {without_position} DICOM images has a position in space")
        raise CofError(Reason.CINE_NO_SHORT_AXIS, f"none of {files} files is a DICOM image of a cine")
    if unreadable:
        repairs.append(f"{unreadable.total()} unreadable files left out")
        repairs.extend(f"left out: {cause}" for cause in causes)
    if without_position:
        repairs.append(f"{without_position} images without a position left out")
    return [image for found in images.values() for image in found]


def _has_pixels(elements: Elements, known: bool) -> bool:
    """Whether there is an image; a DICOM file may hold other things.

    Raises:
        Unreadable: an image without pixels of whole numbers, or a file that is not `known` to be DICOM.
    """
    if "PixelData" in (elements.values if elements.dataset is None else elements.dataset):
        return True
    if "FloatPixelData" in elements.values or "DoubleFloatPixelData" in elements.values:
        raise Unreadable("pixels in floating point (FloatPixelData); export whole numbers (PixelData)")
    if not known:
        raise Unreadable(_NO_DICOM)
    if "Rows" in elements.values:
        raise Unreadable("an image without PixelData: fetch the file again")
    return False


def _plain(elements: Elements, planes: dict[tuple[bytes, ...], Plane]) -> list[Image]:
    """The image of an ordinary file; the frames of an older multi-frame file, which all lie in one place."""
    where = tuple(elements.values[tag] for tag in _NEEDED)
    if where not in planes:
        planes[where] = make_plane(*(elements.numbers(tag) for tag in _NEEDED))
    pixels = [
        rescaled(grey, elements.number("RescaleSlope"), elements.number("RescaleIntercept"))
        for grey in read_pixels(elements)
    ]
    instance = elements.number("InstanceNumber")
    lone = len(pixels) == 1
    return [
        Image(
            grey,
            planes[where],
            elements.text("SeriesDescription"),
            elements.text("SeriesInstanceUID"),
            (None if instance is None else int(instance)) if lone else number,
            elements.number("TriggerTime") if lone else None,
            elements.number("NominalInterval"),
        )
        for number, grey in enumerate(pixels, 1)
    ]


def make_plane(spacing_mm: list[float], position: list[float], orientation: list[float]) -> Plane:
    """A plane from DICOM's numbers (LPS; spacing of rows, then of columns).

    Raises:
        CofError: CINE_GEOMETRY, if they describe no plane.
    """
    if (len(spacing_mm), len(position), len(orientation)) != (2, 3, 6):
        raise CofError(Reason.CINE_GEOMETRY, "position or spacing of an image is incomplete")
    directions = np.reshape(orientation, (2, 3)) * _TO_RAS
    if not (np.isfinite([*spacing_mm, *position, *orientation]).all() and min(spacing_mm) > 0):
        raise CofError(Reason.CINE_GEOMETRY, "position or spacing of an image is not a number")
    if not np.allclose(directions @ directions.T, np.eye(2), atol=1e-2):
        raise CofError(Reason.CINE_GEOMETRY, "rows and columns of an image are not at right angles")
    along_x, along_y = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    normal = np.cross(along_x, along_y)
    return Plane(
        np.array(position) * _TO_RAS,
        along_x,
        along_y,
        normal / np.linalg.norm(normal),
        (spacing_mm[0], spacing_mm[1]),
    )


def _is_enhanced(data: Dataset) -> bool:
    """Whether frames have functional groups; some scanners write one empty item into an ordinary image."""
    return any(len(frame) for frame in data.get(_PER_FRAME) or [])


def _group(shared: Any, name: str, frame: Any) -> Any:
    """The item of a functional group: the frame's own, else that of all frames, else one without elements."""
    for holder in (frame, shared):
        items = holder.get(name)
        if items:
            return items[0]
    return {}


def _frames(elements: Elements, data: Dataset) -> list[Image]:
    """The frames of an enhanced multi-frame image."""
    shared = (data.get(_SHARED) or [{}])[0]
    pixels = read_pixels(elements)
    images = []
    planes: dict[tuple[float, ...], Plane] = {}
    for number, (grey, frame) in enumerate(zip(pixels, data[_PER_FRAME].value, strict=True), 1):

        def group(name: str, frame: Dataset = frame) -> Any:
            return _group(shared, name, frame)

        where = [
            [float(number) for number in group(name).get(tag) or []]
            for name, tag in (
                ("PixelMeasuresSequence", "PixelSpacing"),
                ("PlanePositionSequence", "ImagePositionPatient"),
                ("PlaneOrientationSequence", "ImageOrientationPatient"),
            )
        ]
        place = tuple(number for numbers in where for number in numbers)
        if place not in planes:
            planes[place] = make_plane(*where)
        # Some exporters leave slope and intercept where ordinary files have them.
        scale = group("PixelValueTransformationSequence") or data
        timing = group("CardiacSynchronizationSequence")
        images.append(
            Image(
                rescaled(grey, _number(scale.get("RescaleSlope")), _number(scale.get("RescaleIntercept"))),
                planes[place],
                elements.text("SeriesDescription"),
                elements.text("SeriesInstanceUID"),
                number,
                _number(timing.get("NominalCardiacTriggerDelayTime")),
                _number(timing.get("RRIntervalTimeNominal")),
            )
        )
    return images


def _number(value: Any) -> float | None:
    return None if value in (None, "") else float(value)
