"""Slice videos: a short-axis stack as one video per slice, the input and output of families made for 2-D videos.

Every valid slice of the canonical cine is one video, with its position in the stack (z / Z) and the anchor of its two
neighbouring slices. The cycle is resampled periodically to a number of frames that the strides divide, and back. The
generated videos are stacked into a canonical cine; slices outside the native stack show the anchor.
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

# Channels of the anchor: slices z - 1, z and z + 1; the slice itself is in the middle.
NEIGHBOURS = 3
# Slices of each held-out subject for the validation loss, as shares of its valid slices from base to apex.
HELD_OUT_SHARES = (0.2, 0.5, 0.8)


@dataclass(frozen=True)
class SliceBatch:
    """N slices of one or more subjects.

    Attributes:
        anchor: [N, 3, Y, X] in [0, 1], slices z - 1, z, z + 1 of the anchor; at the ends of the stack, its last slice
            is repeated.
        position: [N], z / Z in [0, 1), base to apex.
        beat: [N, 12, L] mV, one R-R cycle.
        rr_ms: [N].
        video: [N, 1, F, Y, X] in [0, 1], the real cine at phases k / F; None at generation.
        ef_pct: [N], ejection fraction in %; NaN where it is unknown.
    """

    anchor: Tensor
    position: Tensor
    beat: Tensor
    rr_ms: Tensor
    video: Tensor | None
    ef_pct: Tensor

    @classmethod
    def of_stack(cls, subject: Subject) -> "SliceBatch":
        """Collect all valid slices of one subject, base to apex, for generation."""
        return cls._of(subject, np.flatnonzero(subject.placement.valid))

    @classmethod
    def of_slice(cls, example: Example, share: float, frames: int) -> "SliceBatch":
        """Take one slice of an example with its video, for training.

        Args:
            example: an example with its cine.
            share: position among its valid slices, from 0 (basal) to 1 (excluded).
            frames: number of frames F of the video.
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
        """Concatenate batches; all with videos of the same shape, or all without."""
        anchor, position, beat, rr_ms, videos, ef_pct = zip(*(vars(batch).values() for batch in batches))
        video = None if videos[0] is None else torch.cat(videos)
        return cls(torch.cat(anchor), torch.cat(position), torch.cat(beat), torch.cat(rr_ms), video, torch.cat(ef_pct))

    def seen_through(self, maps: AffineMaps, spacing_mm: Triple) -> "SliceBatch":
        """Return the same slices after in-plane affine maps, one map per slice."""

        def mapped(images: Tensor) -> Tensor:  # [N, C, Y, X]; maps need volumes, here of one slice each
            return maps.map_images(images[:, :, None], spacing_mm)[:, :, 0]

        video = None if self.video is None else mapped(self.video[:, 0])[:, None]
        return replace(self, anchor=mapped(self.anchor), video=video)

    def to(self, device: torch.device) -> Self:
        """Return the same batch on `device`."""
        return replace(self, **{name: value.to(device) for name, value in vars(self).items() if value is not None})

    def __len__(self) -> int:
        return len(self.anchor)


def slice_videos(example: Example, slices: np.ndarray, frames: int) -> Tensor:
    """Resample slices [N] of an example's cine to videos [N, 1, F, Y, X] in [0, 1], by periodic linear interpolation.

    Raises:
        ValueError: the example has no cine.
    """
    if example.cine is None:
        raise ValueError(f"{example.subject} has no cine, which slice videos need")
    cine = np.asarray(example.cine[:, slices])
    unit = INTENSITY_UNIT if np.issubdtype(cine.dtype, np.integer) else 1.0
    return torch.from_numpy(resample_phase(cine * np.float32(unit), frames)).transpose(0, 1)[:, None]


def stacked(videos: Tensor, subject: Subject, frames: int) -> Tensor:
    """Stack the videos of all valid slices, base to apex, into a canonical cine.

    Args:
        videos: [N, 1, F, Y, X], one per valid slice.
        subject: the subject of these slices.
        frames: number of frames T of the cine.

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
    """One slice in one training iteration.

    Attributes:
        example: index of its subject among the examples.
        share: position among the subject's valid slices, from 0 to 1 (excluded). Their number is known only when the
            subject is opened.
        seed: seed of further randomness, such as the noise of a diffusion model.
        map: affine map of the augmentation, as a batch of one; None without augmentation.
        held_out: True for an index into the validation examples.
    """

    example: int
    share: float
    seed: tuple[int, ...]
    map: AffineMaps | None = None
    held_out: bool = False

    def rng(self) -> np.random.Generator:
        """Return the random generator for the further randomness of this item."""
        return np.random.default_rng(self.seed)


class Slices:
    """Source of training batches for families that learn from slice videos: random valid slices of random subjects.

    A batch holds different subjects if there are enough. Held-out subjects have fixed slices. A family with further
    randomness derives from this class and draws it in `load`, from the `rng` of each item.
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
        """Draw the slices of an iteration and their affine maps."""
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
        """Read the slices with their videos."""
        examples = [(self.validation if item.held_out else self.train)[item.example] for item in items]
        frames = self.settings.video_frames
        batch = SliceBatch.together(
            [SliceBatch.of_slice(example, item.share, frames) for example, item in zip(examples, items)]
        )
        maps = [item.map for item in items if item.map is not None]
        return batch.seen_through(AffineMaps.together(maps), examples[0].placement.spacing_mm) if maps else batch

    def load(self, items: Sequence[SliceItem]) -> SliceBatch:
        """Make the batch for the loss: here the slices with their videos."""
        return self.slices(items)


HALF_WAVES = 8


class PositionEmbedding(nn.Module):
    """Embedding of the position z / Z of a slice in its stack: cosines of half waves, through a two-layer perceptron.

    The waves are half waves, because a stack is not periodic; with whole waves, base and apex would have the same
    embedding.
    """

    order: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("order", math.pi * torch.arange(1, HALF_WAVES + 1, dtype=torch.float32), persistent=False)
        self.layers = nn.Sequential(nn.Linear(HALF_WAVES, channels), nn.SiLU(), nn.Linear(channels, channels))

    def forward(self, position: Tensor) -> Tensor:
        """Map positions [N] to embeddings [N, channels]."""
        return self.layers(torch.cos(position[:, None] * self.order))
