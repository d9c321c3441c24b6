"""The interface of every model family, and the data that it gets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import torch

from cof.cine.grid import Placement
from cof.ecg.features import FEATURES
from cof.training.run import Run


def _unmeasured() -> np.ndarray:
    return np.full(len(FEATURES), np.nan, np.float32)


@dataclass(frozen=True)
class SubjectEcg:
    """The ECG of one subject, as models may see it. It comes from a table, so it is available without the heart.

    Attributes:
        subject: pseudonym.
        beat: float32 [12, L] mV, one R-R cycle.
        rr_ms: RR interval of the ECG cycle.
        features: float32 [12], features of the cycle by `cof.ecg.features`; NaN where not measurable.
        sex: "M", "F" or "", as stated in the ECG file. It defines strata, and the family `ridge` generates from it.

    An absent ECG has NaN in `beat` and `rr_ms`; `absent` makes one.
    """

    subject: str
    beat: np.ndarray
    rr_ms: float
    features: np.ndarray = field(default_factory=_unmeasured, kw_only=True)
    sex: str = field(default="", kw_only=True)

    @classmethod
    def absent(cls, subject: str, samples: int) -> "SubjectEcg":
        """Return an absent ECG for a subject of a cohort whose cycles have `samples` samples."""
        return SubjectEcg(subject, np.full((12, samples), np.nan, np.float32), np.nan)

    @property
    def has_ecg(self) -> bool:
        """True if there is an ECG."""
        return bool(np.isfinite(self.rr_ms))


@dataclass(frozen=True)
class Subject(SubjectEcg):
    """One subject as generation may see it: the anchor and the ECG cycle, and no other frame.

    Attributes:
        anchor: float32 [Z, Y, X] on the canonical grid, intensities in [0, 1].
        anchor_labels: uint8 [Z, Y, X], labels of the anchor on the canonical grid (nearest neighbour).
        placement: where the canonical grid lies in the native stack.
        anchor_phase: phase of the frame that the anchor shows; 0 is end diastole.
    """

    anchor: np.ndarray
    anchor_labels: np.ndarray
    placement: Placement
    anchor_phase: float = field(default=0.0, kw_only=True)

    def with_ecg_of(self, donor: SubjectEcg) -> Self:
        """Return the same heart with the ECG of another subject: cycle, RR interval and features."""
        return replace(self, beat=donor.beat, rr_ms=donor.rr_ms, features=donor.features)

    def without_ecg(self) -> Self:
        """Return the same heart with an absent ECG."""
        return self.with_ecg_of(SubjectEcg.absent(self.subject, self.beat.shape[1]))


@dataclass(frozen=True)
class Example(Subject):
    """A training subject, or a subject for a family that may see data of the real heart, such as the oracle.

    Attributes:
        displacement: float16 or float32 [T, 3, Z, Y/2, X/2], registered displacement in mm (z, y, x); it points to the
            anchor and is zero in the frame of the anchor.
        cine: [T, Z, Y, X], the real cine on the canonical grid: floats in [0, 1], or int16 as stored, in units of
            `cof.cine.grid.INTENSITY_UNIT`.
        labels: uint8 [T', Z, Y, X], labels of the T' native frames of the real cine, on the canonical grid.
        es_phase: for a pair, whose two frames are ED and ES (T is 2), the phase of ES; None for a whole cycle.
        ef_pct: ejection fraction of the left ventricle in %, from the labels of the real cine.
    """

    displacement: np.ndarray | None = None
    cine: np.ndarray | None = None
    ef_pct: float | None = None
    labels: np.ndarray | None = None
    es_phase: float | None = None


@dataclass(frozen=True)
class Generated:
    """Output of a family for one subject: either a displacement of the anchor or a canonical cine.

    Attributes:
        displacement: float32 [T, 3, Z, Y/2, X/2] in mm (z, y, x), from every frame to the anchor, whichever frame that
            is; frame k shows phase k / T.
        cine: float32 [T, Z, Y, X] on the canonical grid, intensities in [0, 1].
        measures: numbers about this generation for the sidecar; `closure_mm` is the mean length of the displacement
            that remains after a whole cycle.
    """

    displacement: torch.Tensor | None = None
    cine: torch.Tensor | None = None
    measures: Mapping[str, float | str | list[float]] = field(default_factory=dict)


class TrainedModel(Protocol):
    """A trained model, ready to generate."""

    def generate(self, subject: Subject, frames: int, seed: int) -> Generated:
        """Generate displacement or cine of one subject at `frames` phases k / frames; the seed makes it repeatable."""
        ...


Save = Callable[[Path], None]


class Family(Protocol):
    """A model family: how its models are trained, stored and loaded.

    Its settings, a `cof.config.family.FamilySettings`, say what it is and needs. A subject passed to generation is an
    `Example` that holds only what the family `sees`, or a `Subject` if the family sees nothing of the real heart.
    """

    def fit(self, train: Sequence[Example], validation: Sequence[Example], settings: Any, seed: int, run: Run) -> Save:
        """Train a model, and return a function that writes it into a folder: weights (safetensors) and `log.csv`.

        Examples are opened when they are accessed. With several processes, only the first one returns.
        """
        ...

    def load(self, folder: Path, settings: Any) -> TrainedModel:
        """Load the model that `fit` wrote into `folder`."""
        ...
