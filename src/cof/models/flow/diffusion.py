"""COF-w/ Diffusion, the paper's ablation of the flow: the displacement is sampled by a diffusion model.

Of the paper's row it keeps what its name says: conditions, network and supervision are those of Chain of Flow, and a
denoising diffusion model stands in the place of the flow. Noise and its schedule are those of DDPM (Ho et al., NeurIPS
2020) with 1,000 levels along a cosine (Nichol and Dhariwal, ICML 2021); the network predicts the clean field; sampling
is DDIM with eta 0 (Song et al., ICLR 2021). Scheduling and steps are MONAI's.

The paper gives no more than the name. Chosen here, and why:

- The field of velocity becomes a denoiser: the noisy displacement u_t / sigma_u enters as three more channels beside
  position, and an embedding of the noise level joins that of phase and ECG. The phase scales every residual block
  (`field.modes: 0`), since the input differs from phase to phase.
- It predicts the displacement u_t, not v*: integrated, the independent errors of sampled velocities would add up to a
  drift.
- Phases are denoised one by one, so what holds a cycle together is the noise: one noise tensor, shared by all phases,
  from which the deterministic DDIM makes a motion that is as smooth in the phase as the denoiser is.
- Frame 0 is the anchor, so that its displacement is zero and not sampled.
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
    """The field of COF with a noisy displacement as its further input: it predicts the clean one.

    Its `sigma` is sigma_u, the root mean square of the displacement in the training hearts along each axis, in mm.
    """

    def __init__(self, settings: VelocitySettings) -> None:
        super().__init__(settings)
        # A convolution of concatenated channels is the sum of two, of which that of the position is the subject's own.
        self.noisy = Conv3d(AXES, settings.channels[0], 3, padding=1, bias=False)
        width = settings.embedding
        self.level = nn.Sequential(nn.Linear(WAVES, width), nn.SiLU(), nn.Linear(width, width))

    def denoise(self, noisy: Tensor, level: Tensor, phase: Tensor, condition: Condition) -> Tensor:
        """The clean displacement that a noisy one hides.

        Args:
            noisy: [B, P, 3, Z, Y/2, X/2] in units of sigma_u.
            level: [B, P], noise levels from 0 to 999.
            phase: [B, P].
            condition: of the B subjects.

        Returns:
            As `noisy`.
        """
        waves = get_timestep_embedding(level.flatten(), WAVES)
        embedding = self._embedding(phase, condition).flatten(0, 1) + self.level(waves)
        position = per_phase(condition.position, phase.shape[1]) + self.noisy(noisy.flatten(0, 1))
        features = self._unet(replace(condition, position=position), embedding)
        return self.head(features, embedding).float().unflatten(0, phase.shape)


@dataclass(frozen=True)
class NoisyBatch:
    """Subjects at phases, and what hides their displacement there.

    Attributes:
        hearts: B subjects with P phases each.
        level: [B, P], noise levels.
        noise: [B, P, 3, Z, Y/2, X/2].
    """

    hearts: MatchingBatch
    level: Tensor
    noise: Tensor

    def to(self, device: torch.device) -> Self:
        """The same batch on `device`."""
        return replace(self, hearts=self.hearts.to(device), level=self.level.to(device), noise=self.noise.to(device))


class NoisyPhases(Phases):
    """Subjects at random phases, each with noise of its own, and a noise level in every equal part of the schedule.

    Phases learn apart, so that here they share no noise.
    """

    def load(self, items: Sequence[Item]) -> NoisyBatch:
        """Read subjects and draw their noise."""
        hearts = self.hearts(items)
        levels, noise = [], []
        for item in items:
            rng, count = np.random.default_rng(item.seed), len(item.phase)
            levels.append(rng.permutation((np.arange(count) + rng.random(count)) / count * LEVELS).astype(np.int64))
            noise.append(standard_normal(rng, tuple(hearts.target.shape[1:])))
        return NoisyBatch(hearts, torch.from_numpy(np.stack(levels)), torch.stack(noise))


def loss(network: Denoiser, batch: NoisyBatch) -> Loss:
    """Mean of |u^ - u_t|^2 in units of sigma_u, positions weighted as for the flow."""
    hearts = batch.hearts
    condition = network.encode(hearts.anchor, hearts.valid, hearts.beat, hearts.rr_ms, hearts.features)
    clean = hearts.target / network.sigma[:, None, None, None]
    noisy = noising().add_noise(clean, batch.noise, batch.level)
    predicted = network.denoise(noisy, batch.level, hearts.phase, condition)
    return Loss(weighted_mean(predicted - clean, hearts), hearts.weight.sum())


class DiffusionModel:
    """A trained denoiser and the DDIM that samples motion with it."""

    def __init__(self, network: Denoiser, settings: DiffusionSettings) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = network.to(self.device, memory_format=torch.channels_last_3d).eval()  # type: ignore[call-overload]
        self.settings = settings

    @torch.no_grad()
    def generate(self, subject: Subject, frames: int, seed: int) -> Generated:
        """One motion of one subject, which seed and name decide."""
        condition = encode_subject(self.network, subject, self.device)
        noise = standard_normal(subject_rng(seed, subject), (AXES, *motion_shape(subject.placement.shape)))
        displacement = torch.zeros(frames, *noise.shape)
        parts = (torch.arange(1, frames, device=self.device) / frames).split(self.settings.phases_at_once)
        moved = torch.cat([self._sample(part, condition, noise.to(self.device)) for part in parts])
        displacement[1:] = (moved * self.network.sigma[:, None, None, None]).cpu()
        return Generated(displacement=displacement)

    def _sample(self, phases: Tensor, condition: Condition, noise: Tensor) -> Tensor:
        """Displacement [P, 3, Z, Y/2, X/2] in units of sigma_u at some phases [P], from the noise that all share."""

        def denoise(sample: Tensor, level: int) -> Tensor:
            levels = torch.full_like(phases, level)
            return self.network.denoise(sample[None], levels[None], phases[None], condition)[0]

        return ddim(denoise, noise.expand(len(phases), *noise.shape), self.settings.steps)


class DiffusionFamily:
    """COF-w/ Diffusion: the displacement is sampled by a diffusion model with COF's network and conditions."""

    def fit(
        self, train: Sequence[Example], validation: Sequence[Example], settings: DiffusionSettings, seed: int, run: Run
    ) -> Save:
        """Train as `cof.models.flow.training.fit` does, to denoise the displacement."""
        from cof.models.flow import training  # heavy, and no part of generation

        objective = Objective(Denoiser, DisplacementPath.displacement, NoisyPhases, loss, entries=("encode", "denoise"))
        return saving(*training.fit(train, validation, settings, seed, run, objective))

    def load(self, folder: Path, settings: DiffusionSettings) -> DiffusionModel:
        """The trained model in `folder`."""
        return DiffusionModel(restored(Denoiser(settings.field), folder), settings)
