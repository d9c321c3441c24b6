"""Training pairs: two frames of one subject's cine, on the canonical grid and in the native stack.

Frames stay memory-mapped: a pair reads two frames and no more, whatever the size of the cohort.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from cof.cine.grid import Placement
from cof.labels.teacher import intensity_statistics
from cof.motion.cycle import Pairing, frame_pairs
from cof.motion.native import NativeCrop
from cof.motion.warp import fill_invalid


@dataclass(frozen=True, eq=False)
class TrainingSubject:
    """One training subject; arrays may be memory-mapped.

    Attributes:
        name: pseudonym.
        frames: [T, Z, Y, X] on the canonical grid, stored intensities.
        unit: what a stored intensity of 1 means; times this, intensities are in [0, 1].
        placement: the canonical grid in the native stack.
        native: [Tn, Zn, Yn, Xn], the native cine.
        labels: uint8, of the same shape.
    """

    name: str
    frames: np.ndarray
    unit: float
    placement: Placement
    native: np.ndarray
    labels: np.ndarray
    _statistics: dict[int, tuple[float, float]] = field(default_factory=dict, repr=False)

    def canonical(self, frame: int) -> Tensor:
        """A canonical frame, float32 [Z, Y, X] in [0, 1], slices without a native one filled from their neighbour."""
        image = torch.from_numpy(self.frames[frame].astype(np.float32) * np.float32(self.unit))
        return fill_invalid(image, self.placement.valid)

    def native_frame(self, frame: int) -> Tensor:
        """The native frame, float32 [Zn, Yn, Xn], at (or nearest to) the phase of a canonical frame."""
        return torch.from_numpy(self.native[self._native_index(frame)].astype(np.float32))

    def native_labels(self, frame: int) -> Tensor:
        """The labels of `native_frame`, int64."""
        return torch.from_numpy(self.labels[self._native_index(frame)].astype(np.int64))

    def intensity_statistics(self, frame: int) -> tuple[float, float]:
        """Mean and standard deviation by which the labeller normalises `native_frame`."""
        index = self._native_index(frame)
        if index not in self._statistics:
            self._statistics[index] = intensity_statistics(self.native[index])
        return self._statistics[index]

    @cached_property
    def crop(self) -> NativeCrop:
        """The native voxels under the canonical grid."""
        return NativeCrop.of(self.placement)

    def _native_index(self, frame: int) -> int:
        return round(frame * len(self.native) / len(self.frames)) % len(self.native)


@dataclass(frozen=True)
class Pair:
    """Two frames of one subject: `target` is registered to `source`."""

    subject: TrainingSubject
    source: int
    target: int


def draw_pairs(
    subjects: Sequence[TrainingSubject], pairing: Pairing, count: int, rng: np.random.Generator
) -> list[Pair]:
    """Random pairs: a subject, then one of its pairs of frames, both uniformly."""
    drawn = []
    for index in rng.integers(len(subjects), size=count):
        subject = subjects[int(index)]
        possible = frame_pairs(len(subject.frames), pairing)
        source, target = possible[int(rng.integers(len(possible)))]
        drawn.append(Pair(subject, source, target))
    return drawn
