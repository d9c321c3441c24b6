"""EchoDiffusion on short-axis slices: a cascade of video diffusion models, conditioned on an ejection fraction.

Reynaud et al., Feature-conditioned cascaded video diffusion models for precise echocardiogram synthesis, MICCAI 2023
(arXiv:2303.12644); its code builds on Imagen's cascade (Ho et al., arXiv:2210.02303) with EDM (`cof.models.video.edm`).

Kept from the original:

- a cascade of 2D + t diffusion models, whose last stage is super-resolution conditioned on the stage before, with noise
  on that condition in training;
- EDM preconditioning and noise levels, and DPM-Solver++, which Imagen's code offers besides Heun's method;
- an image of the heart, concatenated as a condition;
- the ejection fraction (EF) as the only clinical condition: a token for cross-attention at the coarsest level, which is
  also added to the embedding of the noise level;
- the EF dropped in a tenth of the training examples, and classifier-free guidance at scale 5.

Changed, with the reasons:

- In the original, the EF of the video is given. Here the EF of a new subject is unknown, so it is **predicted** from
  the ECG by a 1-D residual network (`cof.models.video.ef_predictor`), trained on the training subjects. The cascade is
  trained with their own EF. `cof.models.controls.true_ef` uses the subject's own EF instead of the prediction; this is
  an oracle, and a table must call it so.
- The EF is an input in units of its SD over the training subjects, because the EFs of healthy hearts differ little.
- The video is one short-axis slice over the cycle, with a second token for the position of the slice in the stack. The
  conditioning image is not a random frame but the anchor, with its neighbours z - 1 and z + 1 as further channels.
- All slices of a heart are sampled from the same noise: independent draws would make the stack discontinuous along z.
- There are two stages instead of four: half the resolution along all three axes, then full resolution, which is trained
  on crops.
- The networks model the difference from the anchor's slice, not the frame itself. What does not move then need not pass
  through the network, which saves a small network most of its work. In the same way, the second stage models the
  difference from the enlarged output of the first. sigma_data is measured on the data of each stage, and the noise
  levels of the original, except the highest, are kept in units of it.
- The original thresholds denoised frames dynamically; here they are clipped to the range of intensities.
- The sampler is deterministic, without churn, so a few steps are enough, and the noise stays the same for all slices.
  Frame 0 is generated like any other frame.
- The networks are MONAI's DiffusionModelUNet.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from monai.networks.nets import DiffusionModelUNet
from torch import Tensor, nn
from torch.nn import functional

from cof.config.baselines import CascadeStageSettings, EchoDiffusionSettings
from cof.config.training import TrainingSettings
from cof.errors import UsageError
from cof.models.base import Example, Generated, Save, Subject
from cof.models.noise import standard_normal, subject_rng
from cof.models.video import edm
from cof.models.video.ef_predictor import EfExamples, EfPredictor, ef_loss
from cof.models.video.guidance import guided
from cof.models.video.slices import NEIGHBOURS, PositionEmbedding, SliceBatch, SliceItem, Slices, slice_videos, stacked
from cof.models.weights import restored, saving
from cof.motion.convolution import with_fast_volumes
from cof.training.run import Loss, LossFunction, Run, Source

# The first stage halves frames, rows and columns.
HALF = 2
TOKEN = 64
# Enough hearts to estimate sigma_data.
SCALE_SUBJECTS = 64
# Lowest and highest noise level of sampling, in units of sigma_data. The original's lowest level, 0.002 at a sigma_data
# of 0.25, is 0.008 in these units. Its highest, 80, is 320: pure noise, on which a sampler would waste some of its few
# steps.
SIGMA_RANGE = 0.008, 80.0


class VideoDenoiser(nn.Module):
    """One stage of the cascade: a U-Net over frames, rows and columns that denoises the difference from the anchor."""

    sigma_data: Tensor
    ef_mean: Tensor
    ef_sd: Tensor

    def __init__(self, settings: CascadeStageSettings, images: int) -> None:
        super().__init__()
        channels = settings.channels
        for name in ("sigma_data", "ef_mean", "ef_sd"):
            self.register_buffer(name, torch.ones(()))
        self.network = with_fast_volumes(
            DiffusionModelUNet(
                spatial_dims=3,
                in_channels=1 + images,
                out_channels=1,
                channels=channels,
                num_res_blocks=settings.blocks,
                attention_levels=(False,) * len(channels),  # the block below the coarsest level always has attention
                num_head_channels=[math.gcd(width, 32) for width in channels],
                norm_num_groups=math.gcd(8, *channels),
                with_conditioning=True,
                cross_attention_dim=TOKEN,
                num_class_embeds=1,  # makes room for the next line
                use_flash_attention=True,
            )
        )
        added = nn.Sequential(nn.Flatten(), nn.Linear(2 * TOKEN, 4 * channels[0]))
        self.network.add_module("class_embedding", added)
        self.ef = nn.Sequential(nn.Linear(1, TOKEN), nn.SiLU(), nn.Linear(TOKEN, TOKEN))
        self.without_ef = nn.Parameter(torch.zeros(TOKEN))
        self.position = PositionEmbedding(TOKEN)

    def tokens(self, ef_pct: Tensor, position: Tensor, keep: Tensor) -> Tensor:
        """Return the tokens [N, 2, 64] of EF and position, for cross-attention and the embedding of the noise level.

        Args:
            ef_pct: [N].
            position: [N], z / Z.
            keep: bool [N]; where false, the EF is dropped.
        """
        told = self.ef((ef_pct.nan_to_num()[:, None] - self.ef_mean) / self.ef_sd)
        return torch.stack([torch.where(keep[:, None], told, self.without_ef), self.position(position)], 1)

    def forward(self, noisy: Tensor, sigma: Tensor, images: Tensor, tokens: Tensor) -> Tensor:
        """Predict the clean difference from a noisy one.

        Args:
            noisy: [N, 1, F, Y, X].
            sigma: [N], noise levels.
            images: [N, C, F, Y, X], images of the condition.
            tokens: [N, 2, 64], tokens of the condition.
        """

        def network(inputs: Tensor, level: Tensor) -> Tensor:
            # MONAI's embedding is made for levels up to hundreds; c_noise has a range of a few units.
            return self.network(torch.cat([inputs, images], 1), 100 * level, tokens, class_labels=tokens).float()

        return edm.denoised(network, noisy, sigma, self.sigma_data)


class EchoDiffusion(nn.Module):
    """The three networks of EchoDiffusion, predictor of the EF and two stages, trained one after the other."""

    def __init__(self, settings: EchoDiffusionSettings) -> None:
        super().__init__()
        self.predictor = EfPredictor(settings.predictor)
        self.base = VideoDenoiser(settings, NEIGHBOURS)
        self.fine = VideoDenoiser(settings.fine, NEIGHBOURS + 1)


def halved(videos: Tensor) -> Tensor:
    """Average videos [N, C, F, Y, X] over blocks of 2 x 2 x 2."""
    return functional.avg_pool3d(videos, HALF)


def doubled(videos: Tensor) -> Tensor:
    """Double the resolution of videos [N, C, F, Y, X] by linear interpolation between the centres of blocks."""
    return functional.interpolate(videos, scale_factor=HALF, mode="trilinear", align_corners=False)


def still(anchor: Tensor, frames: int) -> Tensor:
    """Repeat images [N, C, Y, X] as a video [N, C, F, Y, X] without motion."""
    return anchor[:, :, None].expand(-1, -1, frames, -1, -1)


def middle(anchor: Tensor) -> Tensor:
    """Return the middle slice of an anchor [N, 3, Y, X], as [N, 1, 1, Y, X]."""
    return anchor[:, 1:2, None]


def difference(slices: SliceBatch) -> Tensor:
    """Subtract the anchor from the real videos: [N, 1, F, Y, X]."""
    assert slices.video is not None
    return slices.video - middle(slices.anchor)


@dataclass(frozen=True)
class StageBatch:
    """A training batch of one stage of the cascade.

    Attributes:
        clean: [N, 1, F, Y, X], the clean data that the stage models.
        images: [N, C, F, Y, X], images of the condition.
        noise: standard normal noise, with the shape of `clean`.
        sigma: [N], noise levels in units of sigma_data.
        ef_pct: [N].
        position: [N], z / Z.
        keep: bool [N]; where false, the EF is dropped.
    """

    clean: Tensor
    images: Tensor
    noise: Tensor
    sigma: Tensor
    ef_pct: Tensor
    position: Tensor
    keep: Tensor

    def to(self, device: torch.device) -> Self:
        """Return the same batch on `device`."""
        return type(self)(*(tensor.to(device) for tensor in vars(self).values()))


class StageSlices(Slices, ABC):
    """Source of training batches for one stage of the cascade: random slices.

    The EF of a random share of them is dropped; held-out slices keep it.
    """

    def __init__(
        self,
        train: Sequence[Example],
        validation: Sequence[Example],
        settings: EchoDiffusionSettings,
        stage: CascadeStageSettings,
        seed: int,
    ) -> None:
        super().__init__(train, validation, settings.model_copy(update={"batch": stage.batch}), seed)
        self.drop, self.condition_noise, self.stage = settings.drop, settings.fine.condition_noise, stage

    def load(self, items: Sequence[SliceItem]) -> Any:
        """Read the slices, and draw noise, noise levels, and the slices whose EF is dropped."""
        rngs = [item.rng() for item in items]
        slices = self.slices(items)
        kept = [item.held_out or rng.random() >= self.drop for item, rng in zip(items, rngs)]
        sigma = [edm.training_sigma(rng, self.stage.noise_mean, self.stage.noise_sd) for rng in rngs]
        clean, images = self.views(slices, rngs)
        noise = torch.stack([standard_normal(rng, tuple(clean.shape[1:])) for rng in rngs])
        keep = torch.tensor(kept) & slices.ef_pct.isfinite()
        return StageBatch(clean, images, noise, torch.tensor(sigma), slices.ef_pct, slices.position, keep)

    @abstractmethod
    def views(self, slices: SliceBatch, rngs: Sequence[np.random.Generator]) -> tuple[Tensor, Tensor]:
        """Return the clean data [N, 1, F, Y, X] of the stage, and the images of its condition [N, C, F, Y, X]."""


class BaseSlices(StageSlices):
    """Source for the first stage: whole slices at half the resolution, with the anchor as condition."""

    def views(self, slices: SliceBatch, rngs: Sequence[np.random.Generator]) -> tuple[Tensor, Tensor]:
        """Return clean data and condition, as `StageSlices.views` describes."""
        clean = halved(difference(slices))
        return clean, base_images(slices.anchor, clean.shape[2])


class FineSlices(StageSlices):
    """Source for the second stage: crops of half the rows and columns.

    The condition is the anchor, and the real video at half the resolution with added noise.
    """

    def views(self, slices: SliceBatch, rngs: Sequence[np.random.Generator]) -> tuple[Tensor, Tensor]:
        """Return clean data and condition, as `StageSlices.views` describes."""
        whole = difference(slices)
        coarse = halved(whole)
        # The output of the first stage differs from real videos. With noise on it in training, the second stage learns
        # not to rely on its details.
        noise = [
            rng.uniform(0, self.condition_noise) * video.std() * standard_normal(rng, tuple(video.shape))
            for video, rng in zip(coarse, rngs)
        ]
        images = fine_images(slices.anchor, coarse + torch.stack(noise))
        both = torch.cat([whole - images[:, NEIGHBOURS:], images], 1)
        crops = torch.stack([_crop(video, rng) for video, rng in zip(both, rngs)])
        return crops[:, :1], crops[:, 1:]


def _crop(video: Tensor, rng: np.random.Generator) -> Tensor:
    rows, columns = video.shape[-2] // HALF, video.shape[-1] // HALF
    y, x = rng.integers(rows + 1), rng.integers(columns + 1)
    return video[..., y : y + rows, x : x + columns]


def base_images(anchor: Tensor, frames: int) -> Tensor:
    """Return the images of the first stage's condition: the anchor [N, 3, Y, X] as [N, 3, F, Y/2, X/2]."""
    return still(functional.avg_pool2d(anchor, HALF), frames)


