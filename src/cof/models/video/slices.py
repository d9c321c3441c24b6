"""Short-axis stacks as videos, slice by slice: the layout in which families made for 2-D videos see a heart.

Every valid slice of the canonical cine is one video, which knows its place in the stack (z / Z) and the anchor of the
slices on both sides of it. The cycle is resampled periodically to a number of frames that strides divide, and back.
What such a family generates is stacked into a canonical cine; slices that no native slice fills show the anchor.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from cof.cine.grid import INTENSITY_UNIT, resample_phase
from cof.config.base import Triple
from cof.config.baselines import SliceVideoSettings
from cof.models.base import Example, Subject
from cof.motion.augmentation import AffineMaps
from cof.motion.warp import fill_invalid

# The anchor of slices z - 1, z and z + 1; the slice itself is the middle one.
NEIGHBOURS = 3
# Slices of each held-out subject whose loss is logged: at these shares of its valid ones.
HELD_OUT_SHARES = (0.2, 0.5, 0.8)


@dataclass(frozen=True)
class SliceBatch:
    """N slices of one or more subjects.

    Attributes:
        anchor: [N, 3, Y, X] in [0, 1]: slices z - 1, z, z + 1 of the anchor; beyond the stack its last slice again.
        position: [N], z / Z in [0, 1), base to apex.
        beat: [N, 12, L] mV, one R-R cycle.
        rr_ms: [N].
        video: [N, 1, F, Y, X] in [0, 1], the real cine at phases k / F; None at generation.
        ef_pct: [N], NaN where it is not known.
    """

    anchor: Tensor
    position: Tensor
    beat: Tensor
    rr_ms: Tensor
    video: Tensor | None
    ef_pct: Tensor

    @classmethod
    def of_stack(cls, subject: Subject) -> "SliceBatch":
        """All valid slices of one subject, base to apex, for generation."""
        return cls._of(subject, np.flatnonzero(subject.placement.valid))

    @classmethod
    def of_slice(cls, example: Example, share: float, frames: int) -> "SliceBatch":
        """One slice of an example with its video, for training.

        Args:
            example: with its cine.
            share: which of its valid slices, from 0 (basal) to 1 (excluded).
            frames: F.
        """
        valid = np.flatnonzero(example.placement.valid)
        chosen = valid[[int(share * len(valid))]]
        return replace(cls._of(example, chosen), video=slice_videos(example, chosen, frames))

    @classmethod
    def _of(cls, subject: Subject, slices: np.ndarray) -> "SliceBatch":
        count, depth = len(slices), subject.placement.shape[0]
        stack = fill_invalid(torch.from_numpy(np.asarray(subject.anchor, np.float32)), subject.placement.valid)
        around = (slices[:, None] + np.arange(-1, NEIGHBOURS - 1)).clip(0, depth - 1)
        ef_pct = subject.ef_pct if isinstance(subject, Example) and subject.ef_pct is not None else math.nan
        return cls(
            stack[torch.from_numpy(around)],
            torch.from_numpy(slices / depth).float(),
            torch.from_numpy(np.asarray(subject.beat, np.float32)).expand(count, -1, -1),
            torch.full((count,), float(subject.rr_ms)),
            None,
            torch.full((count,), float(ef_pct)),
        )

    @classmethod
    def together(cls, batches: Sequence["SliceBatch"]) -> "SliceBatch":
        """Several batches as one; all with videos of one shape, or all without."""
        anchor, position, beat, rr_ms, videos, ef_pct = zip(*(vars(batch).values() for batch in batches))
        video = None if videos[0] is None else torch.cat(videos)
        return cls(torch.cat(anchor), torch.cat(position), torch.cat(beat), torch.cat(rr_ms), video, torch.cat(ef_pct))

    def seen_through(self, maps: AffineMaps, spacing_mm: Triple) -> "SliceBatch":
        """The same slices moved and scaled in-plane, one map a slice."""

        def mapped(images: Tensor) -> Tensor:  # [N, C, Y, X], the slice an axis of its own
            return maps.map_images(images[:, :, None], spacing_mm)[:, :, 0]

        video = None if self.video is None else mapped(self.video[:, 0])[:, None]
        return replace(self, anchor=mapped(self.anchor), video=video)

    def to(self, device: torch.device) -> Self:
        """The same batch on `device`."""
        return replace(self, **{name: value.to(device) for name, value in vars(self).items() if value is not None})

    def __len__(self) -> int:
        return len(self.anchor)


def slice_videos(example: Example, slices: np.ndarray, frames: int) -> Tensor:
    """Slices [N] of an example's cine as videos [N, 1, F, Y, X] in [0, 1], by periodic linear interpolation.

    Raises:
        ValueError: the example has no cine.
    """
    if example.cine is None:
        raise ValueError(f"{example.subject} has no cine")
    cine = np.asarray(example.cine[:, slices])
    unit = INTENSITY_UNIT if np.issubdtype(cine.dtype, np.integer) else 1.0
    return torch.from_numpy(resample_phase(cine * np.float32(unit), frames)).transpose(0, 1)[:, None]


def stacked(videos: Tensor, subject: Subject, frames: int) -> Tensor:
    """The canonical cine of one video for every valid slice, base to apex.

    Args:
        videos: [N, 1, F, Y, X].
        subject: whose valid slices they are.
        frames: T.

    Returns:
        float32 [T, Z, Y, X] in [0, 1] at phases k / T; slices that are not valid show the anchor.
    """
    anchor = torch.from_numpy(np.asarray(subject.anchor, np.float32))
    cine = anchor.repeat(frames, 1, 1, 1)
    made = resample_phase(videos[:, 0].float().cpu().transpose(0, 1).numpy(), frames)
    cine[:, list(subject.placement.valid)] = torch.from_numpy(made).clamp(0, 1)
    return cine


@dataclass(frozen=True)
class SliceItem:
    """A slice as one iteration sees it.

    Attributes:
        example: its subject's place among the examples.
        share: which of the subject's valid slices, from 0 to 1 (excluded); how many there are shows when it is opened.
        seed: of whatever else is random about it, such as the noise of a diffusion.
        map: the affine map that moves it, a batch of one; None where nothing is augmented.
        held_out: it is of one of the validation examples.
    """

    example: int
    share: float
    seed: tuple[int, ...]
    map: AffineMaps | None = None
    held_out: bool = False

    def rng(self) -> np.random.Generator:
        """The generator of this item's own randomness."""
        return np.random.default_rng(self.seed)


