"""Reader of the images in an archive or folder of DICOM files: pixels, place and time of every frame of every slice.

One file may hold one image (UK Biobank and most archives) or many (enhanced multi-frame).
"""

import re
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import pydicom.config

from cof.cine.archive import read_members
from cof.cine.elements import Elements, Unreadable, is_dicom, read_elements
from cof.cine.enhanced import is_enhanced, read_frames
from cof.cine.headers import Moment, acquired, interval_ms, kind_of, number, numbers, ranking, series_of, when
from cof.cine.images import PLACE, Image, Plane, is_unit, make_plane
from cof.cine.pixels import read_pixels, rescaled
from cof.cine.remarks import Remarks
from cof.errors import CofError, Reason, raise_if_broken

# Series of the scanner's own evaluation repeat all slices with contours drawn into the pixels.
_RESULT = re.compile(r"inline_?vf", re.IGNORECASE)

# Most bytes of all pixels of one archive: half of a job's memory.
_MAX_PIXEL_BYTES = 512 * 2**20

_NO_DICOM = "not a DICOM file, despite its name"

_Planes = dict[tuple[bytes, ...], tuple[Plane, bool]]


def read_images(path: Path, repairs: list[str]) -> list[Image]:
    """Read every image of an archive or folder except those of the scanner's own evaluation; skip other files.

    Args:
        path: the archive or folder.
        repairs: list to which a remark is added for what is left out or repaired.

    Raises:
        CofError: CINE_MISSING, CINE_UNREADABLE, CINE_GEOMETRY or CINE_NO_SHORT_AXIS, if no image can be used.
    """
    images: list[Image] = []
    planes: _Planes = {}
    remarks = Remarks()
    room = 0
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")  # warnings quote values, which may name the patient
        for name, content in read_members(path):
            known = is_dicom(content)
            if not known and not name.lower().endswith((".dcm", ".ima")):
                remarks.passed_over(name, content)
                continue
            try:
                found = _images_of(name, content, known, planes, remarks)
            except CofError:
                raise
            except Unreadable as fault:
                remarks.unreadable[str(fault)] += 1
                continue
            except Exception as error:  # parsing foreign bytes can raise anything
                raise_if_broken(error)
                damaged = f"damaged ({type(error).__name__}): fetch the file again"
                remarks.unreadable[damaged if known else _NO_DICOM] += 1
                continue
            room += sum(image.pixels.nbytes for image in found)
            if room > _MAX_PIXEL_BYTES:
                raise CofError(Reason.CINE_UNREADABLE, "the images are too large for a cine")
            images += found
    if not images:
        raise remarks.refusal()
    repairs.extend(remarks.repairs())
    return images


def _images_of(name: str, content: bytes, known: bool, planes: _Planes, remarks: Remarks) -> list[Image]:
    """Read the images of one file; return none if it holds no image or the scanner's own evaluation."""
    elements = read_elements(content)
    if not _has_pixels(elements, known):
        remarks.passed_over(name, content)
        return []
    if _RESULT.search(elements.text("SeriesDescription")):
        remarks.results += 1
        return []
    if elements.dataset is not None and is_enhanced(elements.dataset):
        return read_frames(elements, elements.dataset, remarks)
    if missing := next((tag for tag in PLACE if not elements.text(tag)), None):
        remarks.without[missing] += 1
        return []
    return _plain(elements, planes, remarks)


def _has_pixels(elements: Elements, known: bool) -> bool:
    """Tell whether a file holds an image; a DICOM file may hold other things.

    Raises:
        Unreadable: the image has no pixels that are whole numbers, or the file is not `known` to be DICOM.
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


def _plain(elements: Elements, planes: _Planes, remarks: Remarks) -> list[Image]:
    """Read the image of an ordinary file, or the frames of an older multi-frame file, which all lie in one place."""
    plane, unit = _place(elements, planes, remarks)
    greys = [
        rescaled(grey, elements.number("RescaleSlope"), elements.number("RescaleIntercept"))
        for grey in read_pixels(elements)
    ]
    remarks.not_unit += not unit
    lone = len(greys) == 1
    instance = elements.number("InstanceNumber")
    moment = Moment(
        trigger_ms=number(elements, "TriggerTime", remarks.commas) if lone else None,
        position=ranking(elements, "TemporalPositionIdentifier") if lone else None,
        instance=None if instance is None else int(instance),
        acquisition=ranking(elements, "AcquisitionNumber"),
        acquired_s=acquired(elements),
        content_s=when(elements, "Content"),
    )
    image = partial(
        Image,
        plane=plane,
        series=series_of(elements),
        kind=kind_of(elements),
        interval_ms=interval_ms(elements, remarks.commas),
        cycle_frames=ranking(elements, "CardiacNumberOfImages"),
    )
    if lone:
        return [image(greys[0], moment=moment)]
    return [
        image(grey, moment=replace(moment, instance=frame, file=moment.instance)) for frame, grey in enumerate(greys, 1)
    ]


def _place(elements: Elements, planes: _Planes, remarks: Remarks) -> tuple[Plane, bool]:
    """Return an image's place, and whether its directions have unit length; images at one place share the plane."""
    where = tuple(elements.values[tag] for tag in PLACE)
    if where not in planes or b"," in b"".join(where):
        found = [numbers(elements.text(tag), tag, count, remarks.commas) for tag, count in PLACE.items()]
        if where not in planes:
            planes[where] = make_plane(*found), is_unit(tuple(found[2]))
    return planes[where]
