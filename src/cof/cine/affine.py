"""The affine of a NIfTI, from those parts of its header that agree and are plausible."""

from collections.abc import Iterator
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from cof.cine.geometry import MAX_SHEAR_DEGREES, is_short_axis_spacing, shear_degrees, spacing_of, spacing_words

# An axis whose cosine with a scanner axis exceeds this counts as a scanner axis. No short axis lies along one: such an
# affine was written by a program that does not know the orientation.
_AXIS_COSINE = 0.999
# Parts of a header agree if spacings differ by less than this share and corners by less than this length.
_SAME_SHARE = 0.01
_SAME_MM = 0.5
_TO_MM = {"mm": 1.0, "meter": 1000.0, "micron": 0.001}


@dataclass(frozen=True)
class Placed:
    """An affine that was read from a header.

    Attributes:
        affine: [4, 4], voxel index (x, y, z, 1) as stored to RAS millimetres; not checked.
        oriented: whether it states the orientation of the stack in the patient.
        repairs: one sentence for each disagreement in the header, with the part that was used.
    """

    affine: np.ndarray
    oriented: bool
    repairs: tuple[str, ...]


@dataclass(frozen=True)
class _Reading:
    """A part of the header that states an affine, in the header's own unit."""

    part: str
    affine: np.ndarray

    @property
    def whole(self) -> bool:
        """True if the affine is finite, of full rank, and has axes at right angles up to rounding."""
        return bool(np.isfinite(self.affine).all() and abs(np.linalg.det(self.affine[:3, :3])) > 0) and (
            shear_degrees(self.affine) <= MAX_SHEAR_DEGREES
        )

    @property
    def oblique(self) -> bool:
        """True if at least one axis is not a scanner axis."""
        units = self.affine[:3, :3] / spacing_of(self.affine)
        return bool((np.abs(units).max(axis=0) < _AXIS_COSINE).any())


def place_voxels(header: nib.Nifti1Header, pixdim: np.ndarray, shape: tuple[int, ...]) -> Placed:
    """Return the affine of a NIfTI in millimetres.

    The candidates are, in this order: the sform; the qform; the directions of the sform with the lengths of pixdim, or
    pixdim alone where there is no usable sform. The first one is used whose spacing is that of a short-axis stack, in
    the unit of the header or else in another unit. A candidate that states the orientation goes before one along the
    scanner axes. Where no candidate has such a spacing, or the first one is damaged or sheared, the first is returned
    unchanged, so that the caller refuses it.

    Args:
        header: as nibabel reads it.
        pixdim: [3], spacing along x, y, z as written in the file; nibabel's header has 1 in place of 0.
        shape: number of voxels along x, y, z.
    """
    readings = list(_readings(header, pixdim))
    first = readings[0]
    unit = _unit(header)
    scales = {reading.part: _scale(reading, unit) for reading in readings if reading.whole}
    usable = [reading for reading in readings if scales.get(reading.part) and not _lost(reading, pixdim)]
    if not usable or (first.part != "pixdim" and not first.whole):
        return Placed(first.affine, False, ())
    chosen = next((reading for reading in usable if reading.oblique), usable[0])
    scale = scales[chosen.part] or 1.0
    affine = np.diag([scale, scale, scale, 1.0]) @ chosen.affine
    spacing = spacing_words(spacing_of(affine))
    repairs = []
    if scale != _TO_MM.get(unit, 1.0):
        meant = next(name for name, factor in _TO_MM.items() if factor == scale)
        named = unit if unit in _TO_MM else "mm (it names no unit)"
        repairs.append(f"the header's spacing cannot be in {named}: read in {meant}, as {spacing} mm")
    if first.part != chosen.part:
        own_axes = "lies along the scanner axes"
        fault = own_axes if scales.get(first.part) else "does not have the spacing of a stack"
        repairs.append(
            f"the header's {first.part} ({spacing_words(spacing_of(first.affine))}) {fault}: {chosen.part} is used, "
            f"spacing {spacing} mm"
        )
    qform = next((reading for reading in usable if reading.part == "qform"), None)
    if chosen.part == "sform" and qform and (apart := _apart(chosen, qform, shape) * scale) > _SAME_MM:
        repairs.append(f"sform and qform of the header differ by up to {apart:.1f} mm: the sform is used")
    if chosen.part == "sform" and _contradicts(pixdim, chosen):
        repairs.append(
            f"pixdim of the header ({spacing_words(np.abs(pixdim))}) contradicts its sform: the sform is used, "
            f"spacing {spacing} mm"
        )
    if chosen.part == "pixdim" and (pixdim < 0).any():
        repairs.append(f"negative spacing in the header's pixdim: its sign is ignored, spacing {spacing} mm")
    return Placed(affine, chosen.oblique, tuple(repairs))


