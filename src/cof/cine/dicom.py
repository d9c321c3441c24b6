"""Short-axis cines from DICOM images: UK Biobank (field 20209) and most other archives and folders.

The manifest of an archive is not needed and not read, so that it cannot mislead: slices follow from series names
(`..._b1` is the most basal) or, where there are none or they contradict the positions, from positions; frames follow
from trigger times.
"""

import re
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from scipy.ndimage import affine_transform

from cof.cine.geometry import base_to_apex, check_spacing
from cof.cine.images import Image, Plane, read_images
from cof.cine.intensities import settled
from cof.cine.nifti import DEFAULT_RR_MS, PLAUSIBLE_RR_MS
from cof.cine.volume import Cine, to_int16, uniform_times
from cof.errors import CofError, Reason, redact

_SHORT_AXIS = re.compile(r"sax|short.?ax", re.IGNORECASE)
_LONG_AXIS = re.compile(r"lax|long.?ax|[234] ?_?ch", re.IGNORECASE)
_PLANE_NUMBER = re.compile(r"_b(\d{1,3})$")

_PARALLEL_COSINE = np.cos(np.deg2rad(1.0))
_SAME_PLANE_MM = 1.0
_UNEVEN_GAP = 0.15  # share of the slice distance by which gaps may differ
_SAME_VOXELS = 0.3  # voxels by which the corners of a slice may be off the rounded place of its matrix
_MAX_VOXELS = 2**28


def read_dicom(path: Path, max_missing: float) -> Cine:
    """The short-axis cine in a zip archive or folder of DICOM files; other files are passed over.

    A slice acquired more than once counts by its last series; a missing frame is replaced by the one before it.

    Args:
        path: the archive or folder.
        max_missing: share of the frames that any slice may lack, or have too many.

    Raises:
        CofError: CINE_MISSING, CINE_UNREADABLE, CINE_NO_SHORT_AXIS, CINE_TOO_FEW_SLICES, CINE_TOO_FEW_FRAMES (of a
            slice, against the others) or CINE_GEOMETRY.
    """
    repairs: list[str] = []
    images = _short_axis(read_images(path, repairs))
    images = _parallel(images, repairs)
    slices = [
        _one_place(_without_doubles(_last_series(slice_, index, repairs), index, repairs), index, repairs)
        for index, slice_ in enumerate(_by_slice(images, repairs), 1)
    ]
    # The usual number of frames, of two equally usual ones the larger.
    sizes = Counter(map(len, slices))
    count = max(sizes, key=lambda size: (sizes[size], size))
    for index, slice_ in enumerate(slices, 1):
        if abs(count - len(slice_)) > max_missing * count:
            raise CofError(Reason.CINE_TOO_FEW_FRAMES, f"slice {index} has {len(slice_)} of {count} frames")
    offset = _trigger_offset(slices, count)
    cycles = [_cycle(slice_, count, offset, index, repairs) for index, slice_ in enumerate(slices, 1)]
    cycles = settled(cycles, repairs)
    affine = _affine(cycles)
    values, affine = _stack(cycles, affine, repairs)
    check_spacing(affine)
    frames, stretched = to_int16(values)
    repairs.extend(f"slice {index + 1} is black" for index in range(len(slices)) if not frames[:, index].any())
    rr_ms = _rr_ms(slices, count, repairs) if count > 1 else np.nan
    delay_ms = _delay_ms(slices, count)
    names = dict.fromkeys(redact(images[0].description) for images in slices if images[0].description)
    return Cine(
        frames, affine, uniform_times(count, rr_ms), rr_ms, tuple(names), (*repairs, *stretched), delay_ms=delay_ms
    )


def _short_axis(images: list[Image]) -> list[Image]:
    """The images of short-axis series by name; where no name says so, all that are not long-axis ones."""
    named = [image for image in images if _SHORT_AXIS.search(image.description)]
    chosen = named or [image for image in images if not _LONG_AXIS.search(image.description)]
    if not chosen:
        raise CofError(Reason.CINE_NO_SHORT_AXIS, "only long-axis series")
    return chosen


