"""ECHOPulse (Li et al., arXiv:2410.03143): ECG to video by masked token modelling, on short-axis slices.

Kept of the original: a discrete video codec of the VQ-VAE kind; a bidirectional transformer that learns to find masked
tokens (MaskGIT) with cross-attention to the ECG; the cosine schedule and step-by-step decoding whose temperature falls
from 0.9; the tokens of a given frame as prefix; classifier-free guidance at scale 3.

Changed, and why:

- Guidance is trained: the ECG is dropped from a share of the examples. The original's training never drops it, so that
  its unconditional prediction is one that was never learnt.
- The video is one short-axis slice over the cycle, 2D + t, with an embedding of the slice's place in the stack, since
  the original knows a single view. The prefix has three channels, the anchor at z - 1, z and z + 1.
- Slices are decoded together with the same noise: independent draws would tear the stack apart along z.
- MONAI's convolutional VQ-VAE with a moving-average codebook takes the place of C-ViViT, which needs far more data, and
  the L1 of images and gradients that of perceptual networks, whose weights would have to be downloaded.
- The given frame's tokens are those of a still clip, since a codec of 2D + t convolutions has no separate first frame.
  They are added to the video's at the same place besides: without it the transformer had not learnt to look there when
  our trainings end.
- Our ECG encoder, trained with the transformer, gives tokens around the cycle, where the original has one token of a
  frozen encoder; a token's place in time is embedded by harmonics of the cycle, which has no ends.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from cof.config.baselines import EchoPulseSettings
from cof.errors import UsageError
from cof.models.base import Example, Generated, Save, Subject
from cof.models.noise import subject_rng
from cof.models.video.guidance import guided
from cof.models.video.masked import fill_in, hide
from cof.models.video.slices import SliceBatch, SliceItem, Slices, stacked
from cof.models.video.token_transformer import Condition, MaskedTransformer
from cof.models.video.video_codec import VideoCodec, codec_loss
from cof.models.weights import restored, saving
from cof.training.run import Loss, Run


class EchoPulse(nn.Module):
    """Codec and transformer, which are trained one after the other."""

    def __init__(self, settings: EchoPulseSettings) -> None:
        super().__init__()
        self.codec = VideoCodec(settings.codec)
        self.transformer = MaskedTransformer(settings.transformer, settings.codec.codes)


class EchoPulseModel:
    """Trained networks, and how tokens are filled in."""

    def __init__(self, network: EchoPulse, settings: EchoPulseSettings) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = network.to(self.device).eval()
        self.settings = settings

    @torch.no_grad()
    def generate(self, subject: Subject, frames: int, seed: int) -> Generated:
        """The cine of one subject: all valid slices at once, filled in from the anchor's tokens and the ECG.

        Seed and name decide the draws.
        """
        settings, codec, transformer = self.settings, self.network.codec, self.network.transformer
        slices = SliceBatch.of_stack(subject).to(self.device)
        anchor = codec.still_tokens(slices.anchor)

        def encode(keep: bool) -> Condition:
            kept = torch.full((len(slices),), keep, device=self.device)
            return transformer.encode(anchor, slices.position, slices.beat, slices.rr_ms, kept)

        conditional, unconditional = encode(True), encode(False)

        def logits(tokens: Tensor) -> Tensor:
            return guided(partial(transformer, tokens), conditional, unconditional, settings.guidance)

        rng = subject_rng(seed, subject)
        shape = (len(slices), settings.video_frames // codec.stride, *anchor.shape[2:])
        masked = torch.full(shape, transformer.mask, device=self.device)
        tokens = fill_in(logits, masked, transformer.mask, settings.steps, settings.temperature, rng)
        return Generated(cine=stacked(codec.decode(tokens), subject, frames))


@dataclass(frozen=True)
class MaskedBatch:
    """N slices with what is hidden of each.

    Attributes:
        slices: with their videos.
        hidden: bools [N, t, h, w], the tokens to be found.
        keep: bools [N]; where false, the ECG is dropped.
    """

    slices: SliceBatch
    hidden: Tensor
    keep: Tensor

    def to(self, device: torch.device) -> "MaskedBatch":
        """The same batch on `device`."""
        return MaskedBatch(self.slices.to(device), self.hidden.to(device), self.keep.to(device))


class MaskedSlices(Slices):
    """Random slices of which random tokens are hidden and some lose their ECG. Held-out ones keep it.

    Args:
        train: with their cines.
        validation: likewise.
        settings: of the family.
        seed: of what is drawn.
        stride: frames, rows and columns that one token covers.
    """

    def __init__(
        self,
        train: Sequence[Example],
        validation: Sequence[Example],
        settings: EchoPulseSettings,
        seed: int,
        stride: int,
    ) -> None:
        super().__init__(train, validation, settings, seed)
        self.drop, self.stride = settings.drop, stride

    def load(self, items: Sequence[SliceItem]) -> MaskedBatch:  # type: ignore[override]
        """Read slices, and draw what is hidden of each."""
        slices = self.slices(items)
        shape = tuple(size // self.stride for size in _videos(slices).shape[2:])
        return MaskedBatch(slices, *self.conceal(items, shape))

    def conceal(self, items: Sequence[SliceItem], shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """What is hidden of tokens of a shape, and which slices keep their ECG: `MaskedBatch.hidden` and `.keep`."""
        hidden, keep = [], []
        for item in items:
            rng = item.rng()
            keep.append(item.held_out or rng.random() >= self.drop)
            hidden.append(hide(math.prod(shape), rng).reshape(shape))
        return torch.from_numpy(np.stack(hidden)), torch.tensor(keep)


def masked_loss(codec: VideoCodec, network: MaskedTransformer, batch: MaskedBatch) -> Loss:
    """Cross-entropy of the hidden tokens, all of which count the same."""
    slices = batch.slices
    codec.to(slices.anchor.device)
    tokens, anchor = codec.tokens(_videos(slices)), codec.still_tokens(slices.anchor)
    condition = network.encode(anchor, slices.position, slices.beat, slices.rr_ms, batch.keep)
    logits = network(tokens.masked_fill(batch.hidden, network.mask), condition)[batch.hidden].float()
    wanted = tokens[batch.hidden]
    right = (logits.argmax(-1) == wanted).float().mean()
    return Loss(functional.cross_entropy(logits, wanted), len(wanted), {"accuracy": right})


def fit(
    train: Sequence[Example], validation: Sequence[Example], settings: EchoPulseSettings, seed: int, run: Run
) -> tuple[EchoPulse, pd.DataFrame]:
    """Train the codec, then the transformer on its tokens.

    Args:
        train: training subjects, all on one canonical grid, each with its cine.
        validation: subjects whose loss is logged and steers nothing; may be empty.
        settings: the model's.
        seed: of initial weights and of whatever is drawn.
        run: where the trainings run and what they resume from.

    Returns:
        The networks on the CPU and the logs of both, whose column `part` tells them apart.

    Raises:
        UsageError: the codec cannot halve frames, rows and columns as often as it should.
    """
    from cof.training import loop  # heavy, and no part of generation

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = EchoPulse(settings)
    stride, size = network.codec.stride, (settings.video_frames, *train[0].anchor.shape[1:])
    if any(length % stride for length in size):
        raise UsageError(f"echopulse: frames, rows and columns {size} must be multiples of {stride}")
    clips = Slices(train, validation, settings.model_copy(update={"batch": settings.codec.batch}), seed)
    network.codec.start(_videos(clips.load(clips.draw(0))), torch.Generator().manual_seed(seed))
    codec, codec_log = loop.fit(
        network.codec, _codec_loss, clips, settings.codec, run.part("codec"),
        log_every=settings.codec.checkpoint_every, last=False,
    )  # fmt: skip
    network.codec = codec.requires_grad_(False)
    network.transformer, log = loop.fit(
        network.transformer, partial(masked_loss, codec), MaskedSlices(train, validation, settings, seed, stride),
        settings, run.part("transformer"), log_every=settings.checkpoint_every, entries=("encode", "forward"),
    )  # fmt: skip
    codec.cpu()
    table = pd.concat([codec_log.assign(part="codec"), log.assign(part="transformer")], ignore_index=True)
    return network, table.rename(columns={"loss": "train_loss"})


def _videos(slices: SliceBatch) -> Tensor:
    assert slices.video is not None
    return slices.video


def _codec_loss(codec: VideoCodec, slices: SliceBatch) -> Loss:
    return codec_loss(codec, _videos(slices))


class EchoPulseFamily:
    """The family of `EchoPulseSettings`."""

    def fit(
        self, train: Sequence[Example], validation: Sequence[Example], settings: EchoPulseSettings, seed: int, run: Run
    ) -> Save:
        """Train codec and transformer; see `fit`."""
        return saving(*fit(train, validation, settings, seed, run))

    def load(self, folder: Path, settings: EchoPulseSettings) -> EchoPulseModel:
        """The trained model in `folder`."""
        return EchoPulseModel(restored(EchoPulse(settings), folder), settings)
