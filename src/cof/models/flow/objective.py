"""Training objectives of a field over position and phase: batches of subjects at phases, a target and a loss."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from cof.config.flow import MotionSettings, VelocitySettings
from cof.models.base import Example
from cof.models.flow.anchors import about
from cof.models.flow.matching import MatchingBatch, Target, matching_loss
from cof.models.flow.velocity import VelocityField
from cof.motion.augmentation import AffineMaps
from cof.motion.path import DisplacementPath
from cof.training.run import Loss, LossFunction

VALIDATION_PHASES = 8
# Multiples of the golden ratio, modulo 1, spread any number of held-out anchors evenly over the cycle.
GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Item:
    """One subject in one training iteration.

    Attributes:
        example: index of the subject among the examples.
        phase: [P], phases.
        map: affine map of the augmentation, as a batch of one; None without augmentation.
        held_out: True for an index into the validation examples.
        anchor_phase: phase of the frame that is the anchor.
        seed: seed of further randomness, such as noise; flow matching does not use it.
        with_ecg: False if the ECG is withheld.
    """

    example: int
    phase: np.ndarray
    map: AffineMaps | None = None
    held_out: bool = False
    anchor_phase: float = 0.0
    seed: tuple[int, ...] = ()
    with_ecg: bool = True


class Phases:
    """Source of training batches for flow matching: subjects at random phases, with the target at these phases.

    A batch holds different subjects if there are enough. The phases of a subject are stratified: one random phase in
    each of P equal parts of the cycle. They are uniform over the cycle like independent ones, and the loss varies less.
    Held-out subjects have fixed, evenly spread phases. With `field.anchor: any`, the anchor's phase is drawn uniformly
    too. A pair of ED and ES is used at the phase of ES, with ED as the anchor. `field.ecg_dropout` is the share of
    training subjects whose ECG is withheld.
    """

    def __init__(
        self,
        train: Sequence[Example],
        validation: Sequence[Example],
        settings: MotionSettings,
        seed: int,
        target: Target = DisplacementPath.velocity,
        with_displacement: bool = False,
    ) -> None:
        self.train, self.validation, self.settings, self.seed = train, validation, settings, seed
        self.target, self.with_displacement = target, with_displacement
        phase = (np.arange(VALIDATION_PHASES) + 0.5) / VALIDATION_PHASES
        self.any_anchor = settings.field.anchor == "any"
        anchors = [index * GOLDEN % 1 if self.any_anchor else 0.0 for index in range(len(validation))]
        self.held_out: Sequence[Item] = [
            Item(index, phase, held_out=True, anchor_phase=anchor, seed=(seed, 0, index))
            for index, anchor in enumerate(anchors)
        ]

    def draw(self, iteration: int) -> list[Item]:
        """Draw the subjects of an iteration, their phases, anchors and affine maps."""
        settings, rng = self.settings, np.random.default_rng([self.seed, iteration])
        count = settings.batch
        chosen = rng.choice(len(self.train), count, replace=count > len(self.train))
        phase = (np.arange(settings.phases) + rng.random((count, settings.phases))) / settings.phases
        augmentation = settings.augmentation
        maps = AffineMaps.draw(augmentation, count, rng, torch.device("cpu")) if augmentation is not None else None
        anchors = rng.random(count) if self.any_anchor else np.zeros(count)
        dropout = settings.field.ecg_dropout
        heard = rng.random(count) >= dropout if dropout else np.ones(count, bool)
        return [
            Item(
                int(index),
                row,
                maps and maps.one(place),
                anchor_phase=float(anchor),
                seed=(self.seed, iteration, place),
                with_ecg=bool(heard[place]),
            )
            for place, (index, row, anchor) in enumerate(zip(chosen, phase, anchors))
        ]

    def hearts(self, items: Sequence[Item]) -> MatchingBatch:
        """Read the subjects and compute their targets."""
        examples = [(self.validation if item.held_out else self.train)[item.example] for item in items]
        examples = [one if item.with_ecg else one.without_ecg() for one, item in zip(examples, items)]
        if self.any_anchor:
            examples = [
                about(example, item.anchor_phase) if example.es_phase is None else example
                for example, item in zip(examples, items)
            ]
        phase = np.stack([item.phase for item in items])
        batch = MatchingBatch.of(examples, phase, self.settings.heart_weight, self.target, self.with_displacement)
        maps = [item.map for item in items if item.map is not None]
        return batch.seen_through(AffineMaps.together(maps), examples[0].placement.spacing_mm) if maps else batch

    def load(self, items: Sequence[Item]) -> Any:
        """Make the batch for the loss. A family with further randomness draws it here, from the seeds of the items."""
        return self.hearts(items)


def loss(
    network: VelocityField, batch: MatchingBatch, displacement_weight: float = 0.0, scaled_axes: bool = True
) -> Loss:
    """Compute the matching loss of a batch, and the weight of the batch in a mean over batches."""
    return Loss(matching_loss(network, batch, displacement_weight, scaled_axes), batch.weight.sum())


@dataclass(frozen=True)
class Objective:
    """The objective of a field over position and phase. Chain of Flow uses flow matching.

    Attributes:
        network: makes the field from its settings.
        target: computes what the field predicts, from the registered motion; its root mean square scales the field.
        source: class of the source of training batches.
        loss: loss of the field on a batch.
        entries: methods of the field that the loss calls.
        with_displacement: True if the loss also compares the displacement.
    """

    network: Callable[[VelocitySettings], VelocityField]
    target: Target
    source: type[Phases] = Phases
    loss: LossFunction = loss
    entries: tuple[str, ...] = ("encode", "forward")
    with_displacement: bool = False


FLOW_MATCHING = Objective(VelocityField, DisplacementPath.velocity)


def flow_matching(displacement_weight: float, scaled_axes: bool = True) -> Objective:
    """Return the objective of flow matching; the arguments are those of `matching_loss`."""
    weighed = partial(loss, displacement_weight=displacement_weight, scaled_axes=scaled_axes)
    if not displacement_weight:
        return replace(FLOW_MATCHING, loss=weighed)
    entries = (*FLOW_MATCHING.entries, "courses")
    return replace(FLOW_MATCHING, loss=weighed, entries=entries, with_displacement=True)
