"""Cines, anchors and label maps from NIfTI files."""

import gzip
import struct
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from cof.cine.geometry import base_to_apex, check_spacing, flip_slices
from cof.cine.volume import Cine, to_int16, uniform_times
from cof.errors import CofError, Reason

SUFFIXES = (".nii", ".nii.gz")
PLAUSIBLE_RR_MS = (300.0, 2000.0)
DEFAULT_RR_MS = 1000.0
# As float64: twice a cine of 15 slices of 256 x 256 voxels and 50 frames.
_MAX_BYTES = 768 * 2**20
_MAX_OFFSET = 2**20
_TO_MS = {"sec": (1000.0,), "msec": (1.0,), "usec": (0.001,)}


def read_array(path: Path, reason: Reason) -> tuple[np.ndarray, nib.Nifti1Header, np.ndarray]:
    """The array [T, Z, Y, X] of a 3D or 4D NIfTI in stored axes, its header and its affine.

    Raises:
        CofError: with `reason`, if the file is no whole NIfTI of three or four axes.
    """
    try:
        if not _data_offset(path) <= _MAX_OFFSET:
            raise CofError(reason, "the header of the NIfTI is larger than any")
        image: Any = nib.load(path)
        shape = image.shape
        if len(shape) not in (3, 4) or min(shape) < 1:
            raise CofError(reason, f"a NIfTI of {len(shape)} axes; three or four are read")
        # The header alone says how much will be unpacked.
        if np.prod(shape, dtype=float) * 8 > _MAX_BYTES:
            raise CofError(reason, "the NIfTI is too large for a cine")
        array = np.asarray(image.dataobj)
    except CofError:
        raise
    except Exception as error:  # whatever a parser of foreign bytes stumbles over
        raise CofError(reason, f"no readable NIfTI ({type(error).__name__})") from None
    if array.dtype.kind not in "iuf":
        raise CofError(reason, f"a NIfTI of data type {array.dtype} holds no intensities")
    return array.reshape(*shape, *([1] * (4 - len(shape)))).transpose(3, 2, 1, 0), image.header, np.array(image.affine)


def _data_offset(path: Path) -> float:
    """Where the voxels begin by the header: what lies before them would be unpacked and read whole."""
    with (gzip.open if path.name.lower().endswith(".gz") else open)(path, "rb") as file:
        head = file.read(352)
    order = "<" if head[:4] in (struct.pack("<i", 348), struct.pack("<i", 540)) else ">"
    second = struct.unpack(f"{order}i", head[:4])[0] == 540
    return float(
        struct.unpack_from(f"{order}q", head, 168)[0] if second else struct.unpack_from(f"{order}f", head, 108)[0]
    )


def read_nifti(path: Path) -> Cine:
    """A cine from a 4D NIfTI, or a lone anchor from one of a single frame; the third axis is that of the slices.

    Without an orientation in the header (no sform, no qform) the order of the slices is kept.

    Raises:
        CofError: CINE_MISSING, CINE_UNREADABLE, CINE_NOT_FINITE or CINE_GEOMETRY.
    """
    if not path.is_file():
        raise CofError(Reason.CINE_MISSING, "the cine is not there")
    values, header, affine = read_array(path, Reason.CINE_UNREADABLE)
    check_spacing(affine)
    frames, repairs = to_int16(values)
    if header["sform_code"] or header["qform_code"]:
        ordered, doubt = base_to_apex(affine[:3, 2])
        repairs += doubt
        if not ordered:
            frames, affine = flip_slices(frames, affine)
            repairs += ("slices reversed to run from base to apex",)
    else:
        repairs += ("no orientation in the header: slices taken to run from base to apex",)
    if len(frames) == 1:
        return Cine(frames, affine, uniform_times(1, np.nan), np.nan, repairs=repairs)
    rr_ms = _rr_ms(header, len(frames))
    if rr_ms is None:
        rr_ms = DEFAULT_RR_MS
        repairs += (f"no plausible frame duration in the header: RR taken as {DEFAULT_RR_MS:.0f} ms",)
    return Cine(frames, affine, uniform_times(len(frames), rr_ms), rr_ms, repairs=repairs)


def _rr_ms(header: nib.Nifti1Header, frames: int) -> float | None:
    """The RR interval by the header's frame duration; where it names no unit, that which makes it plausible."""
    duration = float(header["pixdim"][4])
    try:
        unit = header.get_xyzt_units()[1]
    except KeyError:  # a code that is no unit
        unit = "unknown"
    for factor in _TO_MS.get(unit, (1000.0, 1.0)):
        rr_ms = duration * factor * frames
        if PLAUSIBLE_RR_MS[0] <= rr_ms <= PLAUSIBLE_RR_MS[1]:
            return round(rr_ms, 3)
    return None
