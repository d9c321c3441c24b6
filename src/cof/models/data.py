"""Subjects and training examples, opened from the artefacts of the earlier stages."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import TypeVar, overload

import numpy as np
import pandas as pd

from cof.artefacts.folders import find, gzip_checksum
from cof.artefacts.parquet import read_tables
from cof.cine.grid import INTENSITY_UNIT, at_phase, labels_to_canonical, nearest_frame, read_placement
from cof.cine.volume import StoredFrames, read_cine, read_frame, read_labels, sidecar
from cof.heart.function import ventricular_function, volume_curve
from cof.heart.structures import STRUCTURES
from cof.models.base import Example, SubjectEcg
from cof.motion.fields import load_displacement, load_record

One = TypeVar("One")


@dataclass(frozen=True)
class Artefacts:
    """Where the earlier stages wrote what models see; files are found by the subject's name in any of the folders.

    Attributes:
        beats: R-R cycles, one row a subject, by subject.
        grid: folders `grid/{batch}`.
        labels: folders `labels/{batch}`.
        fields: folders `fields/{variant}/{batch}`; empty where no registered motion is needed.
    """

    beats: pd.DataFrame
    grid: list[Path]
    labels: list[Path]
    fields: list[Path]

    @classmethod
    def of(cls, beats: Iterable[Path], grid: list[Path], labels: list[Path], fields: list[Path]) -> "Artefacts":
        """The artefacts with the tables of all batches put together."""
        return cls(read_tables(beats).set_index("subject")[["beat", "rr_ms", "features", "sex"]], grid, labels, fields)

    def open(
        self,
        subject: str,
        *,
        with_displacement: bool,
        with_cine: bool,
        with_labels: bool = False,
        with_ef: bool = False,
        anchor_phase: float = 0.0,
    ) -> Example | None:
        """One subject; None if an earlier stage left it out.

        A cine stays memory-mapped.

        Args:
            subject: pseudonym.
            with_displacement: open the registered motion too, and leave out a subject without.
            with_cine: open the whole canonical cine too (int16, as stored).
            with_labels: open the labels of the whole cycle too.
            with_ef: measure the ejection fraction of the labels too.
            anchor_phase: of the frame that is the anchor, for generation: the nearest native one of a cine; an anchor
                alone shows what the caller says.

        Raises:
            ValueError: another anchor than ED was asked for with the displacement, which points to ED.
        """
        if anchor_phase and with_displacement:
            raise ValueError("registered motion points to end diastole; `cof.models.flow.anchors.about` turns it")
        grid, labels = find(self.grid, f"{subject}.nii"), find(self.labels, f"{subject}.nii.gz")
        field = find(self.fields, f"{subject}.safetensors") if with_displacement else None
        if grid is None or labels is None or subject not in self.beats.index or (with_displacement and field is None):
            return None
        frames = read_cine(grid).frames
        placement = read_placement(grid)
        native = len(StoredFrames.of(labels))
        frame = nearest_frame(anchor_phase, native)
        if native > 1:
            anchor_phase = frame / native
        return Example(
            **vars(self.ecg(subject)),
            anchor=at_phase(frames, anchor_phase) * np.float32(INTENSITY_UNIT),
            anchor_labels=labels_to_canonical(read_frame(labels, frame).astype(np.uint8), placement),
            placement=placement,
            anchor_phase=anchor_phase,
            displacement=load_displacement(field).numpy() if field is not None else None,
            cine=frames if with_cine else None,
            labels=labels_to_canonical(read_labels(labels), placement) if with_labels else None,
            ef_pct=self._ef_pct(labels) if with_ef and len(frames) > 1 else None,  # an anchor alone has none
        )

    def ecg(self, subject: str) -> SubjectEcg:
        """The ECG of one subject, which has one."""
        row = self.beats.loc[subject]
        return SubjectEcg(
            subject,
            np.array(row["beat"], np.float32).reshape(12, -1),
            float(np.asarray(row["rr_ms"])),
            features=np.array(row["features"], np.float32),
            sex=str(row["sex"]),
        )

    @cached_property
    def _ef_pct(self) -> Callable[[Path], float]:
        """`ejection_fraction`, which takes far longer than to keep a number: a training comes back to its subjects."""
        return cache(ejection_fraction)

    def frames(self, subject: str) -> int:
        """Number of frames of a subject's canonical cine: 1 for an anchor alone, 2 for a pair of ED and ES."""
        path = find(self.grid, f"{subject}.nii")
        return len(StoredFrames.of(path)) if path is not None else 0

    def known(self, subject: str, *, with_displacement: bool) -> "Known | None":
        """What can be told of a subject that can be opened, without reading its arrays; None for any other."""
        grid, labels = find(self.grid, f"{subject}.nii"), find(self.labels, f"{subject}.nii.gz")
        field = find(self.fields, f"{subject}.safetensors") if with_displacement else None
        if grid is None or labels is None or subject not in self.beats.index or (with_displacement and field is None):
            return None
        placement, ecg = read_placement(grid), self.ecg(subject)
        record = load_record(field) if field is not None else None
        sha = hashlib.sha256(f"{subject} {ecg.rr_ms} {ecg.sex} {record}".encode())
        arrays = ecg.beat.tobytes(), ecg.features.tobytes()
        for identity in (*arrays, sidecar(grid).read_bytes(), gzip_checksum(labels)):
            sha.update(identity)
        return Known((placement.shape, placement.spacing_mm, ecg.beat.shape), sha.hexdigest())


