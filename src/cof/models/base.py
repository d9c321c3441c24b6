"""The one interface of every model family, and the data that it sees."""

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
    """What models may see of one subject's ECG; a table holds it, so that it is there without the heart.

    Attributes:
        subject: pseudonym.
        beat: float32 [12, L] mV, one R-R cycle.
        rr_ms: RR interval of the ECG cycle.
        features: float32 [12], what `cof.ecg.features` reads off the cycle; NaN where it cannot be measured.
        sex: "M", "F" or "" as the ECG's file states it; no family generates from it, it only makes strata.
    """

    subject: str
    beat: np.ndarray
    rr_ms: float
    features: np.ndarray = field(default_factory=_unmeasured, kw_only=True)
    sex: str = field(default="", kw_only=True)


@dataclass(frozen=True)
class Subject(SubjectEcg):
    """What generation may see of one subject: the anchor and the ECG cycle, never a later frame.

    Attributes:
        anchor: float32 [Z, Y, X], canonical grid, intensities in [0, 1].
        anchor_labels: uint8 [Z, Y, X] of the anchor on the canonical grid (nearest neighbour).
        placement: the canonical grid in the native stack.
        anchor_phase: phase of the frame that the anchor shows; 0 is end diastole.
    """

    anchor: np.ndarray
    anchor_labels: np.ndarray
    placement: Placement
    anchor_phase: float = field(default=0.0, kw_only=True)

    def with_ecg_of(self, donor: SubjectEcg) -> Self:
        """The same heart with another one's ECG: cycle, RR interval and features."""
        return replace(self, beat=donor.beat, rr_ms=donor.rr_ms, features=donor.features)


@dataclass(frozen=True)
class Example(Subject):
    """A training subject, or a subject whose real motion a family is openly allowed to see (the oracle).

    Attributes:
        displacement: float16 or float32 [T, 3, Z, Y/2, X/2], registered displacement in mm (z, y, x), which points to
            the anchor and is zero in its frame.
        cine: [T, Z, Y, X], the real cine on the canonical grid: floats in [0, 1], or int16 as stored, in units of
            `cof.cine.grid.INTENSITY_UNIT`.
        labels: uint8 [T', Z, Y, X], labels of the real cine's T' native frames on the canonical grid.
        ef_pct: ejection fraction of the left ventricle, from nnU-Net's labels of the real cine.
    """

    displacement: np.ndarray | None = None
    cine: np.ndarray | None = None
    ef_pct: float | None = None
    labels: np.ndarray | None = None


@dataclass(frozen=True)
class Generated:
    """What a family made of one subject: a displacement of the anchor, or a canonical cine. Exactly one is set.

    Attributes:
        displacement: float32 [T, 3, Z, Y/2, X/2] in mm (z, y, x), pulling frame t back to the anchor, whichever frame
            that is; frame k shows phase k / T.
        cine: float32 [T, Z, Y, X] on the canonical grid, intensities in [0, 1].
        measures: what the family has to say about this generation, for the sidecar; `closure_mm` is the mean length of
            the displacement that is left after one whole cycle.
    """

    displacement: torch.Tensor | None = None
    cine: torch.Tensor | None = None
    measures: Mapping[str, float | str | list[float]] = field(default_factory=dict)


class TrainedModel(Protocol):
    """A model ready to generate."""

    def generate(self, subject: Subject, frames: int, seed: int) -> Generated:
        """Motion or cine of one subject at `frames` phases k / frames. The same seed gives the same result."""
        ...


Save = Callable[[Path], None]


class Family(Protocol):
    """A model family: how its models are trained, stored and loaded.

    Its settings, a `cof.config.family.FamilySettings`, say what it is and needs. Generation is handed an `Example` with
    what the family `sees`; a family that sees nothing of the real heart gets a `Subject`.
    """

    def fit(self, train: Sequence[Example], validation: Sequence[Example], settings: Any, seed: int, run: Run) -> Save:
        """Train; what comes back writes the model into a folder: weights (safetensors) and `log.csv`.

        Examples are opened as they are asked for. Of several processes only the first returns.
        """
        ...

    def load(self, folder: Path, settings: Any) -> TrainedModel:
        """The model that `fit` wrote into `folder`."""
        ...
