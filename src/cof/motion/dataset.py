"""The training subjects of a cohort on disk."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cof.cine.grid import INTENSITY_UNIT, read_placement
from cof.cine.volume import read_cine, read_labels, sidecar
from cof.folders import find, whole_file
from cof.motion.pairs import TrainingSubject


@dataclass(frozen=True)
class SubjectFiles:
    """What the earlier stages wrote of one subject: canonical cine, native cine and its labels."""

    name: str
    grid: Path
    cine: Path
    labels: Path


def find_subjects(subjects: Path, grid: list[Path], cine: list[Path], labels: list[Path]) -> list[SubjectFiles]:
    """The subjects of the training split that no earlier stage left out, in the order of their names.

    A subject with a lone anchor instead of a cine has no motion to learn from and is passed over.

    Args:
        subjects: `cohort/subjects.parquet`.
        grid: folders `grid/{batch}`; a file is looked for by its name in all of them.
        cine: folders `cine/{batch}`.
        labels: folders `labels/{batch}`.
    """
    cohort = pd.read_parquet(subjects)
    files = []
    for name in sorted(cohort.loc[cohort["split"] == "train", "subject"]):
        canonical, native, labelled = (
            find(grid, f"{name}.nii"),
            find(cine, f"{name}.nii"),
            find(labels, f"{name}.nii.gz"),
        )
        if canonical and native and labelled and len(read_cine(canonical).frames) > 1:
            files.append(SubjectFiles(name, canonical, native, labelled))
    return files


def fingerprint(files: list[SubjectFiles]) -> str:
    """A hash of what identifies the training data: names, sidecars (with their provenance), and labels."""
    sha = hashlib.sha256()
    for subject in files:
        sha.update(subject.name.encode())
        for path in (sidecar(subject.grid), sidecar(subject.cine), subject.labels):
            sha.update(path.read_bytes())
    return sha.hexdigest()


def open_subject(files: SubjectFiles, unpacked: Path) -> TrainingSubject:
    """A training subject with memory-mapped arrays.

    Args:
        files: where it lies.
        unpacked: a `.npy` file for its labels, written if it does not exist: compressed ones cannot be mapped.
    """
    if not unpacked.is_file():
        with whole_file(unpacked) as aside, aside.open("wb") as file:
            np.save(file, read_labels(files.labels))
    return TrainingSubject(
        name=files.name,
        frames=read_cine(files.grid).frames,
        unit=INTENSITY_UNIT,
        placement=read_placement(files.grid),
        native=read_cine(files.cine).frames,
        labels=np.load(unpacked, mmap_mode="r", allow_pickle=False),
    )
