"""Flow matching, the paper's eq (9): the loss of a velocity field on registered motion.

Eq (9) regresses the velocity of the registered motion at random positions and phases; there is no noise and no source
distribution, so a trained field gives the conditional mean of the motion.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cof.config.base import Triple
from cof.models.alignment import map_displacement
from cof.models.base import Example, Subject, SubjectEcg
from cof.models.flow.ode import integral_weights
from cof.models.flow.velocity import AXES, Condition, VelocityField
from cof.motion.augmentation import AffineMaps
from cof.motion.path import DisplacementPath, Phases
from cof.motion.resolution import IN_PLANE, motion_spacing

# Of the cycle, in a displacement that training compares.
HARMONICS = 12
# Enough hearts for three standard deviations; a larger cohort is not read through for them.
SCALE_SUBJECTS = 256

# What of a motion is matched at some phases: its velocity, or the displacement itself.
Target = Callable[[DisplacementPath, Phases], Tensor]


@dataclass(frozen=True)
class MatchingBatch:
    """B subjects with P phases each.

    Attributes:
        anchor: [B, Z, Y, X].
        valid: [B, Z].
        beat: [B, 12, L] mV.
        rr_ms: [B].
        features: [B, 12] of the ECG.
        weight: [B, Z, Y/2, X/2], zero in slices that do not exist.
        phase: [B, P].
        target: v*, [B, P, 3, Z, Y/2, X/2] in mm a cycle; or the displacement, in mm.
        anchor_phase: [B].
        displacement: at the same phases, in mm, where the loss compares it, too.
        cycle: [B], 1 for a heart whose whole cycle is known, 0 for a pair: its phases are all that of ES, where its
            displacement is known and its velocity is not, so that no velocity is wrong.
    """

    anchor: Tensor
    valid: Tensor
    beat: Tensor
    rr_ms: Tensor
    features: Tensor
    weight: Tensor
    phase: Tensor
    target: Tensor
    anchor_phase: Tensor
    cycle: Tensor
    displacement: Tensor | None = None

    @classmethod
    def of(
        cls,
        examples: Sequence[Example],
        phase: np.ndarray,
        heart_weight: float,
        target: Target = DisplacementPath.velocity,
        with_displacement: bool = False,
    ) -> "MatchingBatch":
        """Collect examples at phases [B, P].

        Raises:
            ValueError: a pair is among them, and the displacement is not compared: there is nothing to learn from it.
        """
        if not with_displacement and any(example.es_phase is not None for example in examples):
            raise ValueError("a pair of frames has a displacement alone, which the loss does not compare")
        phase = np.stack(
            [row if one.es_phase is None else np.full_like(row, one.es_phase) for one, row in zip(examples, phase)]
        )
        valid = torch.tensor([example.placement.valid for example in examples], dtype=torch.float32)
        heart = torch.stack([heart_mask(example.anchor_labels) for example in examples])
        velocities, displacements = zip(
            *(_targets(example, row, target, with_displacement) for example, row in zip(examples, phase))
        )
        return cls(
            torch.stack([torch.from_numpy(np.asarray(example.anchor, np.float32)) for example in examples]),
            valid,
            torch.stack([torch.from_numpy(np.asarray(example.beat, np.float32)) for example in examples]),
            torch.tensor([example.rr_ms for example in examples], dtype=torch.float32),
            ecg_features(examples),
            valid[:, :, None, None] * (1 + heart_weight * heart),
            torch.from_numpy(phase).float(),
            torch.stack(velocities),
            torch.tensor([example.anchor_phase for example in examples], dtype=torch.float32),
            torch.tensor([float(example.es_phase is None) for example in examples]),
            torch.stack(displacements) if with_displacement else None,
        )

    def seen_through(self, maps: AffineMaps, spacing_mm: Triple) -> "MatchingBatch":
        """The same hearts moved and scaled in-plane, one map a subject, with their motion."""
        phases = self.phase.shape[1]
        repeated = AffineMaps(maps.matrices.repeat_interleave(phases, 0), maps.shifts.repeat_interleave(phases, 0))
        field_spacing = motion_spacing(spacing_mm)

        def mapped(motion: Tensor) -> Tensor:
            return map_displacement(repeated, motion.flatten(0, 1), field_spacing).unflatten(0, (-1, phases))

        return replace(
            self,
            anchor=maps.map_images(self.anchor[:, None], spacing_mm)[:, 0],
            weight=maps.map_images(self.weight[:, None], field_spacing)[:, 0],
            target=mapped(self.target),
            displacement=None if self.displacement is None else mapped(self.displacement),
        )

    def to(self, device: torch.device) -> "MatchingBatch":
        """The same batch on `device`."""
        moved = {name: tensor.to(device) for name, tensor in vars(self).items() if tensor is not None}
        return MatchingBatch(**moved)


def _targets(
    example: Example, phase: np.ndarray, target: Target, with_displacement: bool
) -> tuple[Tensor, Tensor | None]:
    """The target of a heart at phases [P], zeros of a pair, and where it is compared its displacement."""
    if example.es_phase is not None:
        assert example.displacement is not None
        displacement = torch.from_numpy(example.displacement[1]).float().expand(len(phase), -1, -1, -1, -1)
        return torch.zeros_like(displacement), displacement
    path = reference_path(example)
    return target(path, phase), path.displacement(phase) if with_displacement else None


def heart_mask(anchor_labels: np.ndarray) -> Tensor:
    """Motion voxels [Z, Y/2, X/2] that hold any of the heart, as 0 and 1, from anchor labels [Z, Y, X]."""
    heart = torch.from_numpy(np.asarray(anchor_labels) > 0).float()
    return F.max_pool3d(heart[None, None], (1, IN_PLANE, IN_PLANE))[0, 0]


def ecg_features(ecgs: Iterable[SubjectEcg]) -> Tensor:
    """What is read off each ECG, [N, 12]."""
    return torch.from_numpy(np.stack([ecg.features for ecg in ecgs]))


def reference_path(example: Example) -> DisplacementPath:
    """The registered motion of an example, whose time derivative is v*."""
    if example.displacement is None:
        raise ValueError(f"{example.subject} has no registered displacement")
    return DisplacementPath(torch.from_numpy(example.displacement), example.anchor_phase)


def matching_loss(network: VelocityField, batch: MatchingBatch, displacement_weight: float = 0.0) -> Tensor:
    """Mean of |v_theta - v*|^2 over positions and phases, in units of sigma_v along each axis, weighted by position.

    Args:
        network: the field; of modes, where the displacement counts.
        batch: with the displacement at its phases, where that counts.
        displacement_weight: of the same mean of |int v_theta - u|^2, in units of sigma_v / 2 pi: the displacement of a
            motion whose velocity is sigma_v and goes to and fro once a cycle. What eq (9) leaves out is that small
            errors of one sign add up over the cycle.
    """
    condition = network.encode(batch.anchor, batch.valid, batch.beat, batch.rr_ms, batch.features, batch.anchor_phase)
    predicted = network(batch.phase, condition)
    scale = network.sigma[:, None, None, None]
    known = batch.cycle[:, None, None, None, None, None]
    loss = weighted_mean(known * (predicted - batch.target) / scale, batch)
    if displacement_weight:
        assert batch.displacement is not None
        reached = displacement_at(network, condition, batch.phase, batch.anchor_phase)
        loss = loss + displacement_weight * weighted_mean((reached - batch.displacement) / (scale / math.tau), batch)
    return loss


def displacement_at(network: VelocityField, condition: Condition, phase: Tensor, anchor_phase: Tensor) -> Tensor:
    """The integral of a field of modes from the anchor's phase [B] to phases [B, P]: [B, P, 3, Z, Y/2, X/2] in mm.

    `HARMONICS` of the modes' courses are integrated exactly, as the solver `fourier` does.
    """
    assert condition.maps is not None
    knots = torch.arange(2 * HARMONICS + 1, device=phase.device) / (2 * HARMONICS + 1)
    courses = network.courses(knots.expand(len(phase), -1), condition).float()
    ends = np.concatenate([anchor_phase.cpu().numpy()[:, None], phase.cpu().numpy()], 1)
    weights = torch.from_numpy(integral_weights(ends, HARMONICS)).to(courses)
    return network.combine(condition.maps.float(), (weights[:, 1:] - weights[:, :1]) @ courses)


def weighted_mean(error: Tensor, batch: MatchingBatch) -> Tensor:
    """Mean square of errors [B, P, 3, Z, Y/2, X/2] over axes, phases and positions, weighted by position."""
    square = error.square().mean(2)
    return (square * batch.weight[:, None]).sum() / (batch.weight.sum() * batch.phase.shape[1])


def encode_subject(network: VelocityField, subject: Subject, device: torch.device) -> Condition:
    """What stays the same over the cycle of one subject, encoded for generation."""

    def batch(values: object) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=device)[None]

    person = subject
    seen = person.anchor, person.placement.valid, person.beat, person.rr_ms, person.features, person.anchor_phase
    return network.encode(*map(batch, seen))


def velocity_scale(examples: Iterable[Example], target: Target = DisplacementPath.velocity) -> Tensor:
    """sigma_v: root mean square of v* (or of another target) inside the hearts along z, y, x, in mm a cycle (mm)."""
    total, count = torch.zeros(AXES, dtype=torch.float64), 0.0
    cycles = (example for example in examples if example.es_phase is None)
    for example in islice(cycles, SCALE_SUBJECTS):
        path = reference_path(example)
        heart = heart_mask(example.anchor_labels)
        speed = target(path, np.arange(len(path)) / len(path)).square()
        total += (speed * heart).sum((0, 2, 3, 4)).double()
        count += float(heart.sum()) * len(path)
    scale = (total / max(count, 1.0)).sqrt().float()
    # A cohort without any motion along an axis has nothing to scale there.
    return torch.where(scale > 0, scale, torch.ones_like(scale))
