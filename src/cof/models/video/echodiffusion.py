"""EchoDiffusion on short-axis slices: a cascade of video diffusion models, conditioned on an ejection fraction.

Reynaud et al., Feature-conditioned cascaded video diffusion models for precise echocardiogram synthesis, MICCAI 2023
(arXiv:2303.12644); its code builds on Imagen's cascade (Ho et al., arXiv:2210.02303) with EDM (`cof.models.video.edm`).

Kept of the original: a cascade of 2D + t diffusion models that ends in super-resolution conditioned on the stage
before, with noise on that condition in training; EDM preconditioning and noise levels, and DPM-Solver++, which
Imagen's code offers beside Heun's method; an image of the heart concatenated as condition; the ejection fraction (EF)
as the one clinical condition, a token that cross-attention reads at the coarsest level and that is added to the
embedding of the noise level; a tenth of the training examples without it, and classifier-free guidance at scale 5.

Changed, and why:

- The original is told the EF that its video shall show. Here nobody knows the EF of a new subject: it is **predicted**
  from the ECG by a 1-D residual network (`cof.models.video.ef_predictor`) that learnt on the training subjects. The
  cascade learns with their own EF. `cof.models.controls.true_ef` puts the subject's own EF in the place of the
  prediction: an oracle, which a table must name as one.
- The EF is told in units of its spread over the training subjects, in which healthy hearts differ more than in percent.
- The video is one short-axis slice over the cycle, with a second token for its place in the stack; the conditioning
  image is not a random frame but the anchor, with its neighbours z - 1 and z + 1 as further channels.
- All slices of a heart are sampled from the same noise: independent draws would tear the stack apart along z.
- Two stages instead of four: half the resolution along all three axes, then all of it, which is learnt on crops.
- The networks model the difference from the anchor's slice, not the frame itself. What is at rest need not be copied
  through the network, which spares it most of the work at small sizes. Likewise the second stage models what the first
  one, enlarged, still lacks. sigma_data is measured on what each stage models, and the original's noise levels are kept
  in units of it, all but the highest.
- The original thresholds its denoised frames dynamically; here they are clipped to the range of intensities.
- The sampler is the deterministic one, without churn, so that a few steps suffice and the noise shared by the slices
  stays shared. Frame 0 is generated like any other.
- Networks are MONAI's DiffusionModelUNet.
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
# Enough hearts for a standard deviation.
SCALE_SUBJECTS = 64
# Of sampling, in units of sigma_data. The original's lowest is .002 at a sigma_data of .25; its highest, 80, is 320 in
# these units, where nothing is left to see and a sampler of few steps would spend them.
SIGMA_RANGE = 0.008, 80.0


class VideoDenoiser(nn.Module):
    """One stage of the cascade: a U-Net over frames, rows and columns that denoises what moves."""

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
                attention_levels=(False,) * len(channels),  # the block below the coarsest level attends always
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
        """What cross-attention reads, and what is added to the embedding of the noise level, [N, 2, 64].

        Args:
            ef_pct: [N].
            position: [N], z / Z.
            keep: bools [N]; where false, the EF is dropped.
        """
        told = self.ef((ef_pct.nan_to_num()[:, None] - self.ef_mean) / self.ef_sd)
        return torch.stack([torch.where(keep[:, None], told, self.without_ef), self.position(position)], 1)

    def forward(self, noisy: Tensor, sigma: Tensor, images: Tensor, tokens: Tensor) -> Tensor:
        """The clean difference that a noisy one hides.

        Args:
            noisy: [N, 1, F, Y, X].
            sigma: [N], noise levels.
            images: [N, C, F, Y, X], condition.
            tokens: [N, 2, 64], likewise.
        """

        def network(inputs: Tensor, level: Tensor) -> Tensor:
            # MONAI's waves are made for hundreds of steps; the level spans a few units.
            return self.network(torch.cat([inputs, images], 1), 100 * level, tokens, class_labels=tokens).float()

        return edm.denoised(network, noisy, sigma, self.sigma_data)


class EchoDiffusion(nn.Module):
    """The predictor of the EF and the two stages, which are trained one after the other."""

    def __init__(self, settings: EchoDiffusionSettings) -> None:
        super().__init__()
        self.predictor = EfPredictor(settings.predictor)
        self.base = VideoDenoiser(settings, NEIGHBOURS)
        self.fine = VideoDenoiser(settings.fine, NEIGHBOURS + 1)


def halved(videos: Tensor) -> Tensor:
    """Videos [N, C, F, Y, X] as means of 2 x 2 x 2 blocks."""
    return functional.avg_pool3d(videos, HALF)


def doubled(videos: Tensor) -> Tensor:
    """Videos [N, C, F, Y, X] at twice the resolution, by linear interpolation between the centres of blocks."""
    return functional.interpolate(videos, scale_factor=HALF, mode="trilinear", align_corners=False)


def still(anchor: Tensor, frames: int) -> Tensor:
    """Images [N, C, Y, X] as a video [N, C, F, Y, X] without motion."""
    return anchor[:, :, None].expand(-1, -1, frames, -1, -1)


def middle(anchor: Tensor) -> Tensor:
    """The slice itself among its neighbours [N, 3, Y, X], as [N, 1, 1, Y, X]."""
    return anchor[:, 1:2, None]


def difference(slices: SliceBatch) -> Tensor:
    """What moves: the real videos less their anchor, [N, 1, F, Y, X]."""
    assert slices.video is not None
    return slices.video - middle(slices.anchor)


@dataclass(frozen=True)
class StageBatch:
    """What one stage of the cascade learns from.

    Attributes:
        clean: what the stage models, [N, 1, F, Y, X].
        images: condition, [N, C, F, Y, X].
        noise: standard normal, as `clean`.
        sigma: [N], in units of sigma_data.
        ef_pct: [N].
        position: [N].
        keep: bools [N]; where false, the EF is dropped.
    """

    clean: Tensor
    images: Tensor
    noise: Tensor
    sigma: Tensor
    ef_pct: Tensor
    position: Tensor
    keep: Tensor

    def to(self, device: torch.device) -> Self:
        """The same batch on `device`."""
        return type(self)(*(tensor.to(device) for tensor in vars(self).values()))


class StageSlices(Slices, ABC):
    """Random slices as one stage of the cascade sees them. Held-out ones keep their EF."""

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
        """Read slices, and draw noise, its level, and who loses the EF."""
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
        """What is denoised, [N, 1, F, Y, X], and the images that condition it, [N, C, F, Y, X]."""


class BaseSlices(StageSlices):
    """Whole slices at half the resolution, with the anchor."""

    def views(self, slices: SliceBatch, rngs: Sequence[np.random.Generator]) -> tuple[Tensor, Tensor]:
        """See `StageSlices`."""
        clean = halved(difference(slices))
        return clean, base_images(slices.anchor, clean.shape[2])


class FineSlices(StageSlices):
    """Crops of half the rows and columns, with the anchor and the real video at half the resolution, made noisy."""

    def views(self, slices: SliceBatch, rngs: Sequence[np.random.Generator]) -> tuple[Tensor, Tensor]:
        """See `StageSlices`."""
        whole = difference(slices)
        coarse = halved(whole)
        # What the first stage makes is not quite like real videos: noise teaches to trust it only so far.
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
    """The first stage's condition: the anchor [N, 3, Y, X] at half the resolution, [N, 3, F, Y/2, X/2]."""
    return still(functional.avg_pool2d(anchor, HALF), frames)