def _parallel(images: list[Image], repairs: list[str]) -> list[Image]:
    """The largest set of images in parallel planes; of many single images and few cines, that of the cines."""
    planes = {image.plane: image.plane.normal for image in images}
    sets: list[set] = []
    normals: list[np.ndarray] = []
    for plane, normal in planes.items():
        for members, other in zip(sets, normals):
            if other @ normal > _PARALLEL_COSINE:
                members.add(plane)
                break
        else:
            sets.append({plane})
            normals.append(normal)
    sizes = Counter(image.plane for image in images)
    largest = max(sets, key=lambda members: sum(sizes[plane] for plane in members))
    kept = [image for image in images if image.plane in largest]
    if len(kept) < len(images):
        repairs.append(f"{len(images) - len(kept)} images of other planes left out")
    return kept


def _by_slice(images: list[Image], repairs: list[str]) -> list[list[Image]]:
    """The images of each slice, from base to apex: by number where every series has one, else by position."""
    numbers = [_PLANE_NUMBER.search(image.description) for image in images]
    if all(numbers):
        slices: dict[int, list[Image]] = defaultdict(list)
        for image, number in zip(images, numbers):
            slices[int(number[1])].append(image)  # type: ignore[index]
        order = sorted(slices)
        stack = [slices[number] for number in order]
        gaps = np.diff(_heights([_usual_place(slice_) for slice_ in stack]))
        if (gaps > 0).all() or (gaps < 0).all():
            if order != list(range(1, len(order) + 1)):
                repairs.append(f"slices are numbered {', '.join(map(str, order))}")
            return stack
        repairs.append("the numbers of the slices contradict their positions, which count")
    normal = images[0].plane.normal
    heights = _heights(images)
    ascending = np.argsort(heights, kind="stable")
    planes = np.cumsum(np.diff(heights[ascending], prepend=heights.min()) > _SAME_PLANE_MM)
    at: dict[int, list[Image]] = defaultdict(list)
    for index, plane in zip(ascending, planes):
        at[int(plane)].append(images[index])
    stack = [at[plane] for plane in sorted(at)]
    ordered, doubt = base_to_apex(normal)
    repairs.extend(doubt)
    return stack if ordered else stack[::-1]


def _heights(images: list[Image]) -> np.ndarray:
    """Positions [n] along the normal of the first image, in mm."""
    return np.array([image.plane.position for image in images]) @ images[0].plane.normal


def _usual_place(images: list[Image]) -> Image:
    """An image at the place of most of them."""
    plane = Counter(image.plane for image in images).most_common(1)[0][0]
    return next(image for image in images if image.plane is plane)


def _one_place(images: list[Image], number: int, repairs: list[str]) -> list[Image]:
    """Of a slice's images those that lie in the plane of most of them."""
    usual = _usual_place(images).plane
    kept = [
        image
        for image in images
        if image.plane is usual or abs(usual.normal @ (image.plane.position - usual.position)) <= _SAME_PLANE_MM
    ]
    if len(kept) < len(images):
        repairs.append(f"slice {number}: {len(images) - len(kept)} images of another place left out")
    return kept


def _last_series(images: list[Image], number: int, repairs: list[str]) -> list[Image]:
    """Of a slice acquired repeatedly, the images of the last series by UID that is not a mere fragment."""
    sizes = Counter(image.series for image in images)
    if len(sizes) == 1:
        return images
    last = max(series for series, size in sizes.items() if size > max(sizes.values()) / 2)
    repairs.append(f"slice {number}: the last of {len(sizes)} series used")
    return [image for image in images if image.series == last]


