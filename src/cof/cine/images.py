"""The images in an archive or folder of DICOM files: pixels, place and time of every frame of every slice.

One file may hold one image (UK Biobank and most archives) or many (enhanced multi-frame).
"""

import math
import re
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pydicom.config
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from cof.cine.archive import read_members
from cof.cine.elements import Elements, read_elements
from cof.cine.pixels import read_pixels
from cof.errors import CofError, Reason

# The scanner's own evaluation repeats all slices with contours burnt in.
_RESULT = re.compile(r"inline_?vf", re.IGNORECASE)

# Bytes of all pixels of one archive: half of what a job is given.
_MAX_PIXEL_BYTES = 512 * 2**20

_NEEDED = {"PixelSpacing": 2, "ImagePositionPatient": 3, "ImageOrientationPatient": 6}
_SHARED, _PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
_GROUPS = ("PixelMeasuresSequence", "PlanePositionSequence", "PlaneOrientationSequence")
# Dimensions of an enhanced file that count the frames of a cycle: TemporalPositionIndex, TemporalPositionTimeOffset,
# NominalCardiacTriggerDelayTime, NominalPercentageOfCardiacPhase, ActualCardiacTriggerDelayTime, TriggerTime.
_TIME_DIMENSIONS = (0x00209128, 0x0020930D, 0x00209153, 0x00209241, 0x00209252, 0x00181060)
_GE_CREATOR, _GE_KINDS = "GEMS_PARM_01", {1: "PHASE", 2: "REAL", 3: "IMAGINARY"}
_TO_RAS = np.array([-1.0, -1.0, 1.0])
_UNIT = 1e-3  # by which the length of a direction may differ from 1


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


@dataclass(frozen=True)
class Series:
    """The series of an image; None where the file does not say.

    Attributes:
        uid, description, number: of the series.
        names: description and the names of protocol and sequence, in one text.
        begun_s: date and time of its start, as seconds that ascend.
    """

    uid: str
    description: str
    names: str
    number: float | None
    begun_s: float | None


@dataclass(frozen=True)
class Moment:
    """When a frame was recorded; None where the file does not say.

    Attributes:
        trigger_ms: time after the R peak.
        position: number of the frame within the cycle.
        percent: phase within the cycle.
        instance: number within the series, or within an enhanced file.
        file: number of the enhanced file within the series.
        acquisition: number of the acquisition.
        acquired_s, content_s: date and time of acquisition and of the image, as seconds that ascend.
    """

    trigger_ms: float | None = None
    position: float | None = None
    percent: float | None = None
    instance: int | None = None
    file: int | None = None
    acquisition: float | None = None
    acquired_s: float | None = None
    content_s: float | None = None


@dataclass(frozen=True, eq=False)
class Image:
    """One frame of one slice.

    Attributes:
        pixels: [Y, X], rescaled if the file says so.
        plane: where it lies; images of one place share the object.
        series: which it belongs to.
        kind: values of its ImageType, of its complex component and, where the file says so, "TAGGED"; upper case.
        moment: when it was recorded.
        interval_ms: the scanner's RR interval.
        cycle_frames: the frames of a cycle as the scanner counts them.
    """

    pixels: np.ndarray
    plane: Plane
    series: Series
    kind: frozenset[str]
    moment: Moment
    interval_ms: float | None
    cycle_frames: float | None


