"""Direct regression of the displacement: Chain of Flow without its flow.

Network, conditions, registered motion, batches and weights are those of Chain of Flow (`cof.models.flow.cof`). Only the
prediction differs: the network predicts the displacement u_t instead of the velocity. Nothing is integrated, and the
displacement of frame 0, the anchor, is set to zero. The loss is eq (9) with u_t in place of v*:

    | (u_theta(x, t, c) - u_t(x)) / sigma_u |^2

The paper has no such model. It tests whether predicting velocity and integrating it is better than direct regression.
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
    """A trained network that predicts displacement."""

    def __init__(self, network: VelocityField) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = network.to(self.device, memory_format=torch.channels_last_3d).eval()  # type: ignore[call-overload]

    @torch.no_grad()
    def generate(self, subject: Subject, frames: int, seed: int) -> Generated:
        """Predict the displacement of one subject. It is deterministic, so the seed has no effect."""
        condition = encode_subject(self.network, subject, self.device)
        phases = torch.arange(frames, device=self.device) / frames
        displacement = torch.cat([self.network(part[None], condition)[0] for part in phases.split(PHASES_AT_ONCE)])
        displacement[0] = 0
        return Generated(displacement=displacement.cpu())


class RegressionFamily:
    """Direct regression of the displacement: the network and conditions of COF, without the flow."""

    def fit(
        self, train: Sequence[Example], validation: Sequence[Example], settings: RegressionSettings, seed: int, run: Run
    ) -> Save:
        """Train by `cof.models.flow.training.fit` on the displacement."""
        from cof.models.flow import training  # here, because the import is slow and generation does not need it

        objective = Objective(VelocityField, DisplacementPath.displacement)
        return saving(*training.fit(train, validation, settings, seed, run, objective))

    def load(self, folder: Path, settings: RegressionSettings) -> RegressionModel:
        """Load the trained model in `folder`."""
        return RegressionModel(restored(VelocityField(settings.field), folder))
