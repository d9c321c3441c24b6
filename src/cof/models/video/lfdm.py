"""LFDM (Ni et al., Conditional image-to-video generation with latent flow diffusion models, CVPR 2023), on slices.

Kept from the original:

- An autoencoder encodes a frame as flow and occlusion of the given image, at a quarter of the resolution. Its generator
  warps the image's features by the flow, multiplies them by the occlusion, and decodes them with skips treated in the
  same way. It has two halvings and six residual blocks.
- A diffusion model with 1000 noise levels on a cosine schedule generates flow and 2 m - 1 (m the occlusion) for the
  whole video at once, with the image's bottleneck features concatenated.
- The condition is dropped in a tenth of the training examples. Sampling is DDIM.

Changed, with the reasons:

- The video is one short-axis slice over the cycle, 2D + t, with an embedding of the position of the slice in the stack.
  The image has three channels, the anchor at z - 1, z and z + 1, because the heart moves through the plane.
- All slices of a heart are generated from the same noise: independent noise would make the stack discontinuous along z.
- A U-Net predicts flow and occlusion directly from anchor and frame. The original's ten regions with affine motions are
  made for articulated bodies, and its equivariance loss is only for them.
- L1 on a pyramid of resolutions and SSIM replace the loss by a perceptual network, whose weights would have to be
  downloaded.
- The ECG replaces the text: tokens around the cycle, by cross-attention. Unlike text, the ECG is synchronous with the
  video, so every frame also has the phase and the ECG tokens at that phase as channels.
- The network predicts the motion instead of its noise. At the highest noise levels almost only noise is left, so an
  error of predicted noise would be amplified a hundredfold; the original clips the result dynamically.
- Flow is divided by its RMS over the training slices, to have the scale of the noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from cof.config.baselines import LfdmSettings
from cof.errors import UsageError
from cof.models.base import Example, Generated, Save, Subject
from cof.models.ddim import LEVELS, ddim, noising
from cof.models.noise import standard_normal, subject_rng
from cof.models.video.flow_autoencoder import FLOW, MOTION, MULTIPLE, QUARTER, FlowAutoencoder, autoencoder_loss
from cof.models.video.flow_diffusion import FlowDiffusion
from cof.models.video.guidance import guided
from cof.models.video.slices import SliceBatch, SliceItem, Slices, stacked
from cof.models.weights import restored, saving
from cof.training.run import Loss, Run

# Number of batches from which the RMS of the flow is estimated.
SCALE_BATCHES = 8


class Lfdm(nn.Module):
    """The two networks of LFDM, autoencoder and diffusion model, which are trained one after the other."""

    def __init__(self, settings: LfdmSettings) -> None:
        super().__init__()
        self.autoencoder = FlowAutoencoder(settings.autoencoder)
        self.diffusion = FlowDiffusion(settings.diffusion, self.autoencoder.bottleneck)


class LfdmModel:
    """The trained networks of LFDM, with the sampler of motion."""

    def __init__(self, network: Lfdm, settings: LfdmSettings) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = network.to(self.device).eval()
        self.settings = settings

    @torch.no_grad()
    def generate(self, subject: Subject, frames: int, seed: int) -> Generated:
        """Generate the cine of one subject: sample the motion of all valid slices at once, and move the anchor by it.

        All slices share one noise tensor, which depends only on the seed and the subject's name.
        """
        settings, autoencoder, diffusion = self.settings, self.network.autoencoder, self.network.diffusion
        slices = SliceBatch.of_stack(subject).to(self.device)
        features = autoencoder.features(slices.anchor)
        count, _, h, w = features[-1].shape
        conditional, unconditional = (
            diffusion.encode(
                features[-1], slices.position, slices.beat, slices.rr_ms, torch.full((count,), keep, device=self.device)
            )
            for keep in (True, False)
        )

        def denoise(noisy: Tensor, level: int) -> Tensor:
            levels = torch.full((count,), level, device=self.device)
            return guided(partial(diffusion, noisy, levels), conditional, unconditional, settings.guidance)

        shape = (1, MOTION, settings.video_frames, h, w)
        noise = standard_normal(subject_rng(seed, subject), shape).to(self.device)
        sample = ddim(denoise, noise.expand(count, -1, -1, -1, -1), settings.steps)
        videos = autoencoder.draw(slices.anchor, features, diffusion.unscaled(sample))
        return Generated(cine=stacked(videos[:, None], subject, frames))


class FewFrames(Slices):
    """Source of training batches for the autoencoder: random slices, each with a few random frames."""

    settings: LfdmSettings

    def load(self, items: Sequence[SliceItem]) -> SliceBatch:
        """Read the slices; their videos have only the drawn frames, in random order."""
        slices, wanted = self.slices(items), self.settings.autoencoder.frames
        video = _video(slices)
        drawn = [torch.from_numpy(item.rng().permutation(video.shape[1])[:wanted]) for item in items]
        chosen = torch.stack([frames[places] for frames, places in zip(video, drawn)])
        return replace(slices, video=chosen[:, None])


@dataclass(frozen=True)
class NoisedBatch:
    """N slices, with the noise to add to their motion.

    Attributes:
        slices: the slices with their videos.
        noise: [N, 3, F, Y/4, X/4].
        levels: [N], noise levels.
        keep: bool [N]; where false, the ECG is dropped.
    """

    slices: SliceBatch
    noise: Tensor
    levels: Tensor
    keep: Tensor

    def to(self, device: torch.device) -> "NoisedBatch":
        """Return the same batch on `device`."""
        return NoisedBatch(self.slices.to(device), self.noise.to(device), self.levels.to(device), self.keep.to(device))


class NoisedSlices(Slices):
    """Source of training batches for the diffusion model: random slices at random noise levels.

    The ECG of a random share of them is dropped; held-out slices keep it.
    """

    settings: LfdmSettings

    def load(self, items: Sequence[SliceItem]) -> NoisedBatch:  # type: ignore[override]
        """Read the slices, and draw the noise of each."""
        slices = self.slices(items)
        _, frames, rows, columns = _video(slices).shape
        return NoisedBatch(slices, *self.noise(items, (MOTION, frames, rows // QUARTER, columns // QUARTER)))

    def noise(self, items: Sequence[SliceItem], shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """Draw `noise`, `levels` and `keep` of a `NoisedBatch`, with noise of the given shape per slice."""
        noise, levels, keep = [], [], []
        for item in items:
            rng = item.rng()
            keep.append(item.held_out or rng.random() >= self.settings.drop)
            levels.append(int(rng.integers(LEVELS)))
            noise.append(torch.from_numpy(rng.standard_normal(shape, "float32")))
        return torch.stack(noise), torch.tensor(levels), torch.tensor(keep)


def _video(slices: SliceBatch) -> Tensor:
    """Return the videos of slices as [N, F, Y, X]."""
    assert slices.video is not None
    return slices.video[:, 0]


def _autoencoder_loss(network: FlowAutoencoder, slices: SliceBatch) -> Loss:
    return autoencoder_loss(network, slices.anchor, _video(slices))


def diffusion_loss(autoencoder: FlowAutoencoder, network: FlowDiffusion, batch: NoisedBatch) -> Loss:
    """Compute the mean squared error of the motion that the network predicts from noisy motion."""
    slices = batch.slices
    autoencoder.to(slices.anchor.device)
    with torch.no_grad():
        motion = network.scaled(autoencoder.motion(slices.anchor, _video(slices)))
        anatomy = autoencoder.features(slices.anchor)[-1]
    noisy = noising().add_noise(motion, batch.noise, batch.levels)
    condition = network.encode(anatomy, slices.position, slices.beat, slices.rr_ms, batch.keep)
    error = (network(noisy, batch.levels, condition).float() - motion).square()
    return Loss(error.mean(), len(motion), {"flow": error[:, :FLOW].mean(), "visibility": error[:, FLOW:].mean()})


@torch.no_grad()
def flow_scale(autoencoder: FlowAutoencoder, source: Slices) -> Tensor:
    """Compute the root mean square of the flow over some training slices, in quarter voxels."""
    squares = []
    for iteration in range(1, SCALE_BATCHES + 1):
        slices = source.slices(source.draw(iteration))
        squares.append(autoencoder.motion(slices.anchor, _video(slices))[:, :FLOW].square().mean())
    return torch.stack(squares).mean().sqrt().clamp(min=1e-3)


def fit(
    train: Sequence[Example], validation: Sequence[Example], settings: LfdmSettings, seed: int, run: Run
) -> tuple[Lfdm, pd.DataFrame]:
    """Train the autoencoder, then the diffusion model on its flow and visibility.

    Args:
        train: training subjects, all on one canonical grid, each with its cine.
        validation: validation subjects, for the logged loss and for trials of the learning rate. May be empty.
        settings: settings of the model.
        seed: seed of initial weights and of all random draws.
        run: devices of the trainings, and the checkpoints to resume from.

    Returns:
        The networks on the CPU, and the logs of both trainings in one table; the column `part` names the training.

    Raises:
        UsageError: the number of frames, rows or columns is not a multiple of what the networks need.
    """
    from cof.training import loop  # here, because the import is slow and generation does not need it

    halved = 2 ** (len(settings.diffusion.channels) - 1)
    multiple = max(MULTIPLE, QUARTER * halved)
    rows, columns = train[0].anchor.shape[1:]
    if rows % multiple or columns % multiple or settings.video_frames % halved:
        raise UsageError(
            f"lfdm: the canonical grid has {rows} rows and {columns} columns, which must be multiples of {multiple}; "
            f"video_frames is {settings.video_frames}, which must be a multiple of {halved}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Lfdm(settings)
    pairs = FewFrames(train, validation, settings.model_copy(update={"batch": settings.autoencoder.batch}), seed)
    autoencoder, autoencoder_log = loop.fit(
        network.autoencoder, _autoencoder_loss, pairs, settings.autoencoder, run.part("autoencoder"),
        log_every=settings.autoencoder.checkpoint_every, last=False,
    )  # fmt: skip
    network.autoencoder = autoencoder.requires_grad_(False)
    network.diffusion.scale.copy_(flow_scale(autoencoder, pairs))
    network.diffusion, log = loop.fit(
        network.diffusion, partial(diffusion_loss, autoencoder), NoisedSlices(train, validation, settings, seed),
        settings, run.part("diffusion"), log_every=settings.checkpoint_every, entries=("encode", "forward"),
    )  # fmt: skip
    autoencoder.cpu()
    table = pd.concat([autoencoder_log.assign(part="autoencoder"), log.assign(part="diffusion")], ignore_index=True)
    return network, table.rename(columns={"loss": "train_loss"})


class LfdmFamily:
    """LFDM on slices: latent flow diffusion, conditioned on the anchor and the ECG."""

    def fit(
        self, train: Sequence[Example], validation: Sequence[Example], settings: LfdmSettings, seed: int, run: Run
    ) -> Save:
        """Train autoencoder and diffusion model by `cof.models.video.lfdm.fit`."""
        return saving(*fit(train, validation, settings, seed, run))

    def load(self, folder: Path, settings: LfdmSettings) -> LfdmModel:
        """Load the trained model in `folder`."""
        return LfdmModel(restored(Lfdm(settings), folder), settings)
