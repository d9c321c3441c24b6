"""Chain of Flow: from anchor and ECG to velocity, from velocity to motion (eqs (8) to (10) of the paper)."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from cof.config.flow import CofSettings
from cof.models.base import Example, Generated, Save, Subject
from cof.models.flow.matching import encode_subject, heart_mask
from cof.models.flow.objective import flow_matching
from cof.models.flow.ode import integrate
from cof.models.flow.velocity import VelocityField
from cof.models.weights import restored, saving
from cof.motion.path import DisplacementPath
from cof.motion.resolution import motion_spacing
from cof.training.run import Run


class CofModel:
    """A trained velocity field, and the solver that integrates it to a displacement."""

    def __init__(self, network: VelocityField, settings: CofSettings) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = network.to(self.device, memory_format=torch.channels_last_3d).eval()  # type: ignore[call-overload]
        self.settings = settings

    @torch.no_grad()
    def generate(self, subject: Subject, frames: int, seed: int) -> Generated:
        """Generate the displacement of one subject. It is deterministic, so the seed has no effect.

        With an anchor at phase s, a field trained with `anchor: any` predicts the velocity of the displacement to that
        anchor, and u_t is the integral from s to t. A field trained with `anchor: ed` always predicts the displacement
        to end diastole; `DisplacementPath.about` converts it to the displacement to the anchor.
        """
        condition = encode_subject(self.network, subject, self.device)

        def at(phases: Tensor) -> Tensor:
            return phases.float().to(self.device)[None]

        maps = condition.maps
        if maps is None:
            displacement, residual = integrate(
                lambda phases: self.network(at(phases), condition)[0], frames, self.settings.ode
            )
        else:  # integrate only the modes' courses, which are a few numbers per phase: the maps do not change over time
            courses, rest = integrate(
                lambda phases: self.network.courses(at(phases), condition)[0], frames, self.settings.ode
            )
            displacement = self.network.combine(maps, courses[None])[0]
            residual = self.network.combine(maps, rest[None, None])[0, 0]
        if subject.anchor_phase:
            displacement = self._from_anchor(displacement, subject)
        heart = heart_mask(subject.anchor_labels).bool()
        closure = residual.norm(dim=0).cpu()[heart]
        measures = {"closure_mm": round(float(closure.mean()), 4)} if len(closure) else {}
        return Generated(displacement=displacement.cpu(), measures=measures)

    def _from_anchor(self, displacement: Tensor, subject: Subject) -> Tensor:
        """Convert a displacement [T, ...] that is zero at phase 0 to one that is zero at the anchor."""
        phase = subject.anchor_phase
        if self.settings.field.anchor == "ed":
            path = DisplacementPath(displacement)
            return path.about(phase, motion_spacing(subject.placement.spacing_mm)).knots
        return DisplacementPath.pinned(displacement, phase).knots


class CofFamily:
    """Chain of Flow: a velocity field, conditioned on the anchor and the ECG, whose integral is the displacement."""

    def fit(
        self, train: Sequence[Example], validation: Sequence[Example], settings: CofSettings, seed: int, run: Run
    ) -> Save:
        """Train by flow matching, as `cof.models.flow.training.fit` does."""
        from cof.models.flow import training  # here, because the import is slow and generation does not need it

        objective = flow_matching(settings.displacement_weight, settings.scaled_axes)
        return saving(*training.fit(train, validation, settings, seed, run, objective))

    def load(self, folder: Path, settings: CofSettings) -> CofModel:
        """Load the trained model in `folder`."""
        return CofModel(restored(VelocityField(settings.field), folder), settings)
