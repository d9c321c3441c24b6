"""Reader of cines, anchors and label maps in NIfTI files."""

import gzip
import zlib
from contextlib import ExitStack
from dataclasses import dataclass
from io import BufferedIOBase
from itertools import pairwise
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.fileholders import FileHolder
from nibabel.spatialimages import HeaderDataError

from cof.cine.affine import place_voxels
from cof.cine.foreign import describe
from cof.cine.geometry import base_to_apex, check_spacing, flip_slices, slice_axis, spacing_of
from cof.cine.volume import Cine, to_int16, uniform_times
from cof.errors import CofError, Reason, raise_if_broken

UNORIENTED = (
    "no orientation in the header: slices assumed to run from base to apex as stored; check that the first is basal"
)
PLAUSIBLE_RR_MS = (300.0, 2000.0)
DEFAULT_RR_MS = 1000.0
# As float64, twice the size of a cine of 50 frames and 15 slices of 256 x 256 voxels.
_MAX_BYTES = 768 * 2**20
_MAX_OFFSET = 2**20
_TO_MS = {"sec": 1000.0, "msec": 1.0, "usec": 0.001}
_NO_DURATION = (0.0, 1.0)  # written by programs that do not know the duration
# Distance of the first and the last slice; no heart is longer.
_MAX_STACK_MM = 250.0
# In real cines, neighbouring slices differ 5 to 10 times as much as neighbouring frames. The first and the last slice
# differ about twice as much as neighbouring slices; the first and the last frame, since a cycle closes, about as much
# as neighbouring frames.
_FRAMES_UNLIKE = 2.0
_OPEN = 1.5

_SUFFIXES = (".nii", ".hdr", ".img")
_GZIP = b"\x1f\x8b"
_KINDS: dict[int, tuple[Any, Any, Any]] = {  # by the size of the header in bytes
    348: (nib.Nifti1Header, nib.Nifti1Image, nib.Nifti1Pair),
    540: (nib.Nifti2Header, nib.Nifti2Image, nib.Nifti2Pair),
}


@dataclass(frozen=True)
class Stored:
    """Contents of a NIfTI.

    Attributes:
        values: [T, Z, Y, X] in the file's order of axes, except that slices are always along Z.
        affine: [4, 4], voxel index (x, y, z, 1) to RAS millimetres; not checked.
        oriented: whether the header states the orientation of the stack in the patient.
        reordered: whether slices did not lie along the third axis.
        step: duration of a frame by the header, in the header's unit of time; 0 if it states none.
        header: header as nibabel reads it.
        repairs: one sentence per repair.
    """

    values: np.ndarray
    affine: np.ndarray
    oriented: bool
    reordered: bool
    step: float
    header: nib.Nifti1Header
    repairs: tuple[str, ...]


def is_nifti(path: Path) -> bool:
    """Tell whether a file is a NIfTI, by its name or by its first bytes."""
    if path.is_dir():
        return False
    if path.name.lower().removesuffix(".gz").endswith(_SUFFIXES):
        return True
    try:
        with _opened(path) as file:
            head = file.read(348)
    except (OSError, EOFError, zlib.error) as error:
        raise_if_broken(error)
        return False
    size = _header_size(head)[0]
    return size == 540 or (size == 348 and head[344:346] in (b"n+", b"ni"))


def read_array(path: Path, reason: Reason) -> Stored:
    """Read a NIfTI of three or four axes; further axes of one element are ignored.

    The content decides whether it is compressed. Of a pair of files (.hdr and .img), either may be named.

    Raises:
        CofError: with `reason`, if the file is not a whole NIfTI of three or four axes.
    """
    try:
        with ExitStack() as files:
            image, pixdim = _load(path, reason, files)
            shape = image.shape
            # The header alone decides how much would be unpacked.
            if np.prod(shape, dtype=float) * 8 > _MAX_BYTES:
                raise CofError(
                    reason, f"the NIfTI has {_words(shape)} voxels by its header, which is too large for a cine"
                )
            frames = [axis for axis in range(3, len(shape)) if shape[axis] > 1]
            if len(shape) < 3 or min(shape) < 1 or len(frames) > 1:
                raise CofError(
                    reason,
                    f"the NIfTI has {len(shape)} axes ({_words(shape)}); three (x, y, z) or four (x, y, z, t) are read",
                )
            array = np.asarray(image.dataobj)
            _check_end(image)
    except CofError:
        raise
    except Exception as error:  # parsing foreign bytes can raise anything
        raise_if_broken(error)
        fault = str(error) if isinstance(error, HeaderDataError) else type(error).__name__
        raise CofError(
            reason, f"the NIfTI cannot be read ({fault}): it is cut off or damaged; write or fetch it again"
        ) from None
    if array.dtype.kind not in "iuf":
        raise CofError(
            reason, f"a NIfTI of data type {array.dtype} holds no intensities: save it with whole or real numbers"
        )
    placed = place_voxels(image.header, pixdim[1:4], shape)
    affine, repairs = placed.affine, placed.repairs
    axes = [0, 1, 2]
    along = slice_axis(spacing_of(affine))
    if along != 2:
        axes = [axis for axis in axes if axis != along] + [along]
        affine = affine[:, [*axes, 3]]
        repairs += (f"by the spacing, slices lie along the file's axis {'xyz'[along]}: axes reordered",)
    values = array.reshape(*shape[:3], -1).transpose(3, *axes[::-1])
    steps = pixdim[[axis + 1 for axis in frames] + [4]]
    step = float(next((step for step in steps if step not in _NO_DURATION), 0.0))
    return Stored(values, affine, placed.oriented, along != 2, step, image.header, repairs)


