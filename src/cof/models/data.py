"""Subjects and training examples, opened from the artefacts of the earlier stages."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import overload

import numpy as np
import pandas as pd

from cof.cine.grid import INTENSITY_UNIT, labels_to_canonical, read_placement
from cof.cine.volume import StoredFrames, read_anchor_labels, read_cine, sidecar
from cof.folders import find, gzip_checksum
from cof.models.base import Example
from cof.motion.fields import load_displacement, load_record
from cof.tables import read_table


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
        tables = pd.concat([read_table(path) for path in beats], ignore_index=True)
        return cls(tables.set_index("subject")[["beat", "rr_ms"]], grid, labels, fields)

    def open(self, subject: str, *, with_displacement: bool, with_cine: bool) -> Example | None:
        """One subject; None if an earlier stage left it out.

        A cine stays memory-mapped.

        Args:
            subject: pseudonym.
            with_displacement: open the registered motion too, and leave out a subject without.
            with_cine: open the whole canonical cine too (int16, as stored).
        """
        grid, labels = find(self.grid, f"{subject}.nii"), find(self.labels, f"{subject}.nii.gz")
        field = find(self.fields, f"{subject}.safetensors") if with_displacement else None
        if grid is None or labels is None or subject not in self.beats.index or (with_displacement and field is None):
            return None
        row = self.beats.loc[subject]
        frames = read_cine(grid).frames
        placement = read_placement(grid)
        return Example(
            subject=subject,
            anchor=frames[0] * np.float32(INTENSITY_UNIT),
            anchor_labels=labels_to_canonical(read_anchor_labels(labels), placement),
            beat=np.array(row["beat"], np.float32).reshape(12, -1),
            rr_ms=float(np.asarray(row["rr_ms"])),
            placement=placement,
            displacement=load_displacement(field).numpy() if field is not None else None,
            cine=frames if with_cine else None,
        )

    def frames(self, subject: str) -> int:
        """Number of phases of a subject's canonical cine; 1 for an anchor without one."""
        path = find(self.grid, f"{subject}.nii")
        return len(StoredFrames.of(path)) if path is not None else 0

    def known(self, subject: str, *, with_displacement: bool) -> "Known | None":
        """What can be told of a subject that can be opened, without reading its arrays; None for any other."""
        grid, labels = find(self.grid, f"{subject}.nii"), find(self.labels, f"{subject}.nii.gz")
        field = find(self.fields, f"{subject}.safetensors") if with_displacement else None
        if grid is None or labels is None or subject not in self.beats.index or (with_displacement and field is None):
            return None
        row = self.beats.loc[subject]
        placement, beat = read_placement(grid), np.asarray(row["beat"], np.float32)
        sha = hashlib.sha256(f"{subject} {row['rr_ms']} {load_record(field) if field is not None else None}".encode())
        for identity in (beat.tobytes(), sidecar(grid).read_bytes(), gzip_checksum(labels)):
            sha.update(identity)
        return Known((placement.shape, placement.spacing_mm, len(beat)), sha.hexdigest())


@dataclass(frozen=True)
class Known:
    """A subject that was not opened yet.

    Attributes:
        geometry: what all subjects of a training must have in common.
        fingerprint: changes with anything that a training sees of the subject.
    """

    geometry: tuple[object, ...]
    fingerprint: str


class Opened(Sequence[Example]):
    """Subjects that are opened as they are asked for; the last few stay open.

    Args:
        subjects: their names.
        opener: opens one.
        kept: how many stay open: a batch or two, since random draws from a large cohort hardly come back.
    """

    def __init__(self, subjects: Sequence[str], opener: Callable[[str], Example], kept: int = 64) -> None:
        self.subjects = subjects
        self._open = lru_cache(maxsize=kept)(opener)

    def __len__(self) -> int:
        return len(self.subjects)

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: slice) -> "Opened": ...

    def __getitem__(self, index: int | slice) -> "Example | Opened":
        if isinstance(index, slice):
            raise TypeError("subjects are opened one by one")
        return self._open(self.subjects[index])

    def __iter__(self) -> Iterator[Example]:
        return (self._open(subject) for subject in self.subjects)
