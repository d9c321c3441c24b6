"""The training subjects of a cohort on disk."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cof.artefacts.folders import find, gzip_checksum
from cof.cine.grid import INTENSITY_UNIT, read_placement
from cof.cine.volume import StoredFrames, sidecar
from cof.motion.pairs import TrainingSubject


@dataclass(frozen=True)
class SubjectFiles:
    """What the earlier stages wrote of one subject: canonical cine, native cine, its labels and those of an expert."""

    name: str
    grid: Path
    cine: Path
    labels: Path
    annotation: Path | None = None


def find_subjects(
    subjects: Path, grid: list[Path], cine: list[Path], labels: list[Path], annotations: Sequence[Path] = ()
) -> list[SubjectFiles]:
    """The subjects of the training split that no earlier stage left out, in the order of their names.

    A subject with a lone anchor instead of a cine has no motion to learn from and is passed over; a pair of ED and ES
    is a stack of two frames.

    Args:
        subjects: `cohort/subjects.parquet`.
        grid: folders `grid/{batch}`; a file is looked for by its name in all of them.
        cine: folders `cine/{batch}`.
        labels: folders `labels/{batch}`.
        annotations: folders `annotations/{batch}`, where experts' labels count.
    """
    cohort = pd.read_parquet(subjects)
    files = []
    for name in sorted(cohort.loc[cohort["split"] == "train", "subject"]):
        canonical, native, labelled = (
            find(grid, f"{name}.nii"),
            find(cine, f"{name}.nii"),
            find(labels, f"{name}.nii.gz"),
        )
        if canonical and native and labelled and len(StoredFrames.of(canonical)) > 1:
            files.append(SubjectFiles(name, canonical, native, labelled, find(annotations, f"{name}.nii.gz")))
    return files


def fingerprint(files: list[SubjectFiles]) -> str:
    """A hash of what identifies the training data, without reading it: names, sidecars with their provenance, and the
    checksums at the end of the compressed labels.
    """
    sha = hashlib.sha256()
    for subject in files:
        sha.update(subject.name.encode())
        for path in (sidecar(subject.grid), sidecar(subject.cine)):
            sha.update(path.read_bytes())
        for compressed in (subject.labels, subject.annotation):
            if compressed is not None:
                sha.update(gzip_checksum(compressed))
    return sha.hexdigest()


def open_subject(files: SubjectFiles) -> TrainingSubject:
    """A training subject whose frames are read when they are drawn."""
    return TrainingSubject(
        name=files.name,
        frames=StoredFrames.of(files.grid),
        unit=INTENSITY_UNIT,
        placement=read_placement(files.grid),
        native=StoredFrames.of(files.cine),
        labels=StoredFrames.of(files.labels),
        annotation=StoredFrames.of(files.annotation) if files.annotation is not None else None,
    )