def _without_doubles(images: list[Image], number: int, repairs: list[str]) -> list[Image]:
    """The images of a slice without those of the same trigger time and number as another."""
    found: dict[object, Image] = {}
    for image in images:
        known = image.trigger_ms is not None and image.instance is not None
        found[(image.trigger_ms, image.instance) if known else image] = image
    if len(found) < len(images):
        repairs.append(f"slice {number}: {len(images) - len(found)} doubles left out")
    return list(found.values())


def _triggers(images: list[Image]) -> np.ndarray | None:
    """Ascending trigger times [n] of a slice in ms, or None if they tell no order."""
    times = [image.trigger_ms for image in images]
    if any(time is None or not np.isfinite(time) for time in times) or len(set(times)) < len(times):
        return None
    return np.sort(np.array(times, float))


def _trigger_offset(slices: list[list[Image]], count: int) -> float:
    """The trigger time of a first frame in frame durations, by the slices that miss no frame."""
    complete = [_triggers(images) for images in slices if len(images) == count > 1]
    offsets = [times[0] / np.median(np.diff(times)) for times in complete if times is not None]
    return float(np.median(offsets)) if offsets else 0.0


def _cycle(images: list[Image], count: int, offset: float, number: int, repairs: list[str]) -> list[Image]:
    """The frames of one slice in order of time, `count` of them.

    Where one is missing, the one before it stands in; of too many the last are left out.
    """
    times = _triggers(images)
    if times is not None:
        images = sorted(images, key=lambda image: image.trigger_ms or 0.0)
    elif len({image.instance for image in images} - {None}) == len(images):
        images = sorted(images, key=lambda image: image.instance or 0)
    else:
        raise CofError(Reason.CINE_UNREADABLE, f"slice {number}: nothing tells the order of frames")
    if len(images) > count:
        repairs.append(f"slice {number}: {len(images) - count} surplus frames left out")
    if len(images) >= count:
        return images[:count]
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


def _affine(cycles: list[list[Image]]) -> np.ndarray:
    """The affine of the stack by its most basal slice, and a check that slices are equally spaced along the normal."""
    planes = [images[0].plane for images in cycles]
    base = planes[0]
    if len(planes) < 2:
        raise CofError(Reason.CINE_TOO_FEW_SLICES, "a single slice is no stack")
    heights = np.array([base.normal @ (plane.position - base.position) for plane in planes])
    gaps = np.diff(heights)
    step = float(np.median(gaps))
    if np.abs(gaps - step).max() > _UNEVEN_GAP * abs(step) or step == 0:
        described = ", ".join(f"{gap:.1f}" for gap in gaps[:30])
        raise CofError(Reason.CINE_GEOMETRY, f"slices are not equally spaced: {described} mm")
    return _plane_affine(base, base.normal * heights[-1] / (len(planes) - 1))


def _plane_affine(plane: Plane, step: np.ndarray) -> np.ndarray:
    """The affine [4, 4] of a plane's voxels (x, y, z, 1), with the next slice at `step` [3] mm."""
    affine = np.eye(4)
    affine[:3, 0] = plane.along_x * plane.spacing_mm[1]
    affine[:3, 1] = plane.along_y * plane.spacing_mm[0]
    affine[:3, 2] = step
    affine[:3, 3] = plane.position
    return affine