@dataclass(frozen=True)
class Known:
    """A subject that was not opened yet.

    Attributes:
        geometry: what all subjects of a training must have in common.
        fingerprint: changes with anything that a training sees of the subject.
    """

    geometry: tuple[object, ...]
    fingerprint: str


class Opened(Sequence[One]):
    """Something of each subject that is opened as it is asked for; the last few stay open.

    Args:
        subjects: their names.
        opener: opens one.
        kept: how many stay open: a batch or two, since random draws from a large cohort hardly come back.
    """

    def __init__(self, subjects: Sequence[str], opener: Callable[[str], One], kept: int = 64) -> None:
        self.subjects = subjects
        self._open = lru_cache(maxsize=kept)(opener)

    def __len__(self) -> int:
        return len(self.subjects)

    @overload
    def __getitem__(self, index: int) -> One: ...

    @overload
    def __getitem__(self, index: slice) -> "Opened[One]": ...

    def __getitem__(self, index: int | slice) -> "One | Opened[One]":
        if isinstance(index, slice):
            raise TypeError("subjects are opened one by one")
        return self._open(self.subjects[index])

    def __iter__(self) -> Iterator[One]:
        return (self._open(subject) for subject in self.subjects)


class OpenedExamples(Opened[Example]):
    """Examples that are opened as they are asked for, and their ECGs, which need no heart to be opened.

    Args:
        subjects: their names.
        opener: opens one.
        ecg: the ECG of one.
        kept: how many stay open.
    """

    def __init__(
        self,
        subjects: Sequence[str],
        opener: Callable[[str], Example],
        ecg: Callable[[str], SubjectEcg],
        kept: int = 64,
    ) -> None:
        super().__init__(subjects, opener, kept)
        self.ecgs = Opened(subjects, ecg, kept)


def ecgs_of(examples: Sequence[Example]) -> Sequence[SubjectEcg]:
    """The ECGs of examples, in their order."""
    return examples.ecgs if isinstance(examples, OpenedExamples) else examples


def ejection_fraction(path: Path) -> float:
    """EF of the left ventricle in %, from a label file of a whole cycle."""
    curve = volume_curve(read_labels(path), STRUCTURES["LV"], (1.0, 1.0, 1.0))  # a ratio has no unit
    return ventricular_function(curve, rr_ms=1.0).ef_pct