def _check_end(image: Any) -> None:
    """Read a compressed file to its end, which checks its checksum; raise OSError or EOFError if that differs."""
    for holder in image.file_map.values():
        if isinstance(holder.fileobj, gzip.GzipFile):
            holder.fileobj.read(_MAX_OFFSET)


def _load(path: Path, reason: Reason, files: ExitStack) -> tuple[Any, np.ndarray]:
    """Open the image without reading its voxels; return it and its file's pixdim. `files` keeps the files open."""
    first = _partner(path, ".img", ".hdr") or path
    header = files.enter_context(_opened(first))
    head = header.read(540)
    size, order = _header_size(head)
    if size not in _KINDS:
        alone = first.name.lower().removesuffix(".gz").endswith(".img")
        kind = "an .img file without its header (.hdr) beside it" if alone else describe(first)
        raise CofError(reason, f"this is not a readable NIfTI: the file is {kind}")
    header_class, single, pair = _KINDS[size]
    raw = header_class(head[:size], endianness=order, check=False)
    pixdim = raw["pixdim"].astype(float)
    magic = bytes(raw["magic"])[:2]
    if magic == b"ni":
        second = _partner(first, ".hdr", ".img")
        if second is None:
            raise CofError(reason, "the NIfTI is a pair of files, and the file of the voxels (.img) is missing")
        voxels = files.enter_context(_opened(second))
        return pair.from_file_map({"header": FileHolder(fileobj=header), "image": FileHolder(fileobj=voxels)}), pixdim
    if magic != b"n+":
        raise CofError(
            reason, "the header is Analyze 7.5, which does not state the orientation of the stack: convert it to NIfTI"
        )
    # Everything before the voxels would be unpacked and read.
    if not float(raw["vox_offset"]) <= _MAX_OFFSET:
        raise CofError(reason, "the voxels of the NIfTI begin too late in the file: its header is damaged")
    return single.from_file_map({"image": FileHolder(fileobj=header)}), pixdim


def _opened(path: Path) -> BufferedIOBase:
    """Open a file for reading; unpack it if its content is compressed, whatever its name."""
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP
    return gzip.open(path) if packed else path.open("rb")


def _header_size(head: bytes) -> tuple[int, str]:
    """Return the header's size by its first four bytes, 0 if it is not a header, and the byte order."""
    for order in "<>":
        size = int.from_bytes(head[:4], "little" if order == "<" else "big")
        if size in _KINDS:
            return size, order
    return 0, "<"


def _partner(path: Path, suffix: str, other: str) -> Path | None:
    """Return the other file of a pair, if `path` ends in `suffix` and the other file exists."""
    name = path.name.lower().removesuffix(".gz")
    if not name.endswith(suffix):
        return None
    wanted = name.removesuffix(suffix) + other
    same = (file for file in path.parent.iterdir() if file.name.lower().removesuffix(".gz") == wanted)
    return next(same, None)