def fine_images(anchor: Tensor, coarse: Tensor) -> Tensor:
    """Return the images of the second stage's condition.

    Args:
        anchor: [N, 3, Y, X].
        coarse: [N, 1, F/2, Y/2, X/2], differences from the anchor at half the resolution, as the first stage models.

    Returns:
        [N, 4, F, Y, X].
    """
    above = doubled(coarse)
    return torch.cat([still(anchor, above.shape[2]), above], 1)


def stage_loss(network: VideoDenoiser, batch: StageBatch) -> Loss:
    """Compute the loss of EDM, its eq (8) with lambda = 1 / c_out^2."""
    sigma = batch.sigma * network.sigma_data
    noisy = batch.clean + sigma.view(-1, 1, 1, 1, 1) * batch.noise
    tokens = network.tokens(batch.ef_pct, batch.position, batch.keep)
    error = network(noisy, sigma, batch.images, tokens) - batch.clean
    return Loss(edm.weighted_square(error, sigma, network.sigma_data), len(error))


def scales(examples: Iterable[Example], frames: int) -> tuple[float, float]:
    """Compute sigma_data of both stages.

    The first is the root mean square of the differences from the anchor at half the resolution. The second is the root
    mean square of the error when these are enlarged to full resolution.
    """
    sums = np.zeros(2)
    count = 0
    for example in islice(examples, SCALE_SUBJECTS):
        valid = np.flatnonzero(example.placement.valid)
        slices = replace(SliceBatch.of_stack(example), video=slice_videos(example, valid, frames))
        whole = difference(slices)
        coarse = halved(whole)
        sums += [float(part.double().square().mean()) for part in (coarse, whole - doubled(coarse))]
        count += 1
    base, fine = np.sqrt(sums / max(count, 1)).tolist()
    return base or 1.0, fine or 1.0