def _stack(cycles: list[list[Image]], affine: np.ndarray, repairs: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The frames [T, Z, Y, X] on the voxels of one slice, and the affine with that slice's origin.

    The slice is the most basal of the most frequent matrix and spacing. Slices of another matrix, or shifted in their
    plane, are cropped and padded by whole voxels to where their positions say; slices of another spacing, or turned in
    their plane, are resampled there by linear interpolation. Beyond an image is the least value of all.
    """

    def form(image: Image) -> tuple:
        return image.pixels.shape, tuple(np.round(image.plane.spacing_mm, 3))

    usual = Counter(form(images[0]) for images in cycles).most_common(1)[0][0]
    model = next(images[0] for images in cycles if form(images[0]) == usual)
    # The stack lies on the model's voxels, at the height of the first slice.
    height = model.plane.normal @ (affine[:3, 3] - model.plane.position)
    affine = _plane_affine(model.plane, affine[:3, 2])
    affine[:3, 3] += height * model.plane.normal
    if len(cycles) * len(cycles[0]) * model.pixels.size > _MAX_VOXELS:
        raise CofError(Reason.CINE_UNREADABLE, "the stack is too large for a cine")
    kind = np.result_type(*{image.pixels.dtype for images in cycles for image in images})
    values = np.empty((len(cycles[0]), len(cycles), *model.pixels.shape), kind)
    least = min(image.pixels.min() for images in cycles for image in images)
    shifted, resampled = [], []
    for plane, images in enumerate(cycles):
        ways = {image.plane: _onto(image, affine) for image in images}
        for frame, image in enumerate(images):
            _put(image.pixels, *ways[image.plane], least, values[frame, plane])
        whole = [_whole_voxels(matrix, image.pixels.shape) for image in images for matrix, _ in [ways[image.plane]]]
        if not all(whole):
            resampled.append(plane + 1)
        elif any(image.pixels.shape != model.pixels.shape for image in images) or any(
            np.rint(offset).any() for _, offset in ways.values()
        ):
            shifted.append(plane + 1)
    for moved, how in ((shifted, "brought onto"), (resampled, "resampled to")):
        if moved:
            repairs.append(f"slices {', '.join(map(str, moved))} {how} the matrix of the others")
    return values, affine


def _onto(image: Image, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The way from the stack's (y, x) to those of an image: a matrix [2, 2] and an offset [2], in voxels."""
    own = np.stack([image.plane.along_y / image.plane.spacing_mm[0], image.plane.along_x / image.plane.spacing_mm[1]])
    return own @ affine[:3, 1::-1], own @ (affine[:3, 3] - image.plane.position)


def _whole_voxels(matrix: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether only whole voxels lie between two images, up to the rounding of headers at the far corner."""
    return bool(np.abs((matrix - np.eye(2)) @ shape).max() <= _SAME_VOXELS)


def _put(source: np.ndarray, matrix: np.ndarray, offset: np.ndarray, beyond: float, target: np.ndarray) -> None:
    """Fill `target` from where its voxels lie in `source`, and with `beyond` where they lie beyond it.

    Raises:
        CofError: CINE_GEOMETRY, less than half of the target's height or width is covered.
    """
    if _whole_voxels(matrix, source.shape):
        to, out = [], []
        for first, there, here in zip(np.rint(offset).astype(int), target.shape, source.shape):
            low, high = max(-first, 0), min(here - first, there)
            if high - low < there / 2:
                raise CofError(Reason.CINE_GEOMETRY, "a slice lies beside the others")
            to.append(slice(low, high))
            out.append(slice(low + first, high + first))
        if source[tuple(out)].shape != target.shape:
            target[:] = beyond
        target[tuple(to)] = source[tuple(out)]
        return
    corners = np.array([[y, x] for y in (0, target.shape[0] - 1) for x in (0, target.shape[1] - 1)])
    reached = corners @ matrix.T + offset
    low, high = np.maximum(reached.min(0), 0), np.minimum(reached.max(0), np.array(source.shape) - 1)
    if ((high - low) < (reached.max(0) - reached.min(0)) / 2).any():
        raise CofError(Reason.CINE_GEOMETRY, "a slice lies beside the others")
    sampled = affine_transform(source.astype(np.float32), matrix, offset, target.shape, order=1, cval=beyond)
    target[:] = np.rint(sampled) if np.issubdtype(target.dtype, np.integer) else sampled


def _delay_ms(slices: list[list[Image]], count: int) -> float:
    """The time of the first frame after the R peak, by the slices that miss no frame; nan if none has trigger times."""
    times = [found for images in slices if len(images) == count for found in [_triggers(images)] if found is not None]
    return float(np.median([found[0] for found in times])) if times else np.nan


def _rr_ms(slices: list[list[Image]], count: int, repairs: list[str]) -> float:
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
