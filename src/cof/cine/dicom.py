"""Reader of short-axis cines from DICOM images: UK Biobank (field 20209) and most other archives and folders.

The manifest of an archive is not read, so that it cannot mislead. Only the headers of the images are used:
`cof.cine.selection` decides which images are of the cine, `cof.cine.acquisitions` which acquisition of a slice is used,
and `cof.cine.order` the order of frames. Slices are ordered by series names (`..._b1` is the most basal) or, where
there are none or they contradict the positions, by positions.
"""

import re
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from scipy.ndimage import affine_transform

from cof.cine.acquisitions import later, named, one_acquisition
from cof.cine.files import read_images
from cof.cine.geometry import base_to_apex, check_spacing
from cof.cine.headers import SYNTHETIC
from cof.cine.images import Image, Plane
from cof.cine.intensities import settled
from cof.cine.order import Frames, common_cycle, in_order, on_cycle
from cof.cine.selection import short_axis_cine
from cof.cine.volume import Cine, to_int16, uniform_times
from cof.errors import CofError, Reason, redact

_PLANE_NUMBER = re.compile(r"_b(\d{1,3})$")

_SAME_PLANE_MM = 1.0
_FEWEST_SLICES = 3  # in a stack whose even spacing can be checked
_UNEVEN_GAP = 0.15  # share of the slice distance by which single distances may differ
_SAME_VOXELS = 0.3  # voxels by which the corners of a slice may differ from a shift by whole voxels
_MAX_VOXELS = 2**28


def read_dicom(path: Path, max_missing: float) -> Cine:
    """Read the short-axis cine in a zip archive or folder of DICOM files; other files are skipped.

    Of a slice that was acquired more than once, the latest complete acquisition is used. A missing frame is replaced by
    the one before it.

    Args:
        path: the archive or folder.
        max_missing: share of the frames that a slice may lack, or have in excess.

    Raises:
        CofError: CINE_MISSING, CINE_UNREADABLE, CINE_NO_SHORT_AXIS, CINE_TOO_FEW_SLICES, CINE_TOO_FEW_FRAMES (a slice
            has fewer or more frames than the others) or CINE_GEOMETRY.
    """
    repairs: list[str] = []
    try:
        return _cine(path, max_missing, repairs)
    except CofError as error:
        if lost := [repair for repair in repairs if "left out" in repair]:
            raise CofError(error.reason, f"{error} ({'; '.join(lost)})") from None
        raise


def _cine(path: Path, max_missing: float, repairs: list[str]) -> Cine:
    """Read the short-axis cine; add to `repairs` what was left out or repaired, also where it fails."""
    images, cine_left_out = short_axis_cine(read_images(path, repairs), repairs)
    taken = one_acquisition(_one_stack(_by_slice(images, repairs), repairs), max_missing, repairs)
    placed = settled([_one_place(images, number, repairs) for number, images in enumerate(taken, 1)], repairs)
    slices = _in_order(placed, repairs)
    cycle = common_cycle(slices, repairs)
    if cycle.count == 1 and cine_left_out:
        raise CofError(
            Reason.CINE_TOO_FEW_FRAMES,
            "the source holds a cine, but only single images of the short axis remain, which are no anchor volume",
        )
    cycles = [on_cycle(frames, cycle, max_missing, number, repairs) for number, frames in enumerate(slices, 1)]
    values, affine = _stack(cycles, _affine(cycles), repairs)
    check_spacing(affine)
    frames, stretched = to_int16(values)
    repairs.extend(f"slice {index + 1} is black" for index in range(len(slices)) if not frames[:, index].any())
    names = dict.fromkeys(redact(image.series.description) for images in cycles for image in images[:1])
    names.pop("", None)
    times = uniform_times(cycle.count, cycle.rr_ms)
    return Cine(
        frames,
        affine,
        times,
        cycle.rr_ms,
        tuple(names),
        (*repairs, *stretched),
        delay_ms=cycle.delay_ms,
        synthetic=any(SYNTHETIC in image.kind for images in cycles for image in images),
    )


def _in_order(slices: list[list[Image]], repairs: list[str]) -> list[Frames]:
    """Sort the frames of every slice by time."""
    ordered: list[Frames] = []
    doubtful: dict[str, list[int]] = defaultdict(list)
    for number, images in enumerate(slices, 1):
        frames, doubt = in_order(images, number)
        ordered.append(frames)
        if doubt:
            doubtful[doubt].append(number)
    repairs.extend(f"{named(numbers)}: {doubt}" for doubt, numbers in doubtful.items())
    return ordered


def _by_slice(images: list[Image], repairs: list[str]) -> list[list[Image]]:
    """Return the images of each slice from base to apex: by number where every series has one, else by position."""
    numbers = [_PLANE_NUMBER.search(image.series.description) for image in images]
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
        repairs.append("the numbers of the slices contradict their positions: the positions are used")
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


def _one_stack(slices: list[list[Image]], repairs: list[str]) -> list[list[Image]]:
    """Return, of two interleaved stacks, the one acquired later; a single stack is returned unchanged."""
    if len(slices) < 2 * _FEWEST_SLICES or _even(slices):
        return slices
    stacks = [slices[::2], slices[1::2]]
    if not _two_stacks(*stacks):
        return slices
    chosen, by = later([[image for images in stack for image in images] for stack in stacks])
    kept = next(stack for stack in stacks if stack[0][0] is chosen[0])
    left = sum(map(len, slices)) - sum(map(len, kept))
    repairs.append(f"two stacks with interleaved slices: {by}, {left} images left out")
    return kept


