"""LFDM (Ni et al., Conditional image-to-video generation with latent flow diffusion models, CVPR 2023), on slices.

Kept of the original: an autoencoder that has a frame as flow and occlusion of the given image at a quarter of its
resolution; its generator, which pulls the image's features along the flow, multiplies them by the occlusion and decodes
them with skips treated likewise, from two halvings and six residual blocks; a diffusion model with 1000 cosine levels
over flow and 2 m - 1 of the occlusion, for the whole video at once, with the image's bottleneck features concatenated;
the condition dropped from a tenth of the examples; DDIM.

Changed, and why:

- The video is one short-axis slice over the cycle, 2D + t, with an embedding of the slice's place in the stack. The
  image has three channels, the anchor at z - 1, z and z + 1, since the heart moves through the plane.
- Slices are generated together from the same noise: independent noise would tear the stack apart along z.
- Flow and occlusion come straight from a U-Net on anchor and frame. The original's ten regions with affine motions are
  made for articulated bodies, and its equivariance loss serves them.
- L1 on a pyramid and SSIM take the place of a perceptual network, whose weights would have to be downloaded.
- The ECG takes the place of text: tokens around the cycle, by cross-attention; and because it runs in step with the
  video, as text does not, every frame also has the phase and the tokens at that phase as channels.
- The network predicts the motion in place of its noise. At the last levels hardly anything but noise is left, so that
  an error of the noise is multiplied a hundredfold there; the original clips the result dynamically.
- Flow is divided by its RMS over the training slices, so that it has the noise's scale.
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

# Batches whose flow gives its scale.
SCALE_BATCHES = 8


class Lfdm(nn.Module):
    """Autoencoder and diffusion model, which are trained one after the other."""

    def __init__(self, settings: LfdmSettings) -> None:
        super().__init__()
        self.autoencoder = FlowAutoencoder(settings.autoencoder)
        self.diffusion = FlowDiffusion(settings.diffusion, self.autoencoder.bottleneck)


class LfdmModel:
    """Trained networks, and how noise becomes motion."""

    def __init__(self, network: Lfdm, settings: LfdmSettings) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = network.to(self.device).eval()
        self.settings = settings

    @torch.no_grad()
    def generate(self, subject: Subject, frames: int, seed: int) -> Generated:
        """The cine of one subject: motion of all valid slices at once, which then moves the anchor.

        Seed and name decide the noise, which all slices share.
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
    """Random slices with a few random frames of each: pairs of anchor and frame, for the autoencoder."""

    settings: LfdmSettings

    def load(self, items: Sequence[SliceItem]) -> SliceBatch:
        """Read slices; their videos have the frames that were drawn, in no order."""
        slices, wanted = self.slices(items), self.settings.autoencoder.frames
        video = _video(slices)
        drawn = [torch.from_numpy(item.rng().permutation(video.shape[1])[:wanted]) for item in items]
        chosen = torch.stack([frames[places] for frames, places in zip(video, drawn)])
        return replace(slices, video=chosen[:, None])


@dataclass(frozen=True)
class NoisedBatch:
    """N slices and what noise their motion gets.

    Attributes:
        slices: with their videos.
        noise: [N, 3, F, Y/4, X/4].
        levels: noise levels [N].
        keep: bools [N]; where false, the ECG is dropped.
    """

    slices: SliceBatch
    noise: Tensor
    levels: Tensor
    keep: Tensor

    def to(self, device: torch.device) -> "NoisedBatch":
        """The same batch on `device`."""
        return NoisedBatch(self.slices.to(device), self.noise.to(device), self.levels.to(device), self.keep.to(device))


class NoisedSlices(Slices):
    """Random slices at random noise levels, of which some lose their ECG. Held-out ones keep it."""

    settings: LfdmSettings

    def load(self, items: Sequence[SliceItem]) -> NoisedBatch:  # type: ignore[override]
        """Read slices, and draw the noise of each."""
        slices = self.slices(items)
        _, frames, rows, columns = _video(slices).shape
        return NoisedBatch(slices, *self.noise(items, (MOTION, frames, rows // QUARTER, columns // QUARTER)))

    def noise(self, items: Sequence[SliceItem], shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """Noise of a shape, noise levels and whether the ECG is kept: `NoisedBatch.noise`, `.levels`, `.keep`."""
        noise, levels, keep = [], [], []
        for item in items:
            rng = item.rng()
            keep.append(item.held_out or rng.random() >= self.settings.drop)
            levels.append(int(rng.integers(LEVELS)))
            noise.append(torch.from_numpy(rng.standard_normal(shape, "float32")))
        return torch.stack(noise), torch.tensor(levels), torch.tensor(keep)


def _video(slices: SliceBatch) -> Tensor:
    """[N, F, Y, X]."""
    assert slices.video is not None
    return slices.video[:, 0]


def _autoencoder_loss(network: FlowAutoencoder, slices: SliceBatch) -> Loss:
    return autoencoder_loss(network, slices.anchor, _video(slices))


def diffusion_loss(autoencoder: FlowAutoencoder, network: FlowDiffusion, batch: NoisedBatch) -> Loss:
    """Mean squared error of motion that is found in its mixture with noise."""
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
    """Root mean square of the flow over some training slices, in quarter voxels."""
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
        validation: subjects whose loss is logged and steers nothing; may be empty.
        settings: the model's.
        seed: of initial weights and of whatever is drawn.
        run: where the trainings run and what they resume from.

    Returns:
        The networks on the CPU and the logs of both, whose column `part` tells them apart.

    Raises:
        UsageError: the networks cannot halve frames, rows and columns as often as they should.
    """
    from cof.training import loop  # heavy, and no part of generation

    halved = 2 ** (len(settings.diffusion.channels) - 1)
    multiple = max(MULTIPLE, QUARTER * halved)
    rows, columns = train[0].anchor.shape[1:]
    if rows % multiple or columns % multiple or settings.video_frames % halved:
        raise UsageError(
            f"lfdm: rows and columns ({rows} x {columns}) must be multiples of {multiple}, "
            f"frames ({settings.video_frames}) of {halved}"
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
    """The family of `LfdmSettings`."""

    def fit(
        self, train: Sequence[Example], validation: Sequence[Example], settings: LfdmSettings, seed: int, run: Run
    ) -> Save:
        """Train autoencoder and diffusion model; see `fit`."""
        return saving(*fit(train, validation, settings, seed, run))

    def load(self, folder: Path, settings: LfdmSettings) -> LfdmModel:
        """The trained model in `folder`."""
        return LfdmModel(restored(Lfdm(settings), folder), settings)
