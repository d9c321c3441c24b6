"""The displacement regressed in one shot: what is left of Chain of Flow without its flow.

It keeps everything of Chain of Flow (`cof.models.flow.cof`) but the flow: the same field over position and phase with
the same anatomy and ECG, the same registered motion, batches and weights of voxels. It changes what the field predicts:
the displacement u_t itself instead of its rate of change, so that nothing is integrated, and frame 0, which integration
would start from, is set to the anchor. The loss is eq (9) with u_t in the place of v*:

    | (u_theta(x, t, c) - u_t(x)) / sigma_u |^2

The paper has no such row. It answers whether the chain anatomy, velocity, displacement is worth its detour.
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from cof.config.baselines import RegressionSettings
from cof.models.base import Example, Generated, Save, Subject
from cof.models.flow.matching import encode_subject
from cof.models.flow.objective import Objective
from cof.models.flow.velocity import VelocityField
from cof.models.weights import restored, saving
from cof.motion.path import DisplacementPath
from cof.training.run import Run

PHASES_AT_ONCE = 16


class RegressionModel:
    """A trained field of displacement."""

    def __init__(self, network: VelocityField) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = network.to(self.device, memory_format=torch.channels_last_3d).eval()  # type: ignore[call-overload]

    @torch.no_grad()
    def generate(self, subject: Subject, frames: int, seed: int) -> Generated:
        """The displacement of one subject; deterministic, so that the seed plays no part."""
        condition = encode_subject(self.network, subject, self.device)
        phases = torch.arange(frames, device=self.device) / frames
        displacement = torch.cat([self.network(part[None], condition)[0] for part in phases.split(PHASES_AT_ONCE)])
        displacement[0] = 0
        return Generated(displacement=displacement.cpu())


class RegressionFamily:
    """ECG-conditioned regression of the displacement in one shot: the field of COF without the flow."""

    def fit(
        self, train: Sequence[Example], validation: Sequence[Example], settings: RegressionSettings, seed: int, run: Run
    ) -> Save:
        """Train as `cof.models.flow.training.fit` does, on the displacement."""
        from cof.models.flow import training  # heavy, and no part of generation

        objective = Objective(VelocityField, DisplacementPath.displacement)
        return saving(*training.fit(train, validation, settings, seed, run, objective))

    def load(self, folder: Path, settings: RegressionSettings) -> RegressionModel:
        """The trained model in `folder`."""
        return RegressionModel(restored(VelocityField(settings.field), folder))