class Slices:
    """Random valid slices of random subjects, the source of families that learn from slice videos.

    A batch holds subjects without repetition as far as there are enough. Held-out subjects are seen at fixed slices.
    A family that adds randomness of its own derives from this and draws it in `load`, from each item's `rng`.
    """

    def __init__(
        self, train: Sequence[Example], validation: Sequence[Example], settings: SliceVideoSettings, seed: int
    ) -> None:
        self.train, self.validation, self.settings, self.seed = train, validation, settings, seed
        self.held_out: Sequence[SliceItem] = [
            SliceItem(index, share, (seed, 0, index, place), held_out=True)
            for index in range(len(validation))
            for place, share in enumerate(HELD_OUT_SHARES)
        ]

    def draw(self, iteration: int) -> list[SliceItem]:
        """The slices of an iteration and their maps."""
        settings, rng = self.settings, np.random.default_rng([self.seed, iteration])
        count = settings.batch
        chosen = rng.choice(len(self.train), count, replace=count > len(self.train))
        shares = rng.random(count)
        items = [
            SliceItem(int(index), float(share), (self.seed, iteration, place))
            for place, (index, share) in enumerate(zip(chosen, shares))
        ]
        if settings.augmentation is None:
            return items
        maps = AffineMaps.draw(settings.augmentation, count, rng, torch.device("cpu"))
        return [replace(item, map=maps.one(place)) for place, item in enumerate(items)]

    def slices(self, items: Sequence[SliceItem]) -> SliceBatch:
        """Read slices with their videos."""
        examples = [(self.validation if item.held_out else self.train)[item.example] for item in items]
        frames = self.settings.video_frames
        batch = SliceBatch.together(
            [SliceBatch.of_slice(example, item.share, frames) for example, item in zip(examples, items)]
        )
        maps = [item.map for item in items if item.map is not None]
        return batch.seen_through(AffineMaps.together(maps), examples[0].placement.spacing_mm) if maps else batch

    def load(self, items: Sequence[SliceItem]) -> SliceBatch:
        """Read slices with their videos."""
        return self.slices(items)


HALF_WAVES = 8


class PositionEmbedding(nn.Module):
    """The place of a slice in its stack, z / Z: cosines of half waves along the stack, through a two-layer perceptron.

    Half waves, because the stack has two ends; the phase's whole waves would make base and apex the same place.
    """

    order: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("order", math.pi * torch.arange(1, HALF_WAVES + 1, dtype=torch.float32), persistent=False)
        self.layers = nn.Sequential(nn.Linear(HALF_WAVES, channels), nn.SiLU(), nn.Linear(channels, channels))

    def forward(self, position: Tensor) -> Tensor:
        """Positions [N] to embeddings [N, channels]."""
        return self.layers(torch.cos(position[:, None] * self.order))