class _Remarks:
    """What was passed over or mended while files were read, in numbers of images."""

    def __init__(self) -> None:
        self.unreadable: Counter[str] = Counter()  # files by fault
        self.without: Counter[str] = Counter()  # by missing element
        self.commas: Counter[str] = Counter()  # by element
        self.results = self.not_unit = self.others = 0

    def refusal(self) -> CofError:
        """Why not one image can be used."""
        if self.unreadable:
            count, (fault, times) = self.unreadable.total(), self.unreadable.most_common(1)[0]
            of = "" if times == count else f" in {times} of them"
            return CofError(
                Reason.CINE_UNREADABLE, f"none of {count} DICOM files holds a readable image:{of} {fault}; export again"
            )
        if self.without:
            name, count = self.without.most_common(1)[0]
            return CofError(
                Reason.CINE_GEOMETRY,
                f"none of {self.without.total()} DICOM images has a position in space: {name} is missing in {count}; "
                "export the original images",
            )
        if self.results:
            return CofError(Reason.CINE_NO_SHORT_AXIS, "only the scanner's own evaluation (InlineVF); export the cine")
        return CofError(
            Reason.CINE_NO_SHORT_AXIS,
            f"no DICOM image of a cine: none of {self.others} files holds an image, or begins as DICOM files do "
            "(128 bytes and DICM, or an element of group 0002 or 0008)",
        )

    def repairs(self) -> list[str]:
        """What was left out or mended, in words."""
        said = []
        if self.unreadable:
            said.append(f"{self.unreadable.total()} unreadable files left out")
        for name, count in self.without.items():
            said.append(f"{count} images without {name} left out")
        for name, count in self.commas.items():
            said.append(f"{name} of {count} images has decimal commas, read as points")
        if self.not_unit:
            said.append(f"ImageOrientationPatient of {self.not_unit} images is not of unit length: taken as directions")
        return said


def read_images(path: Path, repairs: list[str]) -> list[Image]:
    """Every image of an archive or folder but those of the scanner's own evaluation; other files are passed over.

    Args:
        path: the archive or folder.
        repairs: takes a remark for what is left out or mended.

    Raises:
        CofError: CINE_MISSING, CINE_UNREADABLE, CINE_GEOMETRY or CINE_NO_SHORT_AXIS, if not one image can be used.
    """
    images: list[Image] = []
    planes: dict[tuple[bytes, ...], Plane] = {}
    remarks = _Remarks()
    room = 0
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")  # remarks on values, which may name the patient
        for name, content in read_members(path):
            has_magic = content[128:132] == b"DICM"
            if not (has_magic or name.lower().endswith((".dcm", ".ima")) or _begins_as_dicom(content)):
                remarks.others += 1
                continue
            try:
                elements = read_elements(content)
                if not _has_pixels(elements):
                    if has_magic:  # a DICOM file may hold other things than images
                        remarks.others += 1
                    else:
                        remarks.unreadable["it is no DICOM file, or has no pixels"] += 1
                    continue
                if _RESULT.search(elements.text("SeriesDescription")):
                    remarks.results += 1
                    continue
                if elements.dataset is not None and _is_enhanced(elements.dataset):
                    found = _frames(elements, elements.dataset, remarks)
                elif missing := next((tag for tag in _NEEDED if not elements.text(tag)), None):
                    remarks.without[missing] += 1
                    continue
                else:
                    found = _plain(elements, planes, remarks)
            except CofError:
                raise
            except Exception as error:  # whatever a parser of foreign bytes stumbles over
                remarks.unreadable[_fault(error)] += 1
                continue
            room += sum(image.pixels.nbytes for image in found)
            if room > _MAX_PIXEL_BYTES:
                raise CofError(Reason.CINE_UNREADABLE, "the images are too large for a cine")
            images += found
    if not images:
        raise remarks.refusal()
    repairs.extend(remarks.repairs())
    return images


def _begins_as_dicom(content: bytes) -> bool:
    """Whether a file without DICOM's preamble begins with an element of group 0002 or 0008, little endian."""
    group, element = int.from_bytes(content[:2], "little"), int.from_bytes(content[2:4], "little")
    if len(content) < 16 or group not in (2, 8) or element > 0x0100:
        return False
    explicit = content[4:6].isalpha() and content[4:6].isupper()
    return explicit or int.from_bytes(content[4:8], "little") < min(1024, len(content))


def _fault(error: Exception) -> str:
    """What is wrong with a file, in words that hold none of its values."""
    if isinstance(error, _NoNumberError):
        return f"{error} is not a number"
    if isinstance(error, KeyError) and error.args and error.args[0] in ("Rows", "Columns", "BitsAllocated"):
        return f"{error.args[0]} is missing"
    return f"its header or pixels cannot be read ({type(error).__name__})"


def _has_pixels(elements: Elements) -> bool:
    return "PixelData" in (elements.values if elements.dataset is None else elements.dataset)


