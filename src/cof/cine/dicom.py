"""Short-axis cines from DICOM files, one file a frame and slice: UK Biobank (field 20209) and most other archives.

The manifest of an archive is not needed and not read: slices follow from series names (`..._b1` is the most basal) or,
where there are none, from positions; frames follow from trigger times.
"""

import io
import re
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import pydicom.config
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from cof.cine.archive import read_members
from cof.cine.geometry import base_to_apex, check_spacing
from cof.cine.nifti import DEFAULT_RR_MS, PLAUSIBLE_RR_MS
from cof.cine.volume import Cine, to_int16, uniform_times
from cof.errors import CofError, Reason, redact

# The scanner's own evaluation repeats all slices with contours burnt in.
_RESULT = re.compile(r"inline_?vf", re.IGNORECASE)
_SHORT_AXIS = re.compile(r"sax|short.?ax", re.IGNORECASE)
_LONG_AXIS = re.compile(r"lax|long.?ax|[234] ?_?ch", re.IGNORECASE)
_PLANE_NUMBER = re.compile(r"_b(\d+)$")

_PARALLEL_COSINE = np.cos(np.deg2rad(1.0))
_SAME_PLANE_MM = 1.0
_UNEVEN_GAP = 0.15  # share of the slice distance by which gaps may differ

_NEEDED = ("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient")
_TAGS = [
    *_NEEDED, "SOPInstanceUID", "SeriesInstanceUID", "SeriesDescription", "InstanceNumber", "TriggerTime",
    "NominalInterval", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PlanarConfiguration", "RescaleSlope",
    "RescaleIntercept", "PixelData",
]  # fmt: skip

_TO_RAS = np.array([-1.0, -1.0, 1.0])


@dataclass(frozen=True, eq=False)
class _Image:
    """One frame of one slice. Positions and directions are in RAS millimetres."""

    pixels: np.ndarray  # [Y, X]
    position: np.ndarray  # [3], of the first pixel
    along_x: np.ndarray  # [3], unit vector of increasing columns
    along_y: np.ndarray  # [3], unit vector of increasing rows
    spacing_mm: tuple[float, float]  # y, x
    description: str
    series: str
    instance: int | None
    trigger_ms: float | None
    interval_ms: float | None

    @property
    def normal(self) -> np.ndarray:
        return np.cross(self.along_x, self.along_y)


def read_dicom(path: Path, max_missing: float) -> Cine:
    """The short-axis cine in a zip archive or folder of DICOM files; other files are passed over.

    A slice acquired more than once counts by its last series; a missing frame is replaced by the one before it.

    Args:
        path: the archive or folder.
        max_missing: share of the frames that any slice may lack.

    Raises:
        CofError: CINE_MISSING, CINE_UNREADABLE, CINE_NO_SHORT_AXIS, CINE_TOO_FEW_SLICES, CINE_TOO_FEW_FRAMES (of a
            slice, against the others) or CINE_GEOMETRY.
    """
    repairs: list[str] = []
    images = _short_axis(_read_images(path, repairs))
    images = _parallel(images, repairs)
    slices = [_last_series(slice_, index, repairs) for index, slice_ in enumerate(_by_slice(images, repairs), 1)]
    count = max(map(len, slices))
    for index, slice_ in enumerate(slices, 1):
        if count - len(slice_) > max_missing * count:
            raise CofError(Reason.CINE_TOO_FEW_FRAMES, f"slice {index} has {len(slice_)} of {count} frames")
    offset = _trigger_offset(slices, count)
    cycles = [_cycle(slice_, count, offset, index, repairs) for index, slice_ in enumerate(slices, 1)]
    affine = _affine(cycles)
    values, affine = _stack(cycles, affine, repairs)
    check_spacing(affine)
    frames, stretched = to_int16(values)
    repairs.extend(f"slice {index + 1} is black" for index in range(len(slices)) if not frames[:, index].any())
    rr_ms = _rr_ms(slices, count, repairs) if count > 1 else np.nan
    names = dict.fromkeys(redact(images[0].description) for images in slices if images[0].description)
    return Cine(frames, affine, uniform_times(count, rr_ms), rr_ms, tuple(names), (*repairs, *stretched))


