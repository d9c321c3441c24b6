"""The one interface of every model family, and the data that it sees."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch

from cof.cine.grid import Placement
from cof.training import Run

# What a training example can carry beyond anchor and ECG.
Motion = Literal["displacement", "cine"]


@dataclass(frozen=True)
class Subject:
    """What generation may see of one subject: the anchor and the ECG cycle, never a later frame.

    Attributes:
        subject: pseudonym.
        anchor: float32 [Z, Y, X], canonical grid, intensities in [0, 1].
        anchor_labels: uint8 [Z, Y, X] of the anchor on the canonical grid (nearest neighbour).
        beat: float32 [12, L] mV, one R-R cycle.
        rr_ms: RR interval of the ECG cycle.
        placement: the canonical grid in the native stack.
    """

    subject: str
    anchor: np.ndarray
    anchor_labels: np.ndarray
    beat: np.ndarray
    rr_ms: float
    placement: Placement


@dataclass(frozen=True)
class Example(Subject):
    """A training subject, or a subject whose real motion a family is openly allowed to see (the oracle).

    Attributes:
        displacement: float16 or float32 [T, 3, Z, Y/2, X/2], registered displacement in mm (z, y, x), frame 0 zero.
        cine: [T, Z, Y, X], the real cine on the canonical grid: floats in [0, 1], or int16 as stored, in units of
            `cof.cine.grid.INTENSITY_UNIT`.
    """

    displacement: np.ndarray | None = None
    cine: np.ndarray | None = None


@dataclass(frozen=True)
class Generated:
    """What a family made of one subject: a displacement of the anchor, or a canonical cine. Exactly one is set.

    Attributes:
        displacement: float32 [T, 3, Z, Y/2, X/2] in mm (z, y, x), pulling frame t back to the anchor.
        cine: float32 [T, Z, Y, X] on the canonical grid, intensities in [0, 1].
        measures: what the family has to say about this generation, for the sidecar; `closure_mm` is the mean length of
            the displacement that is left after one whole cycle.
    """

    displacement: torch.Tensor | None = None
    cine: torch.Tensor | None = None
    measures: Mapping[str, float | str] = field(default_factory=dict)


class TrainedModel(Protocol):
    """A model ready to generate."""

    def generate(self, subject: Subject, frames: int, seed: int) -> Generated:
        """Motion or cine of one subject at `frames` phases k / frames. The same seed gives the same result."""
        ...


Save = Callable[[Path], None]


class Family(Protocol):
    """A model family: how its models are trained, stored and loaded.

    Attributes:
        learns_from: what training needs of every example beyond anchor and ECG; a family that learns from nothing is
            handed no examples.
        sees_motion: the family is handed an `Example` with the subject's own registered displacement at generation
            (the oracle); every other family gets a `Subject`.
    """

    learns_from: frozenset[Motion]
    sees_motion: bool

    def fit(self, train: Sequence[Example], validation: Sequence[Example], settings: Any, seed: int, run: Run) -> Save:
        """Train; what comes back writes the model into a folder: weights (safetensors) and `log.csv`.

        Examples are opened as they are asked for. Of several processes only the first returns.
        """
        ...

    def load(self, folder: Path, settings: Any) -> TrainedModel:
        """The model that `fit` wrote into `folder`."""
        ...