class _NoNumberError(ValueError):
    """The element of this name holds something else than the numbers that it must."""


def _numbers(text: str, name: str, count: int | None, commas: Counter[str]) -> list[float]:
    """The numbers of a decimal string.

    A comma is taken for the decimal point, or, where numbers have points besides, for the separator.

    Args:
        text: of the element.
        name: of the element.
        count: of numbers that the element must have to be read with commas; None for one.
        commas: takes the name where there is a comma.

    Raises:
        _NoNumberError: something else stands there.
    """
    if not text:
        return []
    ways = [text.split("\\")]
    if "," in text:
        ways = [text.replace(",", ".").split("\\"), re.split(r"[\\,]", text)]
    for parts in ways:
        try:
            numbers = [float(part) for part in parts]
        except ValueError:
            continue
        if "," not in text or len(numbers) == (count or 1):
            if "," in text:
                commas[name] += 1
            return numbers
    raise _NoNumberError(name)


def _number(elements: Elements, name: str, commas: Counter[str]) -> float | None:
    numbers = _numbers(elements.text(name), name, None, commas)
    return numbers[0] if numbers else None


@lru_cache(maxsize=4096)
def _seconds(date: bytes, time: bytes) -> float | None:
    """Seconds that ascend with date (YYYYMMDD or YYYY.MM.DD) and time (HHMMSS.F or HH:MM:SS); None without time."""
    day, clock = date.strip(b" \0").replace(b".", b""), time.strip(b" \0").replace(b":", b"")
    try:
        hours, minutes, seconds = int(clock[:2]), int(clock[2:4] or b"0"), float(clock[4:] or b"0")
        return int(day[:8] or b"0") * 86_400 + hours * 3600 + minutes * 60 + seconds
    except ValueError:
        return None


def _when(elements: Elements, name: str) -> float | None:
    """Date and time `name` (Acquisition, Series, Content) as seconds that ascend; another date stands in for none."""
    values = elements.values
    dates = (values.get(f"{other}Date", b"").strip(b" \0") for other in (name, "Acquisition", "Series", "Study"))
    return _seconds(next((date for date in dates if date), b""), values.get(f"{name}Time", b""))


def _datetime(text: str) -> float | None:
    """A date and time in one (YYYYMMDDHHMMSS.F) as seconds that ascend."""
    return _seconds(text[:8].encode("latin-1", "replace"), re.split(r"[+-]", text[8:])[0].encode("latin-1", "replace"))


def _series(elements: Elements, commas: Counter[str]) -> Series:
    text = elements.text
    names = " ".join(text(tag) for tag in ("SeriesDescription", "ProtocolName", "SequenceName", "PulseSequenceName"))
    return Series(
        text("SeriesInstanceUID"),
        text("SeriesDescription"),
        names,
        _tolerant(_number, elements, "SeriesNumber", commas),
        _when(elements, "Series"),
    )


def _tolerant(read: Callable[..., float | None], *arguments: Any) -> float | None:
    """What `read` finds, or None where something else than a number stands: such an element only ranks acquisitions."""
    try:
        found = read(*arguments)
    except (ValueError, OverflowError):
        return None
    return found if found is not None and math.isfinite(found) else None


def _kind(elements: Elements) -> frozenset[str]:
    """What kind of image the file says that it holds."""
    words = [*elements.text("ImageType").split("\\"), elements.text("ComplexImageComponent")]
    raw = elements.values.get("GeRawDataType", b"") if elements.text("GeCreator") == _GE_CREATOR else b""
    number = int.from_bytes(raw, "little") if len(raw) == 2 else int(raw) if raw.isdigit() else 0
    return frozenset(word.strip().upper() for word in (*words, _GE_KINDS.get(number, "")) if word.strip())


def _interval_ms(elements: Elements, commas: Counter[str]) -> float | None:
    """The scanner's RR interval, else that of its heart rate."""
    interval = _number(elements, "NominalInterval", commas)
    rate = None if interval else _tolerant(_number, elements, "HeartRate", commas)
    return 60_000 / rate if rate else interval