def _read_images(path: Path, repairs: list[str]) -> list[_Image]:
    images: dict[str, _Image] = {}
    unreadable = without_position = 0
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")  # remarks on values, which may name the patient
        for name, content in read_members(path):
            has_magic = content[128:132] == b"DICM"
            if not has_magic and not name.lower().endswith((".dcm", ".ima")):
                continue
            try:
                data = pydicom.dcmread(io.BytesIO(content), force=not has_magic, specific_tags=_TAGS)
                if "PixelData" not in data:
                    unreadable += not has_magic  # a DICOM file may hold other things than images
                    continue
                if _RESULT.search(_text(data, "SeriesDescription")):
                    continue
                if any(data.get(tag) in (None, "") for tag in _NEEDED):
                    without_position += 1
                    continue
                if int(data.get("NumberOfFrames") or 1) > 1 or int(data.get("SamplesPerPixel") or 1) > 1:
                    unreadable += 1
                    continue
                images[_text(data, "SOPInstanceUID") or name] = _image(data)
            except CofError:
                raise
            except (InvalidDicomError, AttributeError, KeyError, TypeError, ValueError, EOFError, OSError, RuntimeError,
                    NotImplementedError):  # fmt: skip
                unreadable += 1
    if not images:
        if unreadable:
            raise CofError(Reason.CINE_UNREADABLE, f"none of {unreadable} DICOM files holds a readable single frame")
        if without_position:
            raise CofError(Reason.CINE_GEOMETRY, f"none of {without_position} DICOM images has a position in space")
        raise CofError(Reason.CINE_NO_SHORT_AXIS, "no DICOM image of a cine")
    if unreadable:
        repairs.append(f"{unreadable} unreadable files left out")
    if without_position:
        repairs.append(f"{without_position} images without a position left out")
    return list(images.values())


def _text(data: Dataset, tag: str) -> str:
    return str(data.get(tag) or "").strip()


def _number(data: Dataset, tag: str) -> float | None:
    value = data.get(tag)
    return None if value in (None, "") else float(value)


def _image(data: Dataset) -> _Image:
    """An image of a dataset; raises CofError (CINE_GEOMETRY) for impossible positions, ValueError for faulty pixels."""
    rows, columns = (float(value) for value in data.PixelSpacing)
    position = np.array(data.ImagePositionPatient, float) * _TO_RAS
    directions = np.array(data.ImageOrientationPatient, float).reshape(2, 3) * _TO_RAS
    if not (np.isfinite([rows, columns, *position]).all() and np.isfinite(directions).all() and min(rows, columns) > 0):
        raise CofError(Reason.CINE_GEOMETRY, "position or spacing of an image is not a number")
    if not np.allclose(directions @ directions.T, np.eye(2), atol=1e-2):
        raise CofError(Reason.CINE_GEOMETRY, "rows and columns of an image are not at right angles")
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    pixels = _pixels(data)
    slope, intercept = _number(data, "RescaleSlope"), _number(data, "RescaleIntercept")
    if slope not in (None, 1.0) or intercept not in (None, 0.0):
        pixels = pixels * (1.0 if slope is None else slope) + (intercept or 0.0)
    instance = _number(data, "InstanceNumber")
    return _Image(
        pixels,
        position,
        directions[0],
        directions[1],
        (rows, columns),
        _text(data, "SeriesDescription"),
        _text(data, "SeriesInstanceUID"),
        None if instance is None else int(instance),
        _number(data, "TriggerTime"),
        _number(data, "NominalInterval"),
    )


def _pixels(data: Dataset) -> np.ndarray:
    """The image [Y, X] as stored; uncompressed 16-bit pixels, the usual case, without pydicom's slow checks."""
    syntax = data.file_meta.get("TransferSyntaxUID")
    if data.BitsAllocated != 16 or syntax not in (ExplicitVRLittleEndian, ImplicitVRLittleEndian):
        return data.pixel_array
    kind = "<i2" if data.PixelRepresentation else "<u2"
    return np.frombuffer(data.PixelData, kind, data.Rows * data.Columns).reshape(data.Rows, data.Columns)


def _short_axis(images: list[_Image]) -> list[_Image]:
    """The images of short-axis series by name; where no name says so, all that are not long-axis ones."""
    named = [image for image in images if _SHORT_AXIS.search(image.description)]
    chosen = named or [image for image in images if not _LONG_AXIS.search(image.description)]
    if not chosen:
        raise CofError(Reason.CINE_NO_SHORT_AXIS, "only long-axis series")
    return chosen


