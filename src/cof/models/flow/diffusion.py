"""COF-w/ Diffusion, the paper's ablation of the flow: the displacement is sampled by a diffusion model.

Conditions, network and supervision are those of Chain of Flow; a denoising diffusion model takes the place of the flow.
The noise and its schedule are those of DDPM (Ho et al., NeurIPS 2020) with 1,000 noise levels on a cosine schedule
(Nichol and Dhariwal, ICML 2021). The network predicts the clean displacement. Sampling is DDIM with eta 0 (Song et al.,
ICLR 2021). The schedulers are those of MONAI.

The paper only names this ablation. We chose the rest:

- The velocity field becomes a denoiser. The noisy displacement u_t / sigma_u is three more input channels beside the
  position, and an embedding of the noise level is added to that of phase and ECG. The phase scales every residual block
  (`field.modes: 0`), because the input differs from phase to phase.
- The network predicts the displacement u_t, not the velocity v*: the independent errors of sampled velocities would add
  up to a drift when integrated.
- Each phase is denoised independently. All phases share one noise tensor, so the deterministic DDIM gives a motion that
  is as smooth over the cycle as the denoiser is.
- Frame 0 is the anchor: its displacement is zero and is not sampled.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from monai.networks.nets.diffusion_model_unet import get_timestep_embedding
from torch import Tensor, nn

from cof.config.baselines import DiffusionSettings
from cof.config.flow import VelocitySettings
from cof.models.base import Example, Generated, Save, Subject
from cof.models.ddim import LEVELS, ddim, noising
from cof.models.flow.matching import MatchingBatch, encode_subject, weighted_mean
from cof.models.flow.objective import Item, Objective, Phases
from cof.models.flow.velocity import AXES, Condition, VelocityField, per_phase
from cof.models.noise import standard_normal, subject_rng
from cof.models.weights import restored, saving
from cof.motion.convolution import Conv3d
from cof.motion.path import DisplacementPath
from cof.motion.resolution import motion_shape
from cof.training.run import Loss, Run

WAVES = 64


class Denoiser(VelocityField):
    """The network of COF with a noisy displacement as a further input; it predicts the clean displacement.

    Its buffer `sigma` is sigma_u, the root mean square of the displacement in the training hearts along each axis, mm.
    """

    def __init__(self, settings: VelocitySettings) -> None:
        super().__init__(settings)
        # A convolution of concatenated channels is the sum of two convolutions. That of the position is the same for
        # all phases of a subject, so it is computed once.
        self.noisy = Conv3d(AXES, settings.channels[0], 3, padding=1, bias=False)
        width = settings.embedding
        self.level = nn.Sequential(nn.Linear(WAVES, width), nn.SiLU(), nn.Linear(width, width))

    def denoise(self, noisy: Tensor, level: Tensor, phase: Tensor, condition: Condition) -> Tensor:
        """Predict the clean displacement from a noisy one.

        Args:
            noisy: [B, P, 3, Z, Y/2, X/2] in units of sigma_u.
            level: [B, P], noise levels from 0 to 999.
            phase: [B, P], phases in the cycle.
            condition: encoded condition of the B subjects.

        Returns:
            The clean displacement, with the shape and units of `noisy`.
        """
        waves = get_timestep_embedding(level.flatten(), WAVES)
        embedding = self._embedding(phase, condition).flatten(0, 1) + self.level(waves)
        position = per_phase(condition.position, phase.shape[1]) + self.noisy(noisy.flatten(0, 1))
        features = self._unet(replace(condition, position=position), embedding)
        return self.head(features, embedding).float().unflatten(0, phase.shape)


@dataclass(frozen=True)
class NoisyBatch:
    """A batch of subjects at some phases, with the noise to add to their displacement.

    Attributes:
        hearts: B subjects with P phases each.
        level: [B, P], noise levels.
        noise: [B, P, 3, Z, Y/2, X/2].
    """

    hearts: MatchingBatch
    level: Tensor
    noise: Tensor

    def to(self, device: torch.device) -> Self:
        """Return the same batch on `device`."""
        return replace(self, hearts=self.hearts.to(device), level=self.level.to(device), noise=self.noise.to(device))


class NoisyPhases(Phases):
    """Source of training batches: subjects at random phases, with independent noise for every phase.

    The noise levels of a subject are spread over the schedule: one random level in each of P equal parts.
    """

    def load(self, items: Sequence[Item]) -> NoisyBatch:
        """Read the subjects and draw their noise."""
        hearts = self.hearts(items)
        levels, noise = [], []
        for item in items:
            rng, count = np.random.default_rng(item.seed), len(item.phase)
            levels.append(rng.permutation((np.arange(count) + rng.random(count)) / count * LEVELS).astype(np.int64))
            noise.append(standard_normal(rng, tuple(hearts.target.shape[1:])))
        return NoisyBatch(hearts, torch.from_numpy(np.stack(levels)), torch.stack(noise))


def loss(network: Denoiser, batch: NoisyBatch) -> Loss:
    """Compute the mean of |u^ - u_t|^2 in units of sigma_u; positions have the same weights as in flow matching."""
    hearts = batch.hearts
    condition = network.encode(hearts.anchor, hearts.valid, hearts.beat, hearts.rr_ms, hearts.features)
    clean = hearts.target / network.sigma[:, None, None, None]
    noisy = noising().add_noise(clean, batch.noise, batch.level)
    predicted = network.denoise(noisy, batch.level, hearts.phase, condition)
    return Loss(weighted_mean(predicted - clean, hearts), hearts.weight.sum())


class DiffusionModel:
    """A trained denoiser, with DDIM as its sampler."""

    def __init__(self, network: Denoiser, settings: DiffusionSettings) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = network.to(self.device, memory_format=torch.channels_last_3d).eval()  # type: ignore[call-overload]
        self.settings = settings

    @torch.no_grad()
    def generate(self, subject: Subject, frames: int, seed: int) -> Generated:
        """Sample one displacement of one subject. The noise depends on the seed and the subject's name alone."""
        condition = encode_subject(self.network, subject, self.device)
        noise = standard_normal(subject_rng(seed, subject), (AXES, *motion_shape(subject.placement.shape)))
        displacement = torch.zeros(frames, *noise.shape)
        parts = (torch.arange(1, frames, device=self.device) / frames).split(self.settings.phases_at_once)
        moved = torch.cat([self._sample(part, condition, noise.to(self.device)) for part in parts])
        displacement[1:] = (moved * self.network.sigma[:, None, None, None]).cpu()
        return Generated(displacement=displacement)

    def _sample(self, phases: Tensor, condition: Condition, noise: Tensor) -> Tensor:
        """Sample the displacement [P, 3, Z, Y/2, X/2], in units of sigma_u, at phases [P] from their shared noise."""

        def denoise(sample: Tensor, level: int) -> Tensor:
            levels = torch.full_like(phases, level)
            return self.network.denoise(sample[None], levels[None], phases[None], condition)[0]

        return ddim(denoise, noise.expand(len(phases), *noise.shape), self.settings.steps)


class DiffusionFamily:
    """COF-w/ Diffusion: the displacement is sampled by a diffusion model with COF's network and conditions."""

    def fit(
        self, train: Sequence[Example], validation: Sequence[Example], settings: DiffusionSettings, seed: int, run: Run
    ) -> Save:
        """Train by `cof.models.flow.training.fit` to denoise the displacement."""
        from cof.models.flow import training  # here, because the import is slow and generation does not need it

        objective = Objective(Denoiser, DisplacementPath.displacement, NoisyPhases, loss, entries=("encode", "denoise"))
        return saving(*training.fit(train, validation, settings, seed, run, objective))

    def load(self, folder: Path, settings: DiffusionSettings) -> DiffusionModel:
        """Load the trained model in `folder`."""
        return DiffusionModel(restored(Denoiser(settings.field), folder), settings)