def fine_images(anchor: Tensor, coarse: Tensor) -> Tensor:
    """The second stage's condition: the anchor, and differences [N, 1, F/2, Y/2, X/2] of the first, [N, 4, F, Y, X]."""
    above = doubled(coarse)
    return torch.cat([still(anchor, above.shape[2]), above], 1)


def stage_loss(network: VideoDenoiser, batch: StageBatch) -> Loss:
    """EDM's loss, equation (8) with lambda = 1 / c_out^2."""
    sigma = batch.sigma * network.sigma_data
    noisy = batch.clean + sigma.view(-1, 1, 1, 1, 1) * batch.noise
    tokens = network.tokens(batch.ef_pct, batch.position, batch.keep)
    error = network(noisy, sigma, batch.images, tokens) - batch.clean
    return Loss(edm.weighted_square(error, sigma, network.sigma_data), len(error))


def scales(examples: Iterable[Example], frames: int) -> tuple[float, float]:
    """sigma_data of both stages: the root mean square of the differences from the anchor at half the resolution, and of
    what these lack of the whole ones."""
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
        validation: subjects whose losses are logged and steer nothing; may be empty.
        settings: the model's.
        seed: of initial weights and of whatever is drawn.
        run: where the trainings run and what they resume from.

    Returns:
        The networks on the CPU and the logs of all three, whose column `part` tells them apart.

    Raises:
        UsageError: frames, rows and columns cannot be halved as often as they should.
    """
    from cof.training import loop  # heavy, and no part of generation

    stride = HALF ** max(len(settings.channels), len(settings.fine.channels))
    size = settings.video_frames, *train[0].anchor.shape[1:]
    if any(length % stride for length in size):
        raise UsageError(f"echodiffusion: frames, rows and columns {size} must be multiples of {stride}")
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
    """Trained networks, and the sampler of the cascade; an oracle where it is told the EF of the real cine."""

    def __init__(self, network: EchoDiffusion, settings: EchoDiffusionSettings, told_ef: bool = False) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = network.to(self.device).eval()
        self.settings = settings
        self.told_ef = told_ef

    @torch.no_grad()
    def generate(self, subject: Subject, frames: int, seed: int) -> Generated:
        """One cine of one subject, which seed and name decide.

        Raises:
            TypeError: the model is told the EF of the real cine, and the subject has none.
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
        """The EF that the heart shall have."""
        if self.told_ef:
            if not isinstance(subject, Example) or subject.ef_pct is None or not math.isfinite(subject.ef_pct):
                raise TypeError("the oracle generates from an Example with the subject's own EF")
            return float(subject.ef_pct)
        beat = torch.as_tensor(subject.beat, dtype=torch.float32, device=self.device)
        rr_ms = torch.tensor([subject.rr_ms], dtype=torch.float32, device=self.device)
        return float(self.network.predictor(beat[None], rr_ms))

    def _cascade(self, anchor: Tensor, position: Tensor, ef_pct: float, coarse_noise: Tensor, noise: Tensor) -> Tensor:
        """Videos [N, 1, F, Y, X] of some slices, from noise that all share."""
        told = torch.full_like(position, ef_pct)
        small, frames = functional.avg_pool2d(anchor, HALF), coarse_noise.shape[1]
        images, rest = base_images(anchor, frames), middle(small)
        coarse = sample(self.network.base, self.settings, images, rest, told, position, coarse_noise)
        return self.refine(anchor, coarse, told, position, noise)

    def refine(self, anchor: Tensor, coarse: Tensor, ef_pct: Tensor, position: Tensor, noise: Tensor) -> Tensor:
        """The second stage.

        Args:
            anchor: [N, 3, Y, X].
            coarse: [N, 1, F/2, Y/2, X/2], differences from the anchor at half the resolution.
            ef_pct: [N].
            position: [N].
            noise: [1, F, Y, X], which all slices share.

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
    """What one stage models, sampled.

    Args:
        network: of the stage.
        settings: of the stage.
        images: [N, C, F, Y, X], condition.
        rest: [N, 1, 1 or F, Y, X], what it is added to; their sum stays in the range of intensities.
        ef_pct: [N].
        position: [N].
        noise: [1, F, Y, X], which all slices share.

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
        """Train the predictor of the EF and both stages; see `fit`."""
        return saving(*fit(train, validation, settings, seed, run))

    def load(self, folder: Path, settings: EchoDiffusionSettings) -> EchoDiffusionModel:
        """The trained model in `folder`."""
        return EchoDiffusionModel(restored(EchoDiffusion(settings), folder), settings)
