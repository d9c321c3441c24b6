"""ECHOPulse (Li et al., arXiv:2410.03143): ECG to video by masked token modelling, on short-axis slices.

Kept from the original: a discrete video codec of the VQ-VAE kind; a bidirectional transformer that predicts masked
tokens (MaskGIT), with cross-attention to the ECG; the cosine schedule, and decoding in steps with a temperature that
falls from 0.9; the tokens of a given frame as prefix; classifier-free guidance at scale 3.

Changed, with the reasons:

- The ECG is dropped from a share of the training examples, so guidance is trained. The original never drops it in
  training, so its unconditional prediction is never trained.
- The video is one short-axis slice over the cycle, 2D + t, with an embedding of the position of the slice in the stack;
  the original has a single view. The prefix has three channels, the anchor at z - 1, z and z + 1.
- All slices of a heart are decoded with the same noise: independent draws would make the stack discontinuous along z.
- MONAI's convolutional VQ-VAE with a moving-average codebook replaces C-ViViT, which needs far more data. L1 of images
  and gradients replaces perceptual networks, whose weights would have to be downloaded.
- The tokens of the given frame are those of a still clip, because a codec of 2D + t convolutions has no separate first
  frame. They are also added to the video's tokens at the same position: without this, the transformer does not learn
  to attend there within the length of our trainings.
- Our ECG encoder is trained with the transformer and gives tokens around the cycle; the original has one token from a
  frozen encoder. The position of a token in time is embedded by harmonics of the cycle, which are periodic.
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
    """The two networks of ECHOPulse, codec and transformer, which are trained one after the other."""

    def __init__(self, settings: EchoPulseSettings) -> None:
        super().__init__()
        self.codec = VideoCodec(settings.codec)
        self.transformer = MaskedTransformer(settings.transformer, settings.codec.codes)


class EchoPulseModel:
    """The trained networks of ECHOPulse, with the decoding of masked tokens."""

    def __init__(self, network: EchoPulse, settings: EchoPulseSettings) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = network.to(self.device).eval()
        self.settings = settings

    @torch.no_grad()
    def generate(self, subject: Subject, frames: int, seed: int) -> Generated:
        """Generate the cine of one subject: tokens of all valid slices at once, from the anchor's tokens and the ECG.

        The random draws depend only on the seed and the subject's name.
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
    """N slices, with the tokens to hide.

    Attributes:
        slices: the slices with their videos.
        hidden: bool [N, t, h, w], true for the tokens to predict.
        keep: bool [N]; where false, the ECG is dropped.
    """

    slices: SliceBatch
    hidden: Tensor
    keep: Tensor

    def to(self, device: torch.device) -> "MaskedBatch":
        """Return the same batch on `device`."""
        return MaskedBatch(self.slices.to(device), self.hidden.to(device), self.keep.to(device))


class MaskedSlices(Slices):
    """Source of training batches for the transformer: random slices of which random tokens are hidden.

    The ECG of a random share of them is dropped; held-out slices keep it.

    Args:
        train: training subjects with their cines.
        validation: validation subjects with their cines.
        settings: settings of the family.
        seed: seed of all random draws.
        stride: number of frames, rows and columns that one token covers.
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
        """Read the slices, and draw the hidden tokens of each."""
        slices = self.slices(items)
        shape = tuple(size // self.stride for size in _videos(slices).shape[2:])
        return MaskedBatch(slices, *self.conceal(items, shape))

    def conceal(self, items: Sequence[SliceItem], shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Draw `hidden` and `keep` of a `MaskedBatch`, with tokens of the given shape (t, h, w) per slice."""
        hidden, keep = [], []
        for item in items:
            rng = item.rng()
            keep.append(item.held_out or rng.random() >= self.drop)
            hidden.append(hide(math.prod(shape), rng).reshape(shape))
        return torch.from_numpy(np.stack(hidden)), torch.tensor(keep)


def masked_loss(codec: VideoCodec, network: MaskedTransformer, batch: MaskedBatch) -> Loss:
    """Compute the cross-entropy of the hidden tokens, all with the same weight."""
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
        validation: validation subjects, for the logged loss and for trials of the learning rate. May be empty.
        settings: settings of the model.
        seed: seed of initial weights and of all random draws.
        run: devices of the trainings, and the checkpoints to resume from.

    Returns:
        The networks on the CPU, and the logs of both trainings in one table; the column `part` names the training.

    Raises:
        UsageError: the number of frames, rows or columns is not a multiple of the codec's stride.
    """
    from cof.training import loop  # here, because the import is slow and generation does not need it

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = EchoPulse(settings)
    stride, size = network.codec.stride, (settings.video_frames, *train[0].anchor.shape[1:])
    if any(length % stride for length in size):
        raise UsageError(
            f"echopulse: video_frames and the rows and columns of the canonical grid are {size}; they must be "
            f"multiples of {stride}"
        )
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
    """ECHOPulse on slices: masked token modelling of videos, conditioned on the anchor and the ECG."""

    def fit(
        self, train: Sequence[Example], validation: Sequence[Example], settings: EchoPulseSettings, seed: int, run: Run
    ) -> Save:
        """Train codec and transformer by `cof.models.video.echopulse.fit`."""
        return saving(*fit(train, validation, settings, seed, run))

    def load(self, folder: Path, settings: EchoPulseSettings) -> EchoPulseModel:
        """Load the trained model in `folder`."""
        return EchoPulseModel(restored(EchoPulse(settings), folder), settings)
