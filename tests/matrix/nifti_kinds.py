"""Kinds of NIfTI cines. Each function writes one into a folder and returns its path and what must become of it."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
from cines import FRAME_MS, SPACING_MM, Right, affine, truth
from kinds import EITHER, REFUSAL, Kinds, Outcome, Refusal

from cof.cine.volume import Cine
from cof.errors import Reason

KINDS = Kinds()
_FORMS = ("nii", "nii.gz")
_ONE = ("nii",)


def _image(
    frames: np.ndarray | None = None, sform: np.ndarray | None = None, qform: np.ndarray | None = None, **more
) -> nib.Nifti1Image:
    """The cine as a NIfTI whose forms agree unless others are given."""
    frames = truth() if frames is None else frames
    image = nib.Nifti1Image(frames.transpose(3, 2, 1, 0).astype(more.get("dtype", np.int16)), None)
    image.header.set_xyzt_units(more.get("space", "mm"), more.get("time", "msec"))
    image.set_qform(affine() if qform is None else qform, more.get("qform_code", 1))
    image.set_sform(affine() if sform is None else sform, more.get("sform_code", 1))
    image.header["pixdim"][4] = more.get("duration", FRAME_MS)
    return image


def _save(folder: Path, form: str, image: nib.Nifti1Image, scale: tuple[float, float] | None = None) -> Path:
    """Write the image; `scale` is slope and intercept in the header, values stay as they are stored."""
    content = bytearray(image.to_bytes())
    if scale is not None:
        struct.pack_into("<2f", content, 112, *scale)
    path = folder / f"cine.{form}"
    path.write_bytes(gzip.compress(content) if form == "nii.gz" else content)
    return path


def _read(**more) -> Outcome:
    return Outcome(Right(truth(), **more))


@KINDS.add("forms that agree", _FORMS)
def as_written(folder, form):
    return _save(folder, form, _image()), _read(repair="")


@KINDS.add("qform alone", _FORMS)
def qform_alone(folder, form):
    return _save(folder, form, _image(sform_code=0)), _read(repair="")


@KINDS.add("sform alone", _FORMS)
def sform_alone(folder, form):
    return _save(folder, form, _image(qform_code=0)), _read(repair="")


@KINDS.add("sform alone, pixdim says 1 x 1 x 1 mm", _FORMS, repairs=True)
def pixdim_contradicts(folder, form):
    return _save(folder, form, _image(qform=np.eye(4), qform_code=0)), _read(repair="pixdim")


@KINDS.add("qform and sform that differ by a turn: the sform counts, as elsewhere", _FORMS, repairs=True)
def forms_differ(folder, form):
    return _save(folder, form, _image(qform=affine() @ _turn(10))), _read(repair="sform")


@KINDS.add("qform and sform that differ by a shift of 30 mm", _ONE, repairs=True)
def forms_shifted(folder, form):
    other = affine().copy()
    other[0, 3] += 30
    return _save(folder, form, _image(qform=other)), _read(repair="sform")


def _turn(degrees: float) -> np.ndarray:
    turn = np.eye(4)
    sine, cosine = np.sin(np.deg2rad(degrees)), np.cos(np.deg2rad(degrees))
    turn[:2, :2] = [[cosine, -sine], [sine, cosine]]
    return turn


@KINDS.add(
    "a unit sform beside real pixdim, no units: such axes tell no orientation, the order is kept", _FORMS, repairs=True
)
def unit_sform(folder, form):
    image = _image(sform=np.diag([-1, -1, 1, 1.0]), sform_code=2, qform_code=0, space="unknown", time="unknown")
    image.header["pixdim"][1:4] = SPACING_MM
    right = Right(truth(), repair="pixdim", geometry=None, rr_ms=None)
    return _save(folder, form, image), Outcome(_spaced(right))


@KINDS.add("a unit sform with an origin, and a unit qform, beside real pixdim", _ONE, repairs=True)
def unit_sform_moved(folder, form):
    unit = np.eye(4)
    unit[:3, 3] = (-80.0, -90.0, 12.0)
    image = _image(sform=unit, sform_code=2, qform=np.eye(4), qform_code=0, space="unknown")
    image.header["pixdim"][1:4] = SPACING_MM
    return _save(folder, form, image), Outcome(_spaced(Right(truth(), repair="pixdim", geometry=None)))


@KINDS.add("an sform that knows the slices' distance alone, beside real pixdim", _FORMS, repairs=True)
def unit_in_plane(folder, form):
    image = _image(sform=np.diag([-1, -1, SPACING_MM[2], 1]), sform_code=2, qform_code=0, space="unknown")
    image.header["pixdim"][1:4] = SPACING_MM
    return _save(folder, form, image), Outcome(_spaced(Right(truth(), repair="pixdim is used", geometry=None)))


def _spaced(right: Callable[[Cine], None]) -> Callable[[Cine], None]:
    """The spacing is asserted as well; an affine that tells no lie has no order of slices, and either is right."""

    def check(cine: Cine) -> None:
        assert cine.spacing_mm == (10.0, *np.float32(SPACING_MM[1::-1])) or np.allclose(
            cine.spacing_mm, SPACING_MM[::-1], atol=1e-4
        )
        right(cine)

    return check


@KINDS.add("metres as the unit of space", _FORMS, EITHER)
def metres(folder, form):
    metre = affine().copy()
    metre[:3] /= 1000
    image = _image(sform=metre, qform=metre, space="meter")
    return _save(folder, form, image), Outcome(Right(truth()), Refusal("met|unit", (Reason.CINE_GEOMETRY,)))


@KINDS.add("micrometres as the unit of space", _ONE, EITHER)
def micrometres(folder, form):
    micron = affine().copy()
    micron[:3] *= 1000
    image = _image(sform=micron, qform=micron, space="micron")
    return _save(folder, form, image), Outcome(Right(truth()), Refusal("micro|unit", (Reason.CINE_GEOMETRY,)))


def _sheared(degrees: float) -> np.ndarray:
    """Slices 10 mm apart along the normal, each shifted along the rows."""
    shear = affine().copy()
    shear[:3, 2] += np.tan(np.deg2rad(degrees)) * SPACING_MM[2] * shear[:3, 0] / SPACING_MM[0]
    return shear


def _check_volume(degrees: float) -> Callable[[Cine], None]:
    """Frames are right, and so is the volume of a voxel by spacing and by affine."""
    right = Right(truth(), geometry=None)
    volume = abs(np.linalg.det(_sheared(degrees)[:3, :3]))

    def check(cine: Cine) -> None:
        right(cine)
        assert abs(np.prod(cine.spacing_mm) / volume - 1) < 0.01, f"spacing {cine.spacing_mm}, voxel {volume:.2f} mm3"
        assert abs(abs(np.linalg.det(cine.affine[:3, :3])) / volume - 1) < 0.01

    return check


@KINDS.add("slices sheared by 1 degree", ("nii",))
def rounded(folder, form):
    return _save(folder, form, _image(sform=_sheared(1), qform_code=0)), Outcome(_check_volume(1))


@KINDS.add("slices sheared by 10 to 55 degrees", tuple(f"nii {degrees}" for degrees in (10, 20, 30, 45, 55)), EITHER)
def sheared(folder, form):
    form, degrees = form.split()
    refusal = Refusal("shear|right angle|oblique|normal", (Reason.CINE_GEOMETRY,))
    image = _image(sform=_sheared(float(degrees)), qform_code=0)
    return _save(folder, form, image), Outcome(_check_volume(float(degrees)), refusal)


@KINDS.add("slices from apex to base", _FORMS, repairs=True)
def apex_first(folder, form):
    other = affine().copy()
    other[:3, 3] += other[:3, 2] * (truth().shape[1] - 1)
    other[:3, 2] *= -1
    return _save(folder, form, _image(truth()[:, ::-1], other, other)), _read(repair="reversed")


@KINDS.add("left-handed axes (qfac -1)", _ONE)
def left_handed(folder, form):
    other = affine() @ np.diag([-1, 1, 1, 1.0])
    image = _image(qform=other, sform_code=0)
    assert image.header["pixdim"][0] == -1
    return _save(folder, form, image), _read(geometry=other)


@KINDS.add("big-endian", _FORMS)
def big_endian(folder, form):
    image = _image()
    return _save(folder, form, nib.Nifti1Image(image.dataobj, None, image.header.as_byteswapped(">"))), _read()


@KINDS.add("values with slope 2 and intercept -10", _FORMS)
def scaled(folder, form):
    return _save(folder, form, _image(), (2.0, -10.0)), Outcome(Right(truth() * 2 - 10))


@KINDS.add("a slope of 0, which means none", _ONE)
def zero_slope(folder, form):
    return _save(folder, form, _image(), (0.0, 5.0)), _read()


@KINDS.add("floating-point values", _FORMS)
def floats(folder, form):
    return _save(folder, form, _image(dtype=np.float32)), _read()


@KINDS.add("unsigned 16 bits above 32,767", _ONE, repairs=True)
def bright(folder, form):
    frames = truth() * 40

    def same(read: np.ndarray, frames: np.ndarray) -> None:
        np.testing.assert_allclose(read * (frames.max() / read.max()), frames, atol=2)

    return _save(folder, form, _image(frames, dtype=np.uint16)), Outcome(Right(frames, repair="multiplied", same=same))


@KINDS.add("frame duration in seconds, microseconds, or without a unit", ("nii sec", "nii usec", "nii unknown"))
def duration(folder, form):
    form, unit = form.split()
    image = _image(time=unit, duration=FRAME_MS * {"sec": 1e-3, "usec": 1e3, "unknown": 1e-3}[unit])
    return _save(folder, form, image), _read()


@KINDS.add("no frame duration", _ONE, repairs=True)
def no_duration(folder, form):
    return _save(folder, form, _image(duration=0.0)), _read(rr_ms=None, repair="frame duration")


@KINDS.add("a form without any code", _ONE, repairs=True)
def no_orientation(folder, form):
    image = _image()
    image.header["sform_code"] = image.header["qform_code"] = 0
    image = nib.Nifti1Image(np.asarray(image.dataobj), None, image.header)
    return _save(folder, form, image), Outcome(_spaced(Right(truth(), repair="no orientation", geometry=None)))


@KINDS.add("a spacing that cannot be: 1 mm everywhere, in pixdim too", _ONE, REFUSAL)
def no_spacing(folder, form):
    image = _image(sform=np.eye(4), sform_code=2, qform=np.eye(4), qform_code=0)
    image.header["pixdim"][1:4] = 1
    return _save(folder, form, image), Outcome(refusal=Refusal("spacing", (Reason.CINE_GEOMETRY,)))


@KINDS.add("an ECG under the name of a NIfTI", _FORMS, REFUSAL)
def ecg_instead(folder, form):
    path = folder / f"cine.{form}"
    path.write_bytes(b'<?xml version="1.0"?><CardiologyXML><StripData/></CardiologyXML>')
    return path, Outcome(refusal=Refusal("NIfTI|XML", (Reason.CINE_UNREADABLE,)))


LABELS = Kinds()


def _labels(folder: Path, form: str, slope: float) -> Path:
    labels = np.zeros(truth().shape, np.int16)
    labels[0, :, 10:16, 9:15], labels[0, :, 12:14, 11:13] = 2, 1
    return _save(folder, form, _image(labels), (slope, 0.0))


def _check_labels(labels: np.ndarray) -> None:
    assert np.array_equal(np.unique(labels), [0, 1, 2])
    assert (labels[0, 2, 12, 12], labels[0, 2, 10, 9]) == (1, 2)


@LABELS.add("labels as they should be", _FORMS)
def labels(folder, form):
    return _labels(folder, form, 1.0), Outcome(_check_labels)


@LABELS.add("labels stored as 1.0000153 or 0.99995", ("nii 1.0000153", "nii.gz 1.0000153", "nii 0.99995"))
def labels_nearly_whole(folder, form):
    form, slope = form.split()
    return _labels(folder, form, float(slope)), Outcome(_check_labels)


@LABELS.add("labels stored as 1.01 or 85", ("nii 1.01", "nii.gz 1.01", "nii 85"), REFUSAL)
def labels_not_whole(folder, form):
    form, slope = form.split()
    refusal = Refusal("0 to 3|whole", (Reason.ANNOTATION_UNREADABLE,))
    return _labels(folder, form, float(slope)), Outcome(refusal=refusal)
