"""Expert annotations of the cohort's cines, and their volumes."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cof.artefacts.markup import DASH
from cof.cine.volume import Cine, read_labels
from cof.config.base import Triple
from cof.heart.function import MYOCARDIAL_DENSITY_G_PER_ML
from cof.heart.structures import STRUCTURES
from cof.labels.dataset import annotated_frames

MOMENTS = ("ED", "ES")


@dataclass(frozen=True)
class Annotation:
    """An expert's annotation of one cine.

    Attributes:
        frames: index of the annotated frames, by `ED` and `ES`; a frame without annotation is missing.
        labels: labels uint8 [Z, Y, X] of each annotated frame, by `ED` and `ES`.
        structures: structures that the expert drew in at least one frame.
        voxel_ml: volume of a voxel, mL.
    """

    frames: dict[str, int]
    labels: dict[str, np.ndarray]
    structures: frozenset[str]
    voxel_ml: float

    @classmethod
    def of(cls, labels: np.ndarray, spacing_mm: Triple) -> "Annotation":
        """Return the annotation in labels [T, Z, Y, X], which are zero in frames without annotation."""
        found = {moment: frame for frame, moment in annotated_frames(labels).items()}
        frames = {moment: found[moment] for moment in MOMENTS if moment in found}
        stacks = {moment: labels[frame] for moment, frame in frames.items()}
        structures = {name for name, code in STRUCTURES.items() if any((one == code).any() for one in stacks.values())}
        return cls(frames, stacks, frozenset(structures), float(np.prod(spacing_mm)) / 1000)

    def volume_ml(self, moment: str, structure: str) -> float:
        """Return the volume at ED or ES in mL; NaN if the frame is not annotated or the structure is in no frame."""
        if moment not in self.labels or structure not in self.structures:
            return float("nan")
        return float((self.labels[moment] == STRUCTURES[structure]).sum()) * self.voxel_ml

    def on(self, labels: np.ndarray) -> "Annotation":
        """Return the same frames and structures with other labels [T, Z, Y, X]."""
        return replace(self, labels={moment: labels[frame] for moment, frame in self.frames.items()})


def read(path: Path, cine: Cine) -> Annotation | None:
    """Read the annotation in a file; None if it does not fit its cine."""
    labels = read_labels(path)
    if labels.shape != cine.frames.shape or not labels.any() or labels.max() > max(STRUCTURES.values()):
        return None
    return Annotation.of(labels, cine.spacing_mm)


def function(annotation: Annotation) -> dict[str, float]:
    """Return volumes, EF and mass by their printed names; NaN if the frame or the structure is not annotated."""
    edv, esv = (annotation.volume_ml(moment, "LV") for moment in MOMENTS)
    return {
        "EDV (mL)": edv,
        "ESV (mL)": esv,
        "SV (mL)": edv - esv,
        "EF (%)": 100 * (edv - esv) / edv if edv else float("nan"),
        "LV mass (g)": MYOCARDIAL_DENSITY_G_PER_ML * annotation.volume_ml("ED", "myocardium"),
        "RV EDV (mL)": annotation.volume_ml("ED", "RV"),
        "RV ESV (mL)": annotation.volume_ml("ES", "RV"),
    }


def number(value: float, decimals: int = 1) -> str:
    """Return a number as text; a dash for NaN and infinity."""
    return f"{value:.{decimals}f}" if np.isfinite(value) else DASH