def fit(
    train: Sequence[Example], validation: Sequence[Example], settings: EchoDiffusionSettings, seed: int, run: Run
) -> tuple[EchoDiffusion, pd.DataFrame]:
    """Train the predictor of the EF and the stages of the cascade, one after the other.

    Args:
        train: training subjects, all on one canonical grid, each with its cine and its EF.
        validation: validation subjects, for the logged losses and for trials of the learning rate. May be empty.
        settings: settings of the model.
        seed: seed of initial weights and of all random draws.
        run: devices of the trainings, and the checkpoints to resume from.

    Returns:
        The networks on the CPU, and the logs of all three trainings in one table; the column `part` names the training.

    Raises:
        UsageError: the number of frames, rows or columns is not a multiple of what the networks need.
    """
    from cof.training import loop  # here, because the import is slow and generation does not need it

    stride = HALF ** max(len(settings.channels), len(settings.fine.channels))
    size = settings.video_frames, *train[0].anchor.shape[1:]
    if any(length % stride for length in size):
        raise UsageError(
            f"echodiffusion: video_frames and the rows and columns of the canonical grid are {size}; they must be "
            f"multiples of {stride}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = EchoDiffusion(settings)
    network.predictor.learn_scale(train)
    for stage, sd in zip((network.base, network.fine), scales(train, settings.video_frames)):
        stage.sigma_data.fill_(sd)
        stage.ef_mean.copy_(network.predictor.mean)
        stage.ef_sd.copy_(network.predictor.sd)
    logs = {}
    parts: dict[str, tuple[LossFunction, Source, TrainingSettings]] = {
        "predictor": (ef_loss, EfExamples(train, validation, settings.predictor, seed), settings.predictor),
        "base": (stage_loss, BaseSlices(train, validation, settings, settings, seed), settings),
        "fine": (stage_loss, FineSlices(train, validation, settings, settings.fine, seed), settings.fine),
    }
    for part, (loss, source, training) in parts.items():
        trained, logs[part] = loop.fit(
            getattr(network, part), loss, source, training, run.part(part),
            log_every=training.checkpoint_every, last=part == "fine",
        )  # fmt: skip
        setattr(network, part, trained)
    table = pd.concat([log.assign(part=part) for part, log in logs.items()], ignore_index=True)
    return network, table.rename(columns={"loss": "train_loss"})


class EchoDiffusionModel:
    """The trained networks, with the sampler of the cascade. With `told_ef`, it is an oracle that gets the real EF."""

    def __init__(self, network: EchoDiffusion, settings: EchoDiffusionSettings, told_ef: bool = False) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = network.to(self.device).eval()
        self.settings = settings
        self.told_ef = told_ef

    @torch.no_grad()
    def generate(self, subject: Subject, frames: int, seed: int) -> Generated:
        """Sample one cine of one subject. The noise depends only on the seed and the subject's name.

        Raises:
            TypeError: the model needs the EF of the real cine, and the subject has none.
        """
        slices, ef_pct = SliceBatch.of_stack(subject).to(self.device), self._ef_pct(subject)
        rng, (rows, columns) = subject_rng(seed, subject), subject.anchor.shape[1:]
        shape = 1, self.settings.video_frames, rows, columns
        coarse_noise = standard_normal(rng, (1, *(size // HALF for size in shape[1:]))).to(self.device)
        fine_noise = standard_normal(rng, shape).to(self.device)
        several = self.settings.slices_at_once
        videos = [
            self._cascade(anchor, position, ef_pct, coarse_noise, fine_noise)
            for anchor, position in zip(slices.anchor.split(several), slices.position.split(several))
        ]
        return Generated(cine=stacked(torch.cat(videos), subject, frames), measures={"ef_wanted_pct": round(ef_pct, 3)})

    def _ef_pct(self, subject: Subject) -> float:
        """Return the EF in % for the condition: the real one of an oracle, or the one predicted from the ECG."""
        if self.told_ef:
            if not isinstance(subject, Example) or subject.ef_pct is None or not math.isfinite(subject.ef_pct):
                raise TypeError(f"the oracle needs an Example with the subject's own EF; {subject.subject} has none")
            return float(subject.ef_pct)
        beat = torch.as_tensor(subject.beat, dtype=torch.float32, device=self.device)
        rr_ms = torch.tensor([subject.rr_ms], dtype=torch.float32, device=self.device)
        return float(self.network.predictor(beat[None], rr_ms))

    def _cascade(self, anchor: Tensor, position: Tensor, ef_pct: float, coarse_noise: Tensor, noise: Tensor) -> Tensor:
        """Sample videos [N, 1, F, Y, X] of some slices, from noise that they share."""
        told = torch.full_like(position, ef_pct)
        small, frames = functional.avg_pool2d(anchor, HALF), coarse_noise.shape[1]
        images, rest = base_images(anchor, frames), middle(small)
        coarse = sample(self.network.base, self.settings, images, rest, told, position, coarse_noise)
        return self.refine(anchor, coarse, told, position, noise)

    def refine(self, anchor: Tensor, coarse: Tensor, ef_pct: Tensor, position: Tensor, noise: Tensor) -> Tensor:
        """Sample the second stage.

        Args:
            anchor: [N, 3, Y, X].
            coarse: [N, 1, F/2, Y/2, X/2], differences from the anchor at half the resolution.
            ef_pct: [N].
            position: [N], z / Z.
            noise: [1, F, Y, X], shared by all slices.

        Returns:
            Videos [N, 1, F, Y, X].
        """
        images = fine_images(anchor, coarse)
        enlarged = middle(anchor) + images[:, NEIGHBOURS:]
        return enlarged + sample(self.network.fine, self.settings.fine, images, enlarged, ef_pct, position, noise)


def sample(
    network: VideoDenoiser,
    settings: CascadeStageSettings,
    images: Tensor,
    rest: Tensor,
    ef_pct: Tensor,
    position: Tensor,
    noise: Tensor,
) -> Tensor:
    """Sample the differences that one stage models.

    Args:
        network: network of the stage.
        settings: settings of the stage.
        images: [N, C, F, Y, X], images of the condition.
        rest: [N, 1, 1 or F, Y, X], the image to which the result is added; the sum is kept in [0, 1].
        ef_pct: [N].
        position: [N], z / Z.
        noise: [1, F, Y, X], shared by all slices.

    Returns:
        [N, 1, F, Y, X].
    """
    everybody = torch.ones_like(position, dtype=torch.bool)
    told, untold = (network.tokens(ef_pct, position, keep) for keep in (everybody, ~everybody))

    def denoise(noisy: Tensor, sigma: float) -> Tensor:
        level = torch.full_like(position, sigma)
        made = guided(partial(network, noisy, level, images), told, untold, settings.guidance)
        return (rest + made).clamp(0, 1) - rest

    sigmas = float(network.sigma_data) * edm.levels(settings.steps, *SIGMA_RANGE)
    return edm.solve(denoise, noise.expand(len(position), *noise.shape), sigmas)


class EchoDiffusionFamily:
    """EchoDiffusion on slices: a cascade of video diffusion models, conditioned on an EF predicted from the ECG."""

    def fit(
        self,
        train: Sequence[Example],
        validation: Sequence[Example],
        settings: EchoDiffusionSettings,
        seed: int,
        run: Run,
    ) -> Save:
        """Train the predictor of the EF and both stages by `cof.models.video.echodiffusion.fit`."""
        return saving(*fit(train, validation, settings, seed, run))

    def load(self, folder: Path, settings: EchoDiffusionSettings) -> EchoDiffusionModel:
        """Load the trained model in `folder`."""
        return EchoDiffusionModel(restored(EchoDiffusion(settings), folder), settings)