def _parallel(images: list[_Image], repairs: list[str]) -> list[_Image]:
    """The largest set of images in parallel planes."""
    sets: list[list[_Image]] = []
    for image in images:
        for members in sets:
            if members[0].normal @ image.normal > _PARALLEL_COSINE:
                members.append(image)
                break
        else:
            sets.append([image])
    largest = max(sets, key=len)
    if len(largest) < len(images):
        repairs.append(f"{len(images) - len(largest)} images of other planes left out")
    return largest


def _by_slice(images: list[_Image], repairs: list[str]) -> list[list[_Image]]:
    """The images of each slice, from base to apex: by number where every series has one, else by position."""
    numbers = [_PLANE_NUMBER.search(image.description) for image in images]
    slices: dict[int, list[_Image]] = defaultdict(list)
    if all(numbers):
        for image, number in zip(images, numbers):
            slices[int(number[1])].append(image)  # type: ignore[index]
        order = sorted(slices)
        if order[0] != 1:
            repairs.append(f"slices are numbered from {order[0]}")
        return [slices[number] for number in order]
    normal = images[0].normal
    heights = np.array([normal @ image.position for image in images])
    ascending = np.argsort(heights, kind="stable")
    planes = np.cumsum(np.diff(heights[ascending], prepend=heights.min()) > _SAME_PLANE_MM)
    for index, plane in zip(ascending, planes):
        slices[int(plane)].append(images[index])
    stack = [slices[plane] for plane in sorted(slices)]
    ordered, doubt = base_to_apex(normal)
    repairs.extend(doubt)
    return stack if ordered else stack[::-1]


def _last_series(images: list[_Image], number: int, repairs: list[str]) -> list[_Image]:
    """Of a slice acquired repeatedly, the images of the last series by UID that is not a mere fragment."""
    sizes = Counter(image.series for image in images)
    if len(sizes) == 1:
        return images
    last = max(series for series, size in sizes.items() if size > max(sizes.values()) / 2)
    repairs.append(f"slice {number}: the last of {len(sizes)} series used")
    return [image for image in images if image.series == last]


def _triggers(images: list[_Image]) -> np.ndarray | None:
    """Ascending trigger times [n] of a slice in ms, or None if they tell no order."""
    times = [image.trigger_ms for image in images]
    if any(time is None or not np.isfinite(time) for time in times) or len(set(times)) < len(times):
        return None
    return np.sort(np.array(times, float))


def _trigger_offset(slices: list[list[_Image]], count: int) -> float:
    """The trigger time of a first frame in frame durations, by the slices that miss no frame."""
    complete = [_triggers(images) for images in slices if len(images) == count > 1]
    offsets = [times[0] / np.median(np.diff(times)) for times in complete if times is not None]
    return float(np.median(offsets)) if offsets else 0.0


def _cycle(images: list[_Image], count: int, offset: float, number: int, repairs: list[str]) -> list[_Image]:
    """The frames of one slice in order of time, `count` of them: where one is missing, the one before it stands in."""
    times = _triggers(images)
    if times is not None:
        images = sorted(images, key=lambda image: image.trigger_ms or 0.0)
    elif len({image.instance for image in images} - {None}) == len(images):
        images = sorted(images, key=lambda image: image.instance or 0)
    else:
        raise CofError(Reason.CINE_UNREADABLE, f"slice {number}: nothing tells the order of frames")
    if len(images) == count:
        return images
    if times is not None and len(times) > 2:
        places = np.rint(times / np.median(np.diff(times)) - offset).astype(int)
    else:
        places = np.array([((image.instance or 1) - 1) % count for image in images])
    if len(set(places)) < len(images) or places.min() < 0 or places.max() >= count:
        places = np.arange(len(images))
    at = dict(zip(places.tolist(), images))
    repairs.extend(
        f"slice {number}: frame {frame + 1} is missing, the one before repeated"
        for frame in range(count)
        if frame not in at
    )
    cycle = [at[max(at)]]  # before the first frame comes the last
    for frame in range(count):
        cycle.append(at.get(frame, cycle[-1]))
    return cycle[1:]


