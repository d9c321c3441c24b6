"""What a field over position and phase learns from registered motion: subjects at phases, a target and a loss."""

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
# Multiples of the golden ratio spread any number of held-out anchors over the cycle.
GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Item:
    """A subject as one iteration sees it.

    Attributes:
        example: its place among the examples.
        phase: [P].
        map: the affine map that moves it, a batch of one; None where nothing is augmented.
        held_out: it is one of the validation examples.
        anchor_phase: of the frame that is its anchor.
        seed: of whatever else is random about it; flow matching needs nothing more.
        with_ecg: its ECG is seen.
    """

    example: int
    phase: np.ndarray
    map: AffineMaps | None = None
    held_out: bool = False
    anchor_phase: float = 0.0
    seed: tuple[int, ...] = ()
    with_ecg: bool = True


class Phases:
    """Subjects at random phases with the target there, the source of flow matching.

    A batch holds subjects without repetition as far as there are enough, each with a phase in every equal part of the
    cycle: such phases are uniform over the cycle as independent ones are, and their loss varies less. Held-out subjects
    are seen at fixed, evenly spread phases. Where the anchor may be any frame, it is drawn uniformly, too. A pair of ED
    and ES is seen at the phase of ES, from ED. With `field.ecg_dropout` so many training hearts are seen without ECG.
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
        """The subjects of an iteration, their phases and maps."""
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
        """Read subjects and compute their targets."""
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
        """What the loss sees of these items: a family that adds randomness of its own draws it from their seeds."""
        return self.hearts(items)


def loss(network: VelocityField, batch: MatchingBatch, displacement_weight: float = 0.0) -> Loss:
    """The matching loss; positions and phases count by their weights."""
    return Loss(matching_loss(network, batch, displacement_weight), batch.weight.sum())


@dataclass(frozen=True)
class Objective:
    """What a field over position and phase learns; that of Chain of Flow is flow matching.

    Attributes:
        network: the field, made from its settings.
        target: what of the registered motion it predicts; its root mean square is the scale of the field.
        source: of the batches.
        loss: of the field and a batch.
        entries: methods of the field through which the loss calls it.
        with_displacement: the loss compares the displacement, too.
    """

    network: Callable[[VelocitySettings], VelocityField]
    target: Target
    source: type[Phases] = Phases
    loss: LossFunction = loss
    entries: tuple[str, ...] = ("encode", "forward")
    with_displacement: bool = False


FLOW_MATCHING = Objective(VelocityField, DisplacementPath.velocity)


def flow_matching(displacement_weight: float) -> Objective:
    """Flow matching that may weigh the displacement, too."""
    if not displacement_weight:
        return FLOW_MATCHING
    weighed = partial(loss, displacement_weight=displacement_weight)
    entries = (*FLOW_MATCHING.entries, "courses")
    return replace(FLOW_MATCHING, loss=weighed, entries=entries, with_displacement=True)
