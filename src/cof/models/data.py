"""Subjects and training examples, read from the artefacts of the earlier stages."""

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
    """Tables and folders of the earlier stages. A file is found by the subject's name in any of the folders.

    A subject without a row in `beats` was left out by an earlier stage, or has no ECG; it is opened only with
    `with_absent_ecg`.

    Attributes:
        beats: R-R cycles, one row per subject, indexed by subject.
        grid: folders `grid/{batch}`.
        labels: folders `labels/{batch}`.
        fields: folders `fields/{variant}/{batch}`; empty if no registered motion is needed.
        samples: samples of an R-R cycle; used if `beats` is empty.
    """

    beats: pd.DataFrame
    grid: list[Path]
    labels: list[Path]
    fields: list[Path]
    samples: int = 0

    @classmethod
    def of(
        cls, beats: Iterable[Path], grid: list[Path], labels: list[Path], fields: list[Path], samples: int = 0
    ) -> "Artefacts":
        """Collect the artefacts, and concatenate the beat tables of all batches."""
        rows = read_tables(beats).set_index("subject")[["beat", "rr_ms", "features", "sex"]]
        return cls(rows, grid, labels, fields, len(rows["beat"].iloc[0]) // 12 if len(rows) else samples)

    def open(
        self,
        subject: str,
        *,
        with_displacement: bool,
        with_cine: bool,
        with_labels: bool = False,
        with_ef: bool = False,
        with_absent_ecg: bool = False,
        anchor_phase: float = 0.0,
    ) -> Example | None:
        """Read one subject; return None if an earlier stage left it out.

        The cine stays memory-mapped.

        Args:
            subject: pseudonym.
            with_displacement: also read the registered motion; return None for a subject without it.
            with_cine: also open the whole canonical cine (int16, as stored).
            with_labels: also read the labels of the whole cycle.
            with_ef: also measure the ejection fraction from the labels; None for a single anchor volume.
            with_absent_ecg: also open a subject without a row in `beats`, with an absent ECG.
            anchor_phase: phase of the anchor. Of a cine, the nearest native frame is taken; of a single anchor volume,
                this is the phase that it shows.

        Raises:
            ValueError: another anchor than ED was asked for together with the displacement, which points to ED.
        """
        if anchor_phase and with_displacement:
            raise ValueError(
                f"the registered displacement points to end diastole, and the anchor phase is {anchor_phase}: open the "
                "subject at phase 0 and convert it by cof.models.flow.anchors.about"
            )
        grid, labels = find(self.grid, f"{subject}.nii"), find(self.labels, f"{subject}.nii.gz")
        field = find(self.fields, f"{subject}.safetensors") if with_displacement else None
        heard = with_absent_ecg or subject in self.beats.index
        if grid is None or labels is None or not heard or (with_displacement and field is None):
            return None
        canonical = read_cine(grid)
        frames = canonical.frames
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
            ef_pct=self._ef_pct(labels) if with_ef and len(frames) > 1 else None,  # a single anchor volume has no EF
            es_phase=canonical.es_phase if canonical.kind == "pair" else None,
        )

    def ecg(self, subject: str) -> SubjectEcg:
        """Return the ECG of one subject; an absent ECG if it has no row in `beats`."""
        if subject not in self.beats.index:
            return SubjectEcg.absent(subject, self.samples)
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
        """`ejection_fraction` with a cache, because it is slow and a training opens its subjects many times."""
        return cache(ejection_fraction)

    def frames(self, subject: str) -> int:
        """Count the frames of a subject's canonical cine: 1 for a single anchor volume, 2 for a pair, 0 if left out."""
        path = find(self.grid, f"{subject}.nii")
        return len(StoredFrames.of(path)) if path is not None else 0

    def known(self, subject: str, *, with_displacement: bool, with_absent_ecg: bool = False) -> "Known | None":
        """Return geometry and fingerprint of a subject without reading its arrays; None if it cannot be opened."""
        grid, labels = find(self.grid, f"{subject}.nii"), find(self.labels, f"{subject}.nii.gz")
        field = find(self.fields, f"{subject}.safetensors") if with_displacement else None
        heard = with_absent_ecg or subject in self.beats.index
        if grid is None or labels is None or not heard or (with_displacement and field is None):
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
    """Facts about a subject whose arrays were not read.

    Attributes:
        geometry: shape and spacing of the canonical grid, and shape of the beat; equal for all subjects of a training.
        fingerprint: hash of everything that a training sees of the subject.
    """

    geometry: tuple[object, ...]
    fingerprint: str


class Opened(Sequence[One]):
    """A sequence with one item per subject. An item is opened when it is accessed; the last few stay in memory.

    Args:
        subjects: pseudonyms.
        opener: opens the item of one subject.
        kept: how many items stay in memory. A batch or two is enough: random draws from a large cohort rarely repeat.
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
            raise TypeError("a slice was asked for, but subjects are opened one by one: use an integer index")
        return self._open(self.subjects[index])

    def __iter__(self) -> Iterator[One]:
        return (self._open(subject) for subject in self.subjects)


class OpenedExamples(Opened[Example]):
    """Examples that are opened when they are accessed, and their ECGs, which are read without the hearts.

    Args:
        subjects: pseudonyms.
        opener: opens the example of one subject.
        ecg: returns the ECG of one subject.
        kept: how many items stay in memory.
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
    """Return the ECGs of examples, in the same order."""
    return examples.ecgs if isinstance(examples, OpenedExamples) else examples


def ejection_fraction(path: Path) -> float:
    """Compute the EF of the left ventricle in % from a label file of a whole cycle."""
    curve = volume_curve(read_labels(path), STRUCTURES["LV"], (1.0, 1.0, 1.0))  # EF does not depend on the spacing
    return ventricular_function(curve, rr_ms=1.0).ef_pct