def _affine(cycles: list[list[_Image]]) -> np.ndarray:
    """The affine of the stack by its first slice, and checks that the slices are equally spaced along their normal."""
    firsts = [images[0] for images in cycles]
    base = firsts[0]
    for images in cycles:
        for image in images:
            if not np.allclose(image.spacing_mm, base.spacing_mm, rtol=1e-3):
                raise CofError(Reason.CINE_GEOMETRY, "slices of different pixel spacing")
    if len(firsts) < 2:
        raise CofError(Reason.CINE_TOO_FEW_SLICES, "a single slice is no stack")
    heights = np.array([base.normal @ (image.position - base.position) for image in firsts])
    gaps = np.diff(heights)
    step = float(np.median(gaps))
    if np.abs(gaps - step).max() > _UNEVEN_GAP * abs(step) or step == 0:
        described = ", ".join(f"{gap:.1f}" for gap in gaps)
        raise CofError(Reason.CINE_GEOMETRY, f"slices are not equally spaced: {described} mm")
    affine = np.eye(4)
    affine[:3, 0] = base.along_x * base.spacing_mm[1]
    affine[:3, 1] = base.along_y * base.spacing_mm[0]
    affine[:3, 2] = base.normal * heights[-1] / (len(firsts) - 1)
    affine[:3, 3] = base.position
    return affine


def _stack(cycles: list[list[_Image]], affine: np.ndarray, repairs: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The frames [T, Z, Y, X] on the voxels of one slice, and the affine with that slice's origin.

    The slice is the most basal of the most frequent matrix. Slices of another matrix, or shifted in their plane, are
    cropped and padded with zeros by whole voxels to where their positions say.
    """
    shapes = [images[0].pixels.shape for images in cycles]
    shape = Counter(shapes).most_common(1)[0][0]
    model = cycles[shapes.index(shape)][0]
    inverse = np.linalg.inv(affine)
    in_plane = inverse[:3, :3] @ (model.position - affine[:3, 3])
    affine = affine.copy()
    affine[:3, 3] += affine[:3, :2] @ in_plane[:2]
    if {image.pixels.shape for images in cycles for image in images} == {shape} and not any(
        _shift(images[0], affine).any() for images in cycles
    ):
        return np.array([[image.pixels for image in frame] for frame in zip(*cycles)]), affine
    kind = np.result_type(*(image.pixels.dtype for images in cycles for image in images))
    values = np.zeros((len(cycles[0]), len(cycles), *shape), kind)
    moved = []
    for plane, images in enumerate(cycles):
        for frame, image in enumerate(images):
            _paste(image.pixels, _shift(image, affine), values[frame, plane])
        if images[0].pixels.shape != shape or _shift(images[0], affine).any():
            moved.append(plane + 1)
    repairs.append(f"slices {', '.join(map(str, moved))} brought onto the matrix of the others")
    return values, affine


def _shift(image: _Image, affine: np.ndarray) -> np.ndarray:
    """Whole voxels (y, x) by which a slice is shifted in its plane against the stack."""
    index = np.linalg.solve(affine[:3, :3], image.position - affine[:3, 3])
    return np.rint(index[1::-1]).astype(int)


def _paste(source: np.ndarray, shift: np.ndarray, target: np.ndarray) -> None:
    """Put `source` into `target`, moved by `shift` voxels (y, x), as far as it fits."""
    to, out = [], []
    for by, there, here in zip(shift, target.shape, source.shape):
        low, high = max(by, 0), min(by + here, there)
        if high - low < there / 2:
            raise CofError(Reason.CINE_GEOMETRY, "a slice lies beside the others")
        to.append(slice(low, high))
        out.append(slice(low - by, high - by))
    target[tuple(to)] = source[tuple(out)]


def _rr_ms(slices: list[list[_Image]], count: int, repairs: list[str]) -> float:
    """The RR interval: `count` frame durations by the trigger times, else the scanner's nominal interval."""
    times = [_triggers(images) for images in slices]
    durations = [float(np.median(np.diff(found))) for found in times if found is not None and len(found) > 1]
    nominal = [image.interval_ms for images in slices for image in images if image.interval_ms]
    candidates = [count * float(np.median(durations))] if durations else []
    candidates += [float(np.median(nominal))] if nominal else []
    for rr_ms in candidates:
        if PLAUSIBLE_RR_MS[0] <= rr_ms <= PLAUSIBLE_RR_MS[1]:
            return round(rr_ms, 3)
    repairs.append(f"no plausible trigger times: RR taken as {DEFAULT_RR_MS:.0f} ms")
    return DEFAULT_RR_MS
