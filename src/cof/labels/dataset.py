"""The annotated ED and ES stacks of the training subjects, as an nnU-Net raw dataset."""

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from cof.artefacts.exclusions import Exclusions
from cof.artefacts.folders import find
from cof.artefacts.parquet import read_table
from cof.cine.volume import read_cine, read_labels
from cof.errors import CofError, Reason, UsageError
from cof.heart.structures import STRUCTURES
from cof.labels.neighbours import channel_names, channels

log = logging.getLogger(__name__)

DATASET = "Dataset001_ShortAxisCine"


@dataclass(frozen=True)
class Case:
    """One annotated frame. It is a whole short-axis stack, because intensities are normalised over the stack.

    Attributes:
        subject: pseudonym.
        participant: pseudonym of the participant, who may have two visits.
        frame: index in the cine.
        phase: "ED", "ES", or "other" for a frame between them.
        image: int16 [Z, Y, X]; may be memory-mapped.
        labels: uint8 [Z, Y, X].
        spacing_mm: along z, y, x.
    """

    subject: str
    participant: str
    frame: int
    phase: str
    image: np.ndarray
    labels: np.ndarray
    spacing_mm: tuple[float, float, float]

    @property
    def name(self) -> str:
        """Name of the case in nnU-Net's folders."""
        return f"{self.subject}_t{self.frame:03d}"

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in mL, slice gap included."""
        return float(np.prod(self.spacing_mm)) * 1e-3


def _phases(labels: np.ndarray, frames: np.ndarray) -> dict[int, str]:
    """Name the phase of every annotated frame.

    ED is the annotated frame with the largest LV, ES the one with the smallest. A single annotated frame is ED if it is
    frame 0, else ES.
    """
    if len(frames) == 1:
        return {int(frames[0]): "ED" if frames[0] == 0 else "ES"}
    volume = (labels[frames] == STRUCTURES["LV"]).sum(axis=(1, 2, 3))
    named = dict.fromkeys(map(int, frames), "other")
    named[int(frames[np.argmin(volume)])] = "ES"
    named[int(frames[np.argmax(volume)])] = "ED"
    return named


def annotated_frames(labels: np.ndarray) -> dict[int, str]:
    """Find the frames of labels [T, Z, Y, X] that are not all zero, each with its phase: "ED", "ES" or "other"."""
    frames = np.flatnonzero(labels.any(axis=(1, 2, 3)))
    return _phases(labels, frames) if len(frames) else {}


def _read_subject(subject: str, participant: str, cine: Path, annotation: Path) -> list[Case]:
    """Read the annotated frames of one subject.

    Raises:
        CofError: the annotation has another shape than the cine, has unknown labels, or is empty.
    """
    stack = read_cine(cine)
    labels = read_labels(annotation)
    if labels.shape != stack.frames.shape:
        raise CofError(
            Reason.ANNOTATION_MISMATCH,
            f"the annotation has shape {labels.shape}, the cine {stack.frames.shape} (T, Z, Y, X); they must be equal",
        )
    if labels.max() > max(STRUCTURES.values()):
        raise CofError(Reason.ANNOTATION_UNREADABLE, f"the annotation has label {labels.max()}; allowed are 0 to 3")
    frames = annotated_frames(labels)
    if not frames:
        raise CofError(Reason.ANNOTATION_UNREADABLE, "no frame of the annotation is labelled")
    # Images stay memory-mapped. Labels are copied: a view would keep the labels of the whole cycle in memory.
    return [
        Case(subject, participant, frame, phase, stack.frames[frame], labels[frame].copy(), stack.spacing_mm)
        for frame, phase in frames.items()
    ]


def find_cases(
    subjects: Path, cine: list[Path], annotations: list[Path], exclusions: Exclusions, split: str = "train"
) -> list[Case]:
    """Find the annotated frames of all annotated subjects of a split, in the order of their names.

    Args:
        subjects: `cohort/subjects.parquet`.
        cine: folders `cine/{batch}`.
        annotations: folders `annotations/{batch}`.
        exclusions: gets a row for every subject whose annotation cannot be used. A subject that an earlier stage left
            out is skipped without a row.
        split: "train" or "validation".
    """
    table = read_table(subjects)
    table = table[(table["split"] == split) & table["annotated"].astype(bool)].sort_values("subject")
    cases: list[Case] = []
    for subject, participant in zip(table["subject"], table["participant"]):
        stack, annotation = find(cine, f"{subject}.nii"), find(annotations, f"{subject}.nii.gz")
        if stack is None or annotation is None:
            log.info("%s: not used for training, since it has no stacked cine with an annotation", subject)
            continue
        with exclusions.guard(subject):
            cases += _read_subject(subject, participant, stack, annotation)
    return cases


def choose_held_out(cases: list[Case], share: float, seed: int) -> set[str]:
    """Choose the participants whose cases evaluate the trained network and never train it: at least one, never all.

    The choice depends on a hash of seed and participant, not on the order. All visits and frames of a participant are
    on the same side of the split.

    Args:
        cases: the annotated frames.
        share: share of the participants to hold out, from 0 to 1.
        seed: seed of the choice.

    Returns:
        Pseudonyms of the participants.

    Raises:
        UsageError: there are fewer than two annotated participants.
    """
    participants = sorted({case.participant for case in cases})
    if len(participants) < 2:
        raise UsageError(
            f"{len(participants)} annotated participants of the training split can be used; the labeller needs two or "
            "more, because at least one is held out: annotate more participants"
        )
    count = min(max(1, round(share * len(participants))), len(participants) - 1)
    ranked = sorted(participants, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    return set(ranked[:count])


def fingerprint(cases: list[Case]) -> str:
    """Return the SHA-256 of everything the cases hold, so that a changed cohort never resumes an older training."""
    sha = hashlib.sha256()
    for case in cases:
        sha.update(f"{case.name} {case.participant} {case.phase} {case.image.shape} {case.spacing_mm}".encode())
        sha.update(np.ascontiguousarray(case.image).tobytes())
        sha.update(np.ascontiguousarray(case.labels).tobytes())
    return sha.hexdigest()


def _image(case: Case, channel: int) -> str:
    """Return the path of one channel of a case, relative to the folder of the dataset."""
    return f"imagesTr/{case.name}_{channel:04d}.nii"


def write_raw(cases: list[Case], raw: Path, neighbours: bool = False) -> Path:
    """Write the cases as an nnU-Net raw dataset under `raw` and return its folder.

    The affine is reduced to the spacing: nnU-Net works on arrays, and prediction passes arrays in the same axis order.
    """
    folder = raw / DATASET
    names = channel_names(neighbours)
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for case in cases:
        affine = np.diag([*case.spacing_mm[::-1], 1.0])
        for number, image in enumerate(channels(case.image, len(names))):
            nib.save(nib.Nifti1Image(image.transpose(2, 1, 0), affine), folder / _image(case, number))
        nib.save(nib.Nifti1Image(case.labels.transpose(2, 1, 0), affine), folder / f"labelsTr/{case.name}.nii")
    description = {
        "channel_names": {str(number): name for number, name in enumerate(names)},
        "labels": {"background": 0, **STRUCTURES},
        "numTraining": len(cases),
        "file_ending": ".nii",
        "overwrite_image_reader_writer": "NibabelIO",
        # Without this list, nnU-Net starts a dozen processes to match the names of images and labels.
        "dataset": {
            case.name: {
                "images": [_image(case, number) for number in range(len(names))],
                "label": f"labelsTr/{case.name}.nii",
            }
            for case in cases
        },
    }
    (folder / "dataset.json").write_text(json.dumps(description, indent=1))
    return folder