def _lost(reading: _Reading, pixdim: np.ndarray) -> bool:
    """Tell whether an sform along the scanner axes has pixels of exactly 1 x 1, while pixdim has plausible others.

    Programs that do not know the orientation write such an sform: its length of 1 means that it states no spacing.
    """
    if reading.part != "sform" or reading.oblique or not np.isfinite(pixdim).all():
        return False
    spacing, told = spacing_of(reading.affine), np.abs(pixdim)
    return bool((spacing == 1).sum() >= 2 and (told != 1).sum() >= 2 and is_short_axis_spacing(told))


def _readings(header: nib.Nifti1Header, pixdim: np.ndarray) -> Iterator[_Reading]:
    """Yield every part of the header that states an affine, first the one that nibabel would use."""
    lengths = np.abs(pixdim) if np.isfinite(pixdim).all() else np.zeros(3)
    sform = _Reading("sform", header.get_sform())
    if header["sform_code"] > 0:
        yield sform
    if header["qform_code"] > 0:
        yield _Reading("qform", _qform(header) if lengths.all() else np.zeros((4, 4)))
    if header["sform_code"] > 0 and sform.whole:
        yield _Reading("pixdim", sform.affine * [*(lengths / spacing_of(sform.affine)), 1.0])
    else:
        yield _Reading("pixdim", header.get_base_affine() if lengths.all() else np.diag([*lengths, 1.0]))


def _qform(header: nib.Nifti1Header) -> np.ndarray:
    """Return the affine of the qform; zeros if its quaternion is not valid."""
    try:
        return np.asarray(header.get_qform())
    except (HeaderDataError, ValueError):
        return np.zeros((4, 4))


def _unit(header: nib.Nifti1Header) -> str:
    """Return the name of the header's unit of length."""
    try:
        return str(header.get_xyzt_units()[0])
    except KeyError:  # a code that is no unit
        return "unknown"


def _scale(reading: _Reading, unit: str) -> float | None:
    """Return the factor to mm: that of the unit, or else one that gives the spacing of a short-axis stack, or None."""
    spacing = spacing_of(reading.affine)
    factors = (_TO_MM.get(unit, 1.0), *_TO_MM.values())
    return next((factor for factor in factors if is_short_axis_spacing(factor * spacing)), None)


def _apart(one: _Reading, other: _Reading, shape: tuple[int, ...]) -> float:
    """Return the largest distance of a corner of the stack between two readings."""
    corners = np.array(np.meshgrid(*([0, size - 1] for size in shape[:3]), [1])).reshape(4, -1)
    return float(np.linalg.norm(((one.affine - other.affine) @ corners)[:3], axis=0).max())


def _contradicts(pixdim: np.ndarray, reading: _Reading) -> bool:
    """Tell whether pixdim states another spacing; values that are 0 or not finite are ignored."""
    spacing = spacing_of(reading.affine)
    told = np.isfinite(pixdim) & (pixdim != 0)
    return bool((np.abs(np.abs(pixdim) / spacing - 1) > _SAME_SHARE)[told].any())
