"""People as hospitals hand them over: phantom hearts with true motion, in the files of scanners and recorders."""

from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
from cines import Scan, Shot, ge, philips, siemens
from known_strips import Strip

from cof.cine.volume import write_labels
from cof.config.data import PhantomSettings
from cof.ecg.record import LEADS
from cof.phantom import seeds
from cof.phantom.ecg import RATE_HZ, synthesise
from cof.phantom.expert import annotate
from cof.phantom.latents import Latents
from cof.phantom.population import sample
from cof.phantom.stack import Stack
from cof.phantom.stage import scan_heart

FRAMES = 10
SEED = 7
_SETTINGS = PhantomSettings(frames=FRAMES, slices=8, matrix=96, slice_shift_mm=0.5)
_SCANNERS = {"ge": ge, "siemens": siemens, "enhanced": philips}
# What the writers of single images say of bits.
_BITS = {"ge": {"stored": 16, "signed": True}, "siemens": {}, "enhanced": {}}


@dataclass(frozen=True)
class Patient:
    """A simulated heart and its scan.

    Attributes:
        latents: the heart; frames: uint16 [T, Z, Y, X], frame 0 at the R peak; drawn: what an expert drew at ED and ES,
            uint8, the same shape; stack: where the slices lie.
    """

    latents: Latents
    frames: np.ndarray
    drawn: np.ndarray
    stack: Stack

    @property
    def edv_ml(self) -> float:
        """The LV's volume by the expert's contours at ED."""
        return float((self.drawn[0] == 1).sum() * abs(np.linalg.det(self.stack.affine()[:3, :3])) / 1000)


def patient(name: str, **latents: float) -> Patient:
    """The patient of this name, whose latents may be set; none whom shipped weights have seen."""
    own = replace(sample(name, SEED), **latents)
    motion, stack, scan = scan_heart(own, _SETTINGS, SEED)
    return Patient(own, scan.frames, annotate(motion, stack, FRAMES, seeds.stream(SEED, name, "expert")), stack)


def write_dicom(path: Path, form: str, own: Patient) -> None:
    """The scan in a form of `cines`: a zip or a folder, or the one file of an enhanced scan where the name is .dcm."""
    scan = Scan(form)
    scan.shots = [_shot(form, own, frame, plane) for plane in range(own.frames.shape[1]) for frame in range(FRAMES)]
    if path.suffix == ".dcm":
        (content,) = scan.files().values()
        path.write_bytes(content)
    else:
        scan.archive(path)


def _shot(form: str, own: Patient, frame: int, plane: int) -> Shot:
    shot, planes = _SCANNERS[form](frame, plane, 0), own.frames.shape[1]
    data, rr = shot.data, own.latents.rr_cmr_ms
    data.InstanceNumber = {
        "ge": plane * FRAMES + frame + 1, "siemens": frame + 1, "enhanced": frame * planes + plane + 1,
    }[form]  # fmt: skip
    data.TriggerTime, data.NominalInterval = f"{frame * rr / FRAMES:.4f}", round(rr)
    data.ImagePositionPatient = [f"{value:.6f}" for value in own.stack.position_mm[plane]]
    data.ImageOrientationPatient = [f"{value:.9f}" for value in own.stack.orientation.ravel()]
    data.PixelSpacing = [f"{own.stack.spacing_mm:.8f}"] * 2
    shot.store(own.frames[frame, plane].astype(np.int32), **_BITS[form])
    return shot


def write_nifti(path: Path, own: Patient) -> None:
    image = nib.Nifti1Image(own.frames.transpose(3, 2, 1, 0).astype(np.int16), own.stack.affine())
    image.header.set_xyzt_units("mm", "msec")
    image.header["pixdim"][4] = own.latents.rr_cmr_ms / FRAMES
    nib.save(image, path)


def write_drawn(path: Path, own: Patient, codes: tuple[int, int, int] = (1, 2, 3)) -> None:
    """The expert's labels; `codes` are those of LV, myocardium and RV."""
    write_labels(path, np.array([0, *codes], np.uint8)[own.drawn], own.stack.affine())


def strip(own: Patient) -> Strip:
    """Ten seconds of the patient's ECG."""
    made = synthesise(own.latents, seeds.stream(SEED, own.latents.participant, "ecg"))
    return Strip(dict(zip(LEADS, made.counts.astype(int))), RATE_HZ, made.r_ms / 1000)
