"""Files of the training subjects of a cohort: find and open them."""

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
    """Files of one subject from the earlier stages: canonical cine, native cine, labels and, if any, annotation."""

    name: str
    grid: Path
    cine: Path
    labels: Path
    annotation: Path | None = None


def find_subjects(
    subjects: Path, grid: list[Path], cine: list[Path], labels: list[Path], annotations: Sequence[Path] = ()
) -> list[SubjectFiles]:
    """Find the subjects of the training split that no earlier stage left out, in the order of their names.

    A subject with a single anchor volume has no motion and is skipped. A pair of ED and ES counts as two frames.

    Args:
        subjects: `cohort/subjects.parquet`.
        grid: folders `grid/{batch}`; a file is searched by its name in all of them.
        cine: folders `cine/{batch}`.
        labels: folders `labels/{batch}`.
        annotations: folders `annotations/{batch}`; empty if annotations are not used.
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
    """Return a hash that identifies the training data, without reading the images.

    It covers the names, the sidecars with their provenance, and the checksums at the end of the compressed labels.
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
    """Open a training subject; its frames are read only when they are used."""
    return TrainingSubject(
        name=files.name,
        frames=StoredFrames.of(files.grid),
        unit=INTENSITY_UNIT,
        placement=read_placement(files.grid),
        native=StoredFrames.of(files.cine),
        labels=StoredFrames.of(files.labels),
        annotation=StoredFrames.of(files.annotation) if files.annotation is not None else None,
    )