def _words(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def read_nifti(path: Path, es_phase: float = np.nan) -> Cine:
    """Read a cine from a NIfTI (x, y, z, t), or an anchor from one of a single frame.

    Without an orientation in the header, the order of the slices is kept.

    Args:
        path: the file.
        es_phase: phase of the second frame, where the file holds only ED and ES; NaN otherwise.

    Raises:
        CofError: CINE_MISSING, CINE_UNREADABLE, CINE_NOT_FINITE or CINE_GEOMETRY; PAIR_MISMATCH if a pair of ED and ES
            does not have two frames.
    """
    if not path.is_file():
        raise CofError(Reason.CINE_MISSING, "the file of the cine does not exist")
    stored = read_array(path, Reason.CINE_UNREADABLE)
    if np.isfinite(es_phase) and len(stored.values) != 2:
        raise CofError(
            Reason.PAIR_MISMATCH,
            f"the file has {len(stored.values)} frames; with es_phase in the sheet it must have two, ED and then ES: "
            "leave the cell empty for a cine",
        )
    affine, repairs = stored.affine, stored.repairs
    check_spacing(affine)
    frames, stretched = to_int16(stored.values)
    _check_axes(frames, affine)
    if stored.oriented:
        ordered, doubt = base_to_apex(affine[:3, 2])
        repairs += doubt
        if not ordered:
            frames, affine = flip_slices(frames, affine)
            repairs += ("slices reversed to run from base to apex",)
    else:
        repairs += (UNORIENTED,)
    repairs += stretched
    if len(frames) == 1:
        return Cine(frames, affine, uniform_times(1, np.nan), np.nan, repairs=repairs, oriented=stored.oriented)
    if np.isfinite(es_phase):
        times = np.array([0.0, np.nan])
        return Cine(frames, affine, times, np.nan, repairs=repairs, oriented=stored.oriented, es_phase=es_phase)
    rr_ms, doubt = _rr_ms(stored.header, stored.step, len(frames))
    times = uniform_times(len(frames), rr_ms)
    return Cine(frames, affine, times, rr_ms, repairs=(*repairs, *doubt), oriented=stored.oriented)


def _check_axes(values: np.ndarray, affine: np.ndarray) -> None:
    """Raise CofError for a stack [T, Z, Y, X] in which frames and slices seem to be exchanged."""
    frames, slices = values.shape[:2]
    length = (slices - 1) * spacing_of(affine)[2]
    if length > _MAX_STACK_MM:
        raise CofError(
            Reason.CINE_GEOMETRY,
            f"{slices} slices extend over {length:.0f} mm, but at most {_MAX_STACK_MM:.0f} mm are possible: the axes "
            "must be x, y, z, t; frames and slices may be exchanged, or the spacing is wrong",
        )
    if frames < 3 or slices < 3:
        return
    some = values[..., ::2, ::2].astype(np.float32)
    by_frame, across_frames = _unlike(some)
    by_slice, across_slices = _unlike(some.swapaxes(0, 1))
    closed, opened = across_slices < by_slice, across_frames > _OPEN * by_frame
    if by_frame > _FRAMES_UNLIKE * by_slice or (_FRAMES_UNLIKE * by_frame > by_slice and closed and opened):
        raise CofError(
            Reason.CINE_GEOMETRY,
            "slices look like the frames of a cycle, and frames like slices: they seem to be exchanged; the axes must "
            "be x, y, z, t",
        )


def _unlike(images: np.ndarray) -> tuple[float, float]:
    """Return the mean absolute difference of neighbours along the first axis, and that of the first and the last."""
    neighbours = np.mean([np.abs(after - before).mean() for before, after in pairwise(images)])
    return float(neighbours), float(np.abs(images[-1] - images[0]).mean())


def _rr_ms(header: nib.Nifti1Header, step: float, frames: int) -> tuple[float, tuple[str, ...]]:
    """Return the RR interval in ms by the header's frame duration, and one sentence for each assumption.

    The duration is read in the unit of the header, or else in a unit that makes it plausible. A number that is not a
    plausible frame duration in any unit is read as the RR interval itself, if it can be one. Without a unit in the
    header, seconds and then milliseconds are tried.
    """
    try:
        unit = header.get_xyzt_units()[1]
    except KeyError:  # the code is not a unit
        unit = "unknown"
    stated = (_TO_MS[unit],) if unit in _TO_MS else (1000.0, 1.0)
    if np.isfinite(step) and abs(step) not in _NO_DURATION:
        for count in (frames, 1):
            for factor in (*stated, *_TO_MS.values()):
                rr_ms = abs(step) * factor * count
                if PLAUSIBLE_RR_MS[0] <= rr_ms <= PLAUSIBLE_RR_MS[1]:
                    if count == 1:
                        return round(rr_ms, 3), (
                            f"the header's frame duration ({step:.4g}) is not plausible: read as the RR interval, "
                            f"{rr_ms:.0f} ms",
                        )
                    if factor not in stated or step < 0:
                        return round(rr_ms, 3), (
                            f"the header's frame duration ({step:.4g} {unit}) cannot be in that unit: RR interval "
                            f"assumed to be {rr_ms:.0f} ms",
                        )
                    return round(rr_ms, 3), ()
    return DEFAULT_RR_MS, (
        f"no plausible frame duration in the header: RR interval assumed to be {DEFAULT_RR_MS:.0f} ms",
    )