def _two_stacks(one: list[list[Image]], other: list[list[Image]]) -> bool:
    """Tell whether both have the same even spacing, and one was acquired or numbered wholly before the other.

    Otherwise they are one stack with missing slices.
    """
    steps = [float(np.median(np.diff(_heights([_usual_place(images) for images in stack])))) for stack in (one, other)]
    if not (_even(one) and _even(other) and abs(steps[0] - steps[1]) <= _UNEVEN_GAP * abs(steps[0])):
        return False
    ages = (
        lambda image: image.moment.acquired_s,
        lambda image: image.series.begun_s,
        lambda image: image.moment.content_s,
        lambda image: image.series.number,
        lambda image: image.moment.acquisition,
        lambda image: image.moment.instance,
    )
    for age in ages:
        first, second = ([age(image) for images in stack for image in images] for stack in (one, other))
        if None not in first and None not in second and (max(first) < min(second) or max(second) < min(first)):
            return True
    return False


def _even(slices: list[list[Image]]) -> bool:
    """Tell whether slices are equally spaced along the normal."""
    gaps = np.diff(_heights([_usual_place(images) for images in slices]))
    step = float(np.median(gaps))
    return step != 0 and bool(np.abs(gaps - step).max() <= _UNEVEN_GAP * abs(step))


def _heights(images: list[Image]) -> np.ndarray:
    """Return the positions [n] along the normal of the first image, in mm."""
    return np.array([image.plane.position for image in images]) @ images[0].plane.normal


def _usual_place(images: list[Image]) -> Image:
    """Return one image at the place that most of the images share."""
    plane = Counter(image.plane for image in images).most_common(1)[0][0]
    return next(image for image in images if image.plane is plane)


def _one_place(images: list[Image], number: int, repairs: list[str]) -> list[Image]:
    """Keep the images of a slice that lie in the plane of most of them."""
    usual = _usual_place(images).plane
    kept = [
        image
        for image in images
        if image.plane is usual or abs(usual.normal @ (image.plane.position - usual.position)) <= _SAME_PLANE_MM
    ]
    if len(kept) < len(images):
        repairs.append(f"slice {number}: {len(images) - len(kept)} images at another place left out")
    return kept


def _affine(cycles: list[list[Image]]) -> np.ndarray:
    """Return the affine of the stack by its most basal slice; raise CofError if slices are not equally spaced."""
    planes = [images[0].plane for images in cycles]
    base = planes[0]
    if len(planes) < 2:
        raise CofError(Reason.CINE_TOO_FEW_SLICES, "there is only one slice; a stack is needed")
    heights = np.array([base.normal @ (plane.position - base.position) for plane in planes])
    gaps = np.diff(heights)
    step = float(np.median(gaps))
    if np.abs(gaps - step).max() > _UNEVEN_GAP * abs(step) or step == 0:
        described = ", ".join(f"{abs(gap):.1f}" for gap in gaps[:30])
        raise CofError(
            Reason.CINE_GEOMETRY,
            f"slices are not equally spaced: {described} mm; a slice is missing, or images of several stacks are mixed",
        )
    return _plane_affine(base, base.normal * heights[-1] / (len(planes) - 1))


def _plane_affine(plane: Plane, step: np.ndarray) -> np.ndarray:
    """Return the affine [4, 4] of a plane's voxels (x, y, z, 1), with the next slice at `step` [3] mm."""
    affine = np.eye(4)
    affine[:3, 0] = plane.along_x * plane.spacing_mm[1]
    affine[:3, 1] = plane.along_y * plane.spacing_mm[0]
    affine[:3, 2] = step
    affine[:3, 3] = plane.position
    return affine


def _stack(cycles: list[list[Image]], affine: np.ndarray, repairs: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the frames [T, Z, Y, X] on the voxels of one slice, and the affine with that slice's origin.

    That slice is the most basal one with the most frequent matrix and spacing. Slices with another matrix, or shifted
    in their plane, are cropped and padded by whole voxels according to their positions. Slices with another spacing, or
    rotated in their plane, are resampled by linear interpolation. Voxels beyond an image get the least value of all.
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
    for moved, how in ((shifted, "cropped or padded to"), (resampled, "resampled to")):
        if moved:
            repairs.append(f"slices {', '.join(map(str, moved))} {how} the matrix of the others")
    return values, affine


def _onto(image: Image, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the map from the stack's (y, x) to those of an image: a matrix [2, 2] and an offset [2], in voxels."""
    own = np.stack([image.plane.along_y / image.plane.spacing_mm[0], image.plane.along_x / image.plane.spacing_mm[1]])
    return own @ affine[:3, 1::-1], own @ (affine[:3, 3] - image.plane.position)


def _whole_voxels(matrix: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Tell whether two images differ by a shift of whole voxels, up to the rounding of headers at the far corner."""
    return bool(np.abs((matrix - np.eye(2)) @ shape).max() <= _SAME_VOXELS)


def _put(source: np.ndarray, matrix: np.ndarray, offset: np.ndarray, beyond: float, target: np.ndarray) -> None:
    """Fill `target` with the values at its voxels in `source`, and with `beyond` where they lie outside `source`.

    Raises:
        CofError: CINE_GEOMETRY, less than half of the target's height or width is covered.
    """
    if _whole_voxels(matrix, source.shape):
        to, out = [], []
        for first, there, here in zip(np.rint(offset).astype(int), target.shape, source.shape):
            low, high = max(-first, 0), min(here - first, there)
            if high - low < there / 2:
                raise CofError(Reason.CINE_GEOMETRY, "a slice overlaps the others by less than half")
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
        raise CofError(Reason.CINE_GEOMETRY, "a slice overlaps the others by less than half")
    sampled = affine_transform(
        source.astype(np.float32), matrix, offset, target.shape, order=1, mode="grid-constant", cval=beyond
    )
    target[:] = np.rint(sampled) if np.issubdtype(target.dtype, np.integer) else sampled