def _plain(elements: Elements, planes: dict[tuple[bytes, ...], Plane], remarks: _Remarks) -> list[Image]:
    """The image of an ordinary file; the frames of an older multi-frame file, which all lie in one place."""
    number = partial(_number, elements, commas=remarks.commas)
    where = tuple(elements.values[tag] for tag in _NEEDED)
    if where not in planes:
        planes[where] = make_plane(*_place(elements, remarks.commas))
    elif b"," in b"".join(where):
        _place(elements, remarks.commas)
    remarks.not_unit += not _is_unit(elements.text("ImageOrientationPatient"))
    pixels = rescaled(read_pixels(elements), number("RescaleSlope"), number("RescaleIntercept"))
    instance = number("InstanceNumber")
    lone = len(pixels) == 1
    series, kind = _series(elements, remarks.commas), _kind(elements)
    interval = _interval_ms(elements, remarks.commas)
    cycle_frames = _tolerant(number, "CardiacNumberOfImages")
    moment = Moment(
        trigger_ms=number("TriggerTime") if lone else None,
        position=_tolerant(number, "TemporalPositionIdentifier") if lone else None,
        instance=None if instance is None else int(instance),
        acquisition=_tolerant(number, "AcquisitionNumber"),
        acquired_s=_when(elements, "Acquisition") or _datetime(elements.text("AcquisitionDateTime")),
        content_s=_when(elements, "Content"),
    )
    if lone:
        return [Image(pixels[0], planes[where], series, kind, moment, interval, cycle_frames)]
    return [
        Image(image, planes[where], series, kind, _frame_of(moment, frame), interval, cycle_frames)
        for frame, image in enumerate(pixels, 1)
    ]


def _frame_of(file: Moment, frame: int) -> Moment:
    """The moment of a frame of a file of which only the number is known."""
    return Moment(
        instance=frame,
        file=file.instance,
        acquisition=file.acquisition,
        acquired_s=file.acquired_s,
        content_s=file.content_s,
    )


def _place(elements: Elements, commas: Counter[str]) -> list[list[float]]:
    """Spacing, position and orientation of an ordinary file."""
    return [_numbers(elements.text(tag), tag, count, commas) for tag, count in _NEEDED.items()]


@lru_cache(maxsize=256)
def _is_unit(orientation: str) -> bool:
    """Whether the directions of an orientation, as text, are of unit length."""
    try:
        numbers = np.reshape(_numbers(orientation, "", 6, Counter()), (2, 3))
    except ValueError:
        return True
    return bool((np.abs(np.linalg.norm(numbers, axis=1) - 1) <= _UNIT).all())


def make_plane(spacing_mm: list[float], position: list[float], orientation: list[float]) -> Plane:
    """A plane from DICOM's numbers (LPS; spacing of rows, then of columns).

    Raises:
        CofError: CINE_GEOMETRY, if they describe no plane.
    """
    for (name, count), numbers in zip(_NEEDED.items(), (spacing_mm, position, orientation)):
        if len(numbers) != count:
            raise CofError(Reason.CINE_GEOMETRY, f"{name} of an image is incomplete: {len(numbers)} of {count} numbers")
        if not np.isfinite(numbers).all():
            raise CofError(Reason.CINE_GEOMETRY, f"{name} of an image is not a number")
    if min(spacing_mm) <= 0:
        raise CofError(Reason.CINE_GEOMETRY, f"PixelSpacing of an image is {spacing_mm[0]:.3g} x {spacing_mm[1]:.3g}")
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


def rescaled(pixels: np.ndarray, slope: float | None, intercept: float | None) -> np.ndarray:
    """Stored values in the units that slope and intercept give them."""
    if slope in (None, 1.0) and intercept in (None, 0.0):
        return pixels
    return np.asarray(pixels * np.float32(1.0 if slope is None else slope) + np.float32(intercept or 0.0))


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


