"""Training of the velocity field by flow matching, the paper's eq (9).

Eq (9) regresses the velocity of the registered motion at random positions and phases; there is no noise and no source
distribution, so a trained field gives the conditional mean of the motion. A killed training resumes to the same
weights, bit for bit: all randomness of an iteration comes from the seed and the number of the iteration.
"""

import copy
import hashlib
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from cof.config import CofSettings, Triple
from cof.models.alignment import map_displacement
from cof.models.base import Example
from cof.models.velocity import AXES, VelocityField
from cof.motion.augmentation import AffineMaps
from cof.motion.path import DisplacementPath
from cof.motion.resolution import IN_PLANE, motion_spacing
from cof.provenance import digest, source
from cof.training import learning_rate, save_checkpoint, set_learning_rate

log = logging.getLogger(__name__)

LOG_COLUMNS = ("iteration", "train_loss", "validation_loss", "learning_rate")
VALIDATION_PHASES = 8
# Enough hearts for three standard deviations; a larger cohort is not read through for them.
SCALE_SUBJECTS = 256


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
        target: v*, [B, P, 3, Z, Y/2, X/2] in mm a cycle.
    """

    anchor: Tensor
    valid: Tensor
    beat: Tensor
    rr_ms: Tensor
    features: Tensor
    weight: Tensor
    phase: Tensor
    target: Tensor

    @classmethod
    def of(cls, examples: Sequence[Example], phase: np.ndarray, heart_weight: float) -> "MatchingBatch":
        """Collect examples at phases [B, P]."""
        valid = torch.tensor([example.placement.valid for example in examples], dtype=torch.float32)
        heart = torch.stack([heart_mask(example.anchor_labels) for example in examples])
        paths = [reference_path(example) for example in examples]
        return cls(
            torch.stack([torch.from_numpy(np.asarray(example.anchor, np.float32)) for example in examples]),
            valid,
            torch.stack([torch.from_numpy(np.asarray(example.beat, np.float32)) for example in examples]),
            torch.tensor([example.rr_ms for example in examples], dtype=torch.float32),
            ecg_features(examples),
            valid[:, :, None, None] * (1 + heart_weight * heart),
            torch.from_numpy(phase).float(),
            torch.stack([path.velocity(row) for path, row in zip(paths, phase)]),
        )

    def seen_through(self, maps: AffineMaps, spacing_mm: Triple) -> "MatchingBatch":
        """The same hearts moved and scaled in-plane, one map a subject, with their motion."""
        phases = self.phase.shape[1]
        repeated = AffineMaps(maps.matrices.repeat_interleave(phases, 0), maps.shifts.repeat_interleave(phases, 0))
        field_spacing = motion_spacing(spacing_mm)
        target = map_displacement(repeated, self.target.flatten(0, 1), field_spacing)
        return MatchingBatch(
            maps.map_images(self.anchor[:, None], spacing_mm)[:, 0],
            self.valid,
            self.beat,
            self.rr_ms,
            self.features,
            maps.map_images(self.weight[:, None], field_spacing)[:, 0],
            self.phase,
            target.unflatten(0, (-1, phases)),
        )

    def to(self, device: torch.device) -> "MatchingBatch":
        """The same batch on `device`."""
        return MatchingBatch(*(tensor.to(device) for tensor in vars(self).values()))


def heart_mask(anchor_labels: np.ndarray) -> Tensor:
    """Motion voxels [Z, Y/2, X/2] that hold any of the heart, as 0 and 1, from anchor labels [Z, Y, X]."""
    heart = torch.from_numpy(np.asarray(anchor_labels) > 0).float()
    return F.max_pool3d(heart[None, None], (1, IN_PLANE, IN_PLANE))[0, 0]


def ecg_features(examples: Sequence[Example]) -> Tensor:
    """What is read off the ECG of each example, [N, 12]."""
    return torch.from_numpy(np.stack([example.features for example in examples]))


def reference_path(example: Example) -> DisplacementPath:
    """The registered motion of an example, whose time derivative is v*."""
    if example.displacement is None:
        raise ValueError(f"{example.subject} has no registered displacement")
    return DisplacementPath(torch.from_numpy(example.displacement))


def matching_loss(network: VelocityField, batch: MatchingBatch) -> Tensor:
    """Mean of |v_theta - v*|^2 over positions and phases, in units of sigma_v along each axis, weighted by position."""
    condition = network.encode(batch.anchor, batch.valid, batch.beat, batch.rr_ms, batch.features)
    predicted = network(batch.phase, condition)
    error = ((predicted - batch.target) / network.sigma[:, None, None, None]).square().mean(2)
    return (error * batch.weight[:, None]).sum() / (batch.weight.sum() * batch.phase.shape[1])


def velocity_scale(examples: Sequence[Example]) -> Tensor:
    """sigma_v: root mean square of v* inside the hearts along z, y, x, in mm a cycle."""
    total, count = torch.zeros(AXES, dtype=torch.float64), 0.0
    for example in examples[:SCALE_SUBJECTS]:
        path = reference_path(example)
        heart = heart_mask(example.anchor_labels)
        speed = path.velocity(np.arange(len(path)) / len(path)).square()
        total += (speed * heart).sum((0, 2, 3, 4)).double()
        count += float(heart.sum()) * len(path)
    scale = (total / max(count, 1.0)).sqrt().float()
    # A cohort without any motion along an axis has nothing to scale there.
    return torch.where(scale > 0, scale, torch.ones_like(scale))


def fit(
    train: Sequence[Example], validation: Sequence[Example], settings: CofSettings, seed: int, work: Path
) -> tuple[VelocityField, pd.DataFrame]:
    """Train a velocity field on registered motion.

    Every iteration draws `batch` subjects, encodes each once and compares `phases` random phases with v*.

    Args:
        train: training subjects, all on one canonical grid, each with its displacement.
        validation: subjects whose loss is logged and steers nothing; may be empty.
        settings: the model's.
        seed: of initial weights, subjects, phases and augmentation.
        work: folder of the checkpoint, removed when the training is done. A checkpoint of other data, settings, seed
            or code is passed over.

    Returns:
        The trained field on the CPU and its log, one row every `checkpoint_every` iterations (`LOG_COLUMNS`); the
        training loss is the mean since the row before.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = VelocityField(settings.field)
    network.sigma.copy_(velocity_scale(train))
    if settings.field.ecg == "features":
        network.features.learn_scale(ecg_features(train))
    network = network.to(device, memory_format=torch.channels_last_3d).train()  # type: ignore[call-overload]
    average = copy.deepcopy(network).requires_grad_(False) if settings.ema else None
    optimiser = torch.optim.Adam(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    checkpoint = (
        work
        / f"{digest([settings.model_dump(), seed, source('models', 'motion', 'training'), _fingerprint(train)])}.pt"
    )
    done, rows, recent = 0, [], []
    if checkpoint.is_file():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        if average is not None:
            average.load_state_dict(state["average"])
        done, rows = state["iteration"], state["log"]
        log.info("training resumes after iteration %d", done)

    progress = tqdm(total=settings.iterations, initial=done, desc="flow matching", unit="it", disable=None)
    with progress:
        for iteration in range(done + 1, settings.iterations + 1):
            rate = learning_rate(iteration, settings)
            set_learning_rate(optimiser, rate)
            batch = _draw(train, settings, np.random.default_rng([seed, iteration])).to(device)
            loss = matching_loss(network, batch)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if average is not None:
                _follow(average, network, settings.ema)
            recent.append(float(loss.detach()))
            if not math.isfinite(recent[-1]):
                raise FloatingPointError(f"the matching loss is not finite at iteration {iteration}")
            progress.update()
            progress.set_postfix(loss=f"{recent[-1]:.3f}", refresh=False)
            if iteration % settings.checkpoint_every == 0 or iteration == settings.iterations:
                held_out = validate(average or network, validation, settings)
                rows.append([float(iteration), sum(recent) / len(recent), held_out, rate])
                recent = []
                state = {"network": network.state_dict(), "optimiser": optimiser.state_dict()}
                state |= {"average": average.state_dict()} if average is not None else {}
                save_checkpoint(checkpoint, state | {"iteration": iteration, "log": rows})
    checkpoint.unlink(missing_ok=True)
    table = pd.DataFrame(rows, columns=list(LOG_COLUMNS)).astype({"iteration": int})
    return (average or network).cpu().eval(), table


@torch.no_grad()
def validate(network: VelocityField, examples: Sequence[Example], settings: CofSettings) -> float:
    """Matching loss of held-out subjects at fixed, evenly spread phases; NaN without subjects."""
    if not examples:
        return float("nan")
    device = network.sigma.device
    phase = (np.arange(VALIDATION_PHASES) + 0.5) / VALIDATION_PHASES
    losses = [
        float(matching_loss(network, MatchingBatch.of([example], phase[None], settings.heart_weight).to(device)))
        for example in examples
    ]
    return sum(losses) / len(losses)


def _draw(examples: Sequence[Example], settings: CofSettings, rng: np.random.Generator) -> MatchingBatch:
    """A random batch: subjects without repetition as far as there are enough, a phase in each equal part of the cycle.

    Such phases are uniform over the cycle as independent ones are, and their loss varies less.
    """
    replace = settings.batch > len(examples)
    chosen = [examples[index] for index in rng.choice(len(examples), settings.batch, replace=replace)]
    phase = (np.arange(settings.phases) + rng.random((settings.batch, settings.phases))) / settings.phases
    batch = MatchingBatch.of(chosen, phase, settings.heart_weight)
    if settings.augmentation is None:
        return batch
    maps = AffineMaps.draw(settings.augmentation, settings.batch, rng, batch.anchor.device)
    return batch.seen_through(maps, chosen[0].placement.spacing_mm)


@torch.no_grad()
def _follow(average: VelocityField, network: VelocityField, decay: float) -> None:
    """Move the exponential moving average of the weights one step towards them."""
    for mean, value in zip(average.parameters(), network.parameters()):
        mean.lerp_(value, 1 - decay)


def _fingerprint(examples: Sequence[Example]) -> str:
    """A hash of what identifies the training data; of each motion the frame in mid-cycle stands for the rest."""
    sha = hashlib.sha256()
    for example in examples:
        sha.update(f"{example.subject} {example.rr_ms}".encode())
        for array in (example.anchor, example.anchor_labels, example.beat, example.features):
            sha.update(np.ascontiguousarray(array).tobytes())
        if example.displacement is not None:
            sha.update(np.ascontiguousarray(example.displacement[len(example.displacement) // 2]).tobytes())
    return sha.hexdigest()
