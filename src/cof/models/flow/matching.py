"""Flow matching, eq (9) of the paper: the loss of a velocity field on registered motion.

Eq (9) regresses the velocity of the registered motion at random positions and phases. There is no noise and no source
distribution, so a trained field predicts the conditional mean of the motion.
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

# Harmonics of the cycle by which training integrates a field of modes.
HARMONICS = 12
# Enough hearts to estimate the scale along three axes; more of a large cohort are not read for it.
SCALE_SUBJECTS = 256

# The regression target at some phases of a motion: its velocity, or the displacement itself.
Target = Callable[[DisplacementPath, Phases], Tensor]


@dataclass(frozen=True)
class MatchingBatch:
    """A batch of B subjects with P phases each.

    Attributes:
        anchor: [B, Z, Y, X], intensities in [0, 1].
        valid: [B, Z], 1 for slices that the native stack has, else 0.
        beat: [B, 12, L] mV.
        rr_ms: [B].
        features: [B, 12], features of the ECG.
        weight: [B, Z, Y/2, X/2], weight of every position in the loss; zero in slices that do not exist.
        phase: [B, P].
        target: [B, P, 3, Z, Y/2, X/2], the velocity v* in mm per cycle, or the displacement in mm.
        anchor_phase: [B], phase of the anchor.
        displacement: [B, P, 3, Z, Y/2, X/2], displacement at the same phases in mm; None if the loss does not use it.
        cycle: [B], 1 for a subject with a whole cycle, 0 for a pair of ED and ES. All phases of a pair are that of ES,
            where its displacement is known; its velocity is unknown, so it does not enter the loss.
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

        Args:
            examples: B examples.
            phase: [B, P]; for a pair it is replaced by the phase of ES.
            heart_weight: additional weight of the positions that hold the heart.
            target: computes the regression target.
            with_displacement: add the displacement, for a loss that compares it.

        Raises:
            ValueError: one of the examples is a pair, but the loss does not compare the displacement, and a pair has
                nothing else.
        """
        if not with_displacement and any(example.es_phase is not None for example in examples):
            raise ValueError(
                "a pair of ED and ES has a displacement and no velocity, but the loss compares only the velocity"
            )
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
        """Return the same hearts and their motion after in-plane affine maps, one map per subject."""
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
        """Return the same batch on `device`."""
        moved = {name: tensor.to(device) for name, tensor in vars(self).items() if tensor is not None}
        return MatchingBatch(**moved)


def _targets(
    example: Example, phase: np.ndarray, target: Target, with_displacement: bool
) -> tuple[Tensor, Tensor | None]:
    """Compute the target of one example at phases [P] (zeros for a pair) and, if asked for, its displacement."""
    if example.es_phase is not None:
        assert example.displacement is not None
        displacement = torch.from_numpy(example.displacement[1]).float().expand(len(phase), -1, -1, -1, -1)
        return torch.zeros_like(displacement), displacement
    path = reference_path(example)
    return target(path, phase), path.displacement(phase) if with_displacement else None


def heart_mask(anchor_labels: np.ndarray) -> Tensor:
    """Return a mask [Z, Y/2, X/2] of 0 and 1 from anchor labels [Z, Y, X]: 1 where a voxel holds any labelled heart."""
    heart = torch.from_numpy(np.asarray(anchor_labels) > 0).float()
    return F.max_pool3d(heart[None, None], (1, IN_PLANE, IN_PLANE))[0, 0]


def ecg_features(ecgs: Iterable[SubjectEcg]) -> Tensor:
    """Collect the features of the ECGs: [N, 12]."""
    return torch.from_numpy(np.stack([ecg.features for ecg in ecgs]))


def reference_path(example: Example) -> DisplacementPath:
    """Return the registered motion of an example as a displacement path; its derivative in phase is v*.

    Raises:
        ValueError: the example has no displacement.
    """
    if example.displacement is None:
        raise ValueError(f"{example.subject} has no registered displacement")
    return DisplacementPath(torch.from_numpy(example.displacement), example.anchor_phase)


def matching_loss(
    network: VelocityField, batch: MatchingBatch, displacement_weight: float = 0.0, scaled_axes: bool = True
) -> Tensor:
    """Compute the weighted mean of |v_theta - v*|^2 over positions and phases, in units of sigma_v.

    Args:
        network: the velocity field; with a displacement weight, it must be a field of modes.
        batch: the batch; with a displacement weight, it must hold the displacement.
        displacement_weight: weight of a second term, the same mean of |int v_theta - u|^2 in units of sigma_v / 2 pi
            (the displacement of a sinusoidal motion with one period per cycle and velocity sigma_v). Eq (9) alone does
            not penalise small errors of equal sign, which add up over the cycle.
        scaled_axes: take sigma_v of each axis; otherwise the root mean square of all three, which makes the loss
            proportional to eq (9).
    """
    condition = network.encode(batch.anchor, batch.valid, batch.beat, batch.rr_ms, batch.features, batch.anchor_phase)
    predicted = network(batch.phase, condition)
    sigma = network.sigma if scaled_axes else network.sigma.square().mean().sqrt().expand(AXES)
    scale = sigma[:, None, None, None]
    known = batch.cycle[:, None, None, None, None, None]
    loss = weighted_mean(known * (predicted - batch.target) / scale, batch)
    if displacement_weight:
        assert batch.displacement is not None
        reached = displacement_at(network, condition, batch.phase, batch.anchor_phase)
        loss = loss + displacement_weight * weighted_mean((reached - batch.displacement) / (scale / math.tau), batch)
    return loss


def displacement_at(network: VelocityField, condition: Condition, phase: Tensor, anchor_phase: Tensor) -> Tensor:
    """Integrate a field of modes from the anchor's phase [B] to phases [B, P]: [B, P, 3, Z, Y/2, X/2] in mm.

    The first `HARMONICS` harmonics of the modes' courses are integrated exactly, as by the solver `fourier`.
    """
    assert condition.maps is not None
    knots = torch.arange(2 * HARMONICS + 1, device=phase.device) / (2 * HARMONICS + 1)
    courses = network.courses(knots.expand(len(phase), -1), condition).float()
    ends = np.concatenate([anchor_phase.cpu().numpy()[:, None], phase.cpu().numpy()], 1)
    weights = torch.from_numpy(integral_weights(ends, HARMONICS)).to(courses)
    return network.combine(condition.maps.float(), (weights[:, 1:] - weights[:, :1]) @ courses)


def weighted_mean(error: Tensor, batch: MatchingBatch) -> Tensor:
    """Average the square of errors [B, P, 3, Z, Y/2, X/2] over axes, phases and positions, weighted by position."""
    square = error.square().mean(2)
    return (square * batch.weight[:, None]).sum() / (batch.weight.sum() * batch.phase.shape[1])


def encode_subject(network: VelocityField, subject: Subject, device: torch.device) -> Condition:
    """Encode the condition of one subject for generation: everything that does not change over the cycle."""

    def batch(values: object) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=device)[None]

    person = subject
    seen = person.anchor, person.placement.valid, person.beat, person.rr_ms, person.features, person.anchor_phase
    return network.encode(*map(batch, seen))


def velocity_scale(examples: Iterable[Example], target: Target = DisplacementPath.velocity) -> Tensor:
    """Compute sigma_v [3]: the root mean square of v*, or of another target, inside the hearts along z, y, x.

    It is in mm per cycle for a velocity and in mm for a displacement. At most `SCALE_SUBJECTS` whole cycles are read.
    """
    total, count = torch.zeros(AXES, dtype=torch.float64), 0.0
    cycles = (example for example in examples if example.es_phase is None)
    for example in islice(cycles, SCALE_SUBJECTS):
        path = reference_path(example)
        heart = heart_mask(example.anchor_labels)
        speed = target(path, np.arange(len(path)) / len(path)).square()
        total += (speed * heart).sum((0, 2, 3, 4)).double()
        count += float(heart.sum()) * len(path)
    scale = (total / max(count, 1.0)).sqrt().float()
    # Without any motion along an axis, the scale of that axis is 1.
    return torch.where(scale > 0, scale, torch.ones_like(scale))
