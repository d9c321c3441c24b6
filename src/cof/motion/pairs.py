"""Training pairs: two frames of one subject's cine, on the canonical grid and in the native stack.

Only the two frames of a pair are read, and only when the pair is loaded, so memory does not grow with the cohort.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from cof.cine.grid import Placement, label_shares
from cof.labels.teacher import intensity_statistics
from cof.motion.augmentation import AffineMaps
from cof.motion.cycle import Pairing, frame_pairs
from cof.motion.native import NativeCrop
from cof.motion.warp import fill_invalid


class Frames(Protocol):
    """Frames [Z, Y, X] by their index: an array, or `cof.cine.volume.StoredFrames`."""

    def __len__(self) -> int: ...

    def __getitem__(self, frame: int, /) -> np.ndarray: ...


# A crop takes about 100 kB at full scale; pairs of the same subject share it.
_crop = lru_cache(maxsize=256)(NativeCrop.of)


@dataclass(frozen=True, eq=False)
class TrainingSubject:
    """One training subject.

    Attributes:
        name: pseudonym.
        frames: [T, Z, Y, X] on the canonical grid, stored intensities.
        unit: factor from stored intensities to [0, 1].
        placement: where the canonical grid lies in the native stack.
        native: [Tn, Zn, Yn, Xn], the native cine.
        labels: uint8 of the same shape, by the labeller.
        annotation: uint8 of the same shape, by an expert; all zero in frames without annotation. None without any.
    """

    name: str
    frames: Frames
    unit: float
    placement: Placement
    native: Frames
    labels: Frames
    annotation: Frames | None = None
    _statistics: dict[int, tuple[float, float]] = field(default_factory=dict, repr=False)

    def canonical(self, frame: int) -> Tensor:
        """Return a canonical frame, float32 [Z, Y, X] in [0, 1], filled by `fill_invalid`."""
        image = torch.from_numpy(self.frames[frame].astype(np.float32) * np.float32(self.unit))
        return fill_invalid(image, self.placement.valid)

    def native_frame(self, frame: int) -> Tensor:
        """Return the native frame, float32 [Zn, Yn, Xn], nearest to the phase of a canonical frame."""
        return torch.from_numpy(self.native[self._native_index(frame)].astype(np.float32))

    def native_labels(self, frame: int) -> Tensor:
        """Return the labels of `native_frame`, int64 [Zn, Yn, Xn]."""
        return torch.from_numpy(self.labels[self._native_index(frame)].astype(np.int64))

    def label_shares(self, frame: int) -> Tensor:
        """Return the labels of `native_frame` on the canonical grid as shares, float32 [4, Z, Y, X].

        They come from the annotation if the frame has one. Slices are filled as in `canonical`.
        """
        index = self._native_index(frame)
        labels = self.annotation[index] if self.annotation is not None else None
        if labels is None or not labels.any():
            labels = self.labels[index]
        return fill_invalid(torch.from_numpy(label_shares(labels, self.placement)), self.placement.valid)

    def intensity_statistics(self, frame: int) -> tuple[float, float]:
        """Return the mean and SD by which the labeller normalises `native_frame`."""
        index = self._native_index(frame)
        if index not in self._statistics:
            self._statistics[index] = intensity_statistics(self.native[index])
        return self._statistics[index]

    @property
    def crop(self) -> NativeCrop:
        """Native voxels inside the canonical grid."""
        return _crop(self.placement)

    def _native_index(self, frame: int) -> int:
        return round(frame * len(self.native) / len(self.frames)) % len(self.native)


@dataclass(frozen=True)
class Pair:
    """Two frames of one subject, by their index: `target` is registered to `source`."""

    subject: TrainingSubject
    source: int
    target: int


@dataclass(frozen=True)
class DrawnPair(Pair):
    """A pair in one training iteration.

    Attributes:
        slices: native slices for the teacher's loss; None without a teacher.
        map: affine map of both images, a batch of one; None without augmentation.
        voxels: number of valid canonical slices of the pair, divided by its mean over the batch; it weights means over
            voxels.
    """

    slices: Tensor | None = None
    map: AffineMaps | None = None
    voxels: float = 1.0


@dataclass(frozen=True)
class NativePair:
    """The data of a pair for the teacher's loss.

    Attributes:
        source: the whole native source, float32 [Zn, Yn, Xn].
        slices: indices of the native slices to compare.
        labels: labels of these slices of the target, int64 [z, Yn, Xn].
        mean: mean by which the labeller normalises the target.
        std: SD by which the labeller normalises the target.
        crop: native voxels inside the canonical grid.
    """

    source: Tensor
    slices: Tensor
    labels: Tensor
    mean: float
    std: float
    crop: NativeCrop

    @classmethod
    def of(cls, pair: Pair, slices: Tensor) -> "NativePair":
        """Read the native frames of a pair."""
        subject = pair.subject
        mean, std = subject.intensity_statistics(pair.target)
        labels = subject.native_labels(pair.target)[slices]
        return cls(subject.native_frame(pair.source), slices, labels, mean, std, subject.crop)

    def to(self, device: torch.device) -> "NativePair":
        """Return the same pair on `device`."""
        moved = {name: getattr(self, name).to(device) for name in ("source", "slices", "labels", "crop")}
        return replace(self, **moved)


@dataclass(frozen=True)
class PairBatch:
    """The data of B pairs on one canonical grid.

    Attributes:
        source: [B, 1, Z, Y, X], intensities in [0, 1].
        target: the same shape.
        valid: bool [B, Z], true for slices that hold an image.
        voxels: mean over the pairs of `DrawnPair.voxels`.
        maps: B affine maps; None without augmentation.
        natives: data for the teacher's loss, B pairs; empty without a teacher.
        labels: label shares of source and target, each [B, 4, Z, Y, X]; None if they are not used.
    """

    source: Tensor
    target: Tensor
    valid: Tensor
    voxels: float
    maps: AffineMaps | None
    natives: list[NativePair]
    labels: tuple[Tensor, Tensor] | None = None

    @classmethod
    def of(cls, pairs: Sequence[DrawnPair], with_labels: bool = False) -> "PairBatch":
        """Read pairs; their labels only if asked for."""
        maps = [pair.map for pair in pairs if pair.map is not None]
        return cls(
            torch.stack([pair.subject.canonical(pair.source) for pair in pairs])[:, None],
            torch.stack([pair.subject.canonical(pair.target) for pair in pairs])[:, None],
            torch.tensor([pair.subject.placement.valid for pair in pairs]),
            sum(pair.voxels for pair in pairs) / len(pairs),
            AffineMaps.together(maps) if maps else None,
            [NativePair.of(pair, pair.slices) for pair in pairs if pair.slices is not None],
            (
                torch.stack([pair.subject.label_shares(pair.source) for pair in pairs]),
                torch.stack([pair.subject.label_shares(pair.target) for pair in pairs]),
            )
            if with_labels
            else None,
        )

    def __len__(self) -> int:
        return len(self.source)

    def to(self, device: torch.device) -> "PairBatch":
        """Return the same batch on `device`."""
        return PairBatch(
            self.source.to(device),
            self.target.to(device),
            self.valid.to(device),
            self.voxels,
            self.maps.to(device) if self.maps is not None else None,
            [native.to(device) for native in self.natives],
            (self.labels[0].to(device), self.labels[1].to(device)) if self.labels is not None else None,
        )


def draw_pairs(
    subjects: Sequence[TrainingSubject], pairing: Pairing, count: int, rng: np.random.Generator
) -> list[Pair]:
    """Draw random pairs: for each a subject, then one of its pairs of frames, both uniformly."""
    drawn = []
    for index in rng.integers(len(subjects), size=count):
        subject = subjects[int(index)]
        possible = frame_pairs(len(subject.frames), pairing)
        source, target = possible[int(rng.integers(len(possible)))]
        drawn.append(Pair(subject, source, target))
    return drawn