def _frames(elements: Elements, data: Dataset, remarks: _Remarks) -> list[Image]:
    """The frames of an enhanced multi-frame image."""
    shared = (data.get(_SHARED) or [{}])[0]
    pixels = read_pixels(elements)
    series, kind = _series(elements, remarks.commas), _kind(elements)
    interval = _interval_ms(elements, remarks.commas)
    file = _tolerant(_number, elements, "InstanceNumber", remarks.commas)
    dimensions = [int(item.get("DimensionIndexPointer") or 0) for item in data.get("DimensionIndexSequence") or []]
    images = []
    planes: dict[tuple[float, ...], Plane] = {}
    for number, (values, frame) in enumerate(zip(pixels, data[_PER_FRAME].value, strict=True), 1):
        group = partial(_group, shared, frame=frame)
        where = [
            _values(group(sequence), tag, count, remarks.commas)
            for sequence, (tag, count) in zip(_GROUPS, _NEEDED.items())
        ]
        if missing := next((tag for tag, found in zip(_NEEDED, where) if not found), None):
            remarks.without[missing] += 1
            continue
        place = tuple(number for numbers in where for number in numbers)
        if place not in planes:
            planes[place] = make_plane(*where)
        lengths = np.linalg.norm(np.reshape(where[2], (2, 3)), axis=1)
        remarks.not_unit += bool((np.abs(lengths - 1) > _UNIT).any())
        scale = group("PixelValueTransformationSequence")
        timing, content = group("CardiacSynchronizationSequence"), group("FrameContentSequence")
        own_kind = group("MRImageFrameTypeSequence")
        indices = dict(zip(dimensions, _as_list(content.get("DimensionIndexValues"))))
        images.append(
            Image(
                rescaled(
                    values,
                    _lone(scale, "RescaleSlope", remarks.commas),
                    _lone(scale, "RescaleIntercept", remarks.commas),
                ),
                planes[place],
                series,
                _frame_kind(own_kind, group("MRModifierSequence"), kind),
                Moment(
                    trigger_ms=_first(timing, "NominalCardiacTriggerDelayTime", "ActualCardiacTriggerDelayTime"),
                    position=_first(content, "TemporalPositionIndex")
                    or next((float(indices[tag]) for tag in _TIME_DIMENSIONS if tag in indices), None),
                    percent=_first(timing, "NominalPercentageOfCardiacPhase"),
                    instance=number,
                    file=None if file is None else int(file),
                    acquisition=_first(content, "FrameAcquisitionNumber"),
                    acquired_s=_datetime(str(content.get("FrameAcquisitionDateTime") or ""))
                    or _when(elements, "Acquisition")
                    or _datetime(elements.text("AcquisitionDateTime")),
                    content_s=_when(elements, "Content"),
                ),
                _first(timing, "RRIntervalTimeNominal") or interval,
                None,
            )
        )
    return images


def _frame_kind(frame_type: Any, modifier: Any, file: frozenset[str]) -> frozenset[str]:
    """What kind of image a frame is; where the frame does not name its component, what the file says counts, too."""
    words = [*_as_list(frame_type.get("FrameType")), frame_type.get("ComplexImageComponent") or ""]
    tagging = str(modifier.get("Tagging") or "").upper()
    words.append("TAGGED" if tagging in ("GRID", "LINE") else "")
    kind = frozenset(str(word).strip().upper() for word in words if str(word).strip())
    return kind if frame_type.get("ComplexImageComponent") else kind | file


def _as_list(value: Any) -> list[Any]:
    """A value of one or many as a list."""
    if value in (None, ""):
        return []
    return [value] if isinstance(value, str | int | float) else list(value)


def _values(item: Any, name: str, count: int | None, commas: Counter[str]) -> list[float]:
    """The numbers of an element of an item; pydicom would stumble over a decimal comma."""
    element = item.get_item(name) if isinstance(item, Dataset) and name in item else None
    if isinstance(element, RawDataElement) and isinstance(element.value, bytes) and b"," in element.value:
        return _numbers(element.value.decode("latin-1").strip(" \0"), name, count, commas)
    return [float(number) for number in _as_list(item.get(name))]


def _lone(item: Any, name: str, commas: Counter[str]) -> float | None:
    numbers = _values(item, name, None, commas)
    return numbers[0] if numbers else None


def _first(item: Any, *names: str) -> float | None:
    """The first of some numbers that an item has."""
    return next((float(item.get(name)) for name in names if item.get(name) not in (None, "")), None)
