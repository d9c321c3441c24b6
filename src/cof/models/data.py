"""Subjects and training examples, opened from the artefacts of the earlier stages."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from cof.cine.grid import INTENSITY_UNIT, labels_to_canonical, read_placement
from cof.cine.volume import read_cine, read_labels
from cof.folders import find
from cof.labels import STRUCTURES
from cof.metrics.function import ventricular_function, volume_curve
from cof.models.base import Example
from cof.motion.fields import load_displacement
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
        return cls(tables.set_index("subject")[["beat", "rr_ms", "features", "sex"]], grid, labels, fields)

    def open(self, subject: str, *, with_displacement: bool, with_cine: bool, with_ef: bool = False) -> Example | None:
        """One subject; None if an earlier stage left it out.

        Displacement and cine stay memory-mapped, so that a cohort larger than memory can be opened.

        Args:
            subject: pseudonym.
            with_displacement: open the registered motion too, and leave out a subject without.
            with_cine: open the whole canonical cine too (int16, as stored).
            with_ef: measure the ejection fraction of the labels too.
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
            anchor_labels=labels_to_canonical(first_frame(labels), placement),
            beat=np.array(row["beat"], np.float32).reshape(12, -1),
            rr_ms=float(np.asarray(row["rr_ms"])),
            placement=placement,
            features=np.array(row["features"], np.float32),
            sex=str(row["sex"]),
            displacement=load_displacement(field).numpy() if field is not None else None,
            cine=frames if with_cine else None,
            ef_pct=ejection_fraction(labels) if with_ef else None,
        )

    def frames(self, subject: str) -> int:
        """Number of phases of a subject's canonical cine; 1 for an anchor without one."""
        path = find(self.grid, f"{subject}.nii")
        return len(read_cine(path).frames) if path is not None else 0


def ejection_fraction(path: Path) -> float:
    """EF of the left ventricle in %, from a label file of a whole cycle."""
    curve = volume_curve(read_labels(path), STRUCTURES["LV"], (1.0, 1.0, 1.0))  # a ratio has no unit
    return ventricular_function(curve, rr_ms=1.0).ef_pct


def first_frame(path: Path) -> np.ndarray:
    """Frame 0 [Z, Y, X] of a label file, without unpacking the frames after it."""
    return np.asarray(nib.load(path).dataobj[..., 0]).transpose(2, 1, 0).astype(np.uint8)  # type: ignore[attr-defined]
