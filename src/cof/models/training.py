"""Training of a field over position and phase on registered motion: of the velocity field by flow matching."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils.checkpoint import checkpoint

from cof import trainer
from cof.config import MotionSettings, VelocitySettings
from cof.models.base import Example
from cof.models.data import ecgs_of
from cof.models.exchange import Exchanged, exchange
from cof.models.matching import MatchingBatch, Target, ecg_features, matching_loss, velocity_scale
from cof.models.velocity import FilmBlock, VelocityField
from cof.motion.augmentation import AffineMaps
from cof.motion.path import DisplacementPath
from cof.training import Loss, LossFunction, Run

LOG_COLUMNS = ("iteration", "train_loss", "validation_loss", "learning_rate")
VALIDATION_PHASES = 8


@dataclass(frozen=True)
class Item:
    """A subject as one iteration sees it.

    Attributes:
        example: its place among the examples.
        phase: [P].
        map: the affine map that moves it, a batch of one; None where nothing is augmented.
        held_out: it is one of the validation examples.
        seed: of whatever else is random about it; flow matching needs nothing more.
    """

    example: int
    phase: np.ndarray
    map: AffineMaps | None = None
    held_out: bool = False
    seed: tuple[int, ...] = ()


class Phases:
    """Subjects at random phases with the target there, the source of flow matching.

    A batch holds subjects without repetition as far as there are enough, each with a phase in every equal part of the
    cycle: such phases are uniform over the cycle as independent ones are, and their loss varies less. Held-out subjects
    are seen at fixed, evenly spread phases.
    """

    def __init__(
        self,
        train: Sequence[Example],
        validation: Sequence[Example],
        settings: MotionSettings,
        seed: int,
        target: Target = DisplacementPath.velocity,
    ) -> None:
        self.train, self.validation, self.settings, self.seed = train, validation, settings, seed
        self.target = target
        phase = (np.arange(VALIDATION_PHASES) + 0.5) / VALIDATION_PHASES
        self.held_out: Sequence[Item] = [
            Item(index, phase, held_out=True, seed=(seed, 0, index)) for index in range(len(validation))
        ]

    def draw(self, iteration: int) -> list[Item]:
        """The subjects of an iteration, their phases and maps."""
        settings, rng = self.settings, np.random.default_rng([self.seed, iteration])
        count = settings.batch
        chosen = rng.choice(len(self.train), count, replace=count > len(self.train))
        phase = (np.arange(settings.phases) + rng.random((count, settings.phases))) / settings.phases
        items = [
            Item(int(index), row, seed=(self.seed, iteration, place))
            for place, (index, row) in enumerate(zip(chosen, phase))
        ]
        if settings.augmentation is None:
            return items
        maps = AffineMaps.draw(settings.augmentation, count, rng, torch.device("cpu"))
        return [replace(item, map=maps.one(place)) for place, item in enumerate(items)]

    def hearts(self, items: Sequence[Item]) -> MatchingBatch:
        """Read subjects and compute their targets."""
        examples = [(self.validation if item.held_out else self.train)[item.example] for item in items]
        phase = np.stack([item.phase for item in items])
        batch = MatchingBatch.of(examples, phase, self.settings.heart_weight, self.target)
        maps = [item.map for item in items if item.map is not None]
        return batch.seen_through(AffineMaps.together(maps), examples[0].placement.spacing_mm) if maps else batch

    def load(self, items: Sequence[Item]) -> Any:
        """What the loss sees of these items: a family that adds randomness of its own draws it from their seeds."""
        return self.hearts(items)


def loss(network: VelocityField, batch: MatchingBatch) -> Loss:
    """The matching loss; positions and phases count by their weights."""
    return Loss(matching_loss(network, batch), batch.weight.sum())


@dataclass(frozen=True)
class Objective:
    """What a field over position and phase learns; that of Chain of Flow is flow matching.

    Attributes:
        network: the field, made from its settings.
        target: what of the registered motion it predicts; its root mean square is the scale of the field.
        source: of the batches.
        loss: of the field and a batch.
        entries: methods of the field through which the loss calls it.
    """

    network: Callable[[VelocitySettings], VelocityField]
    target: Target
    source: type[Phases] = Phases
    loss: LossFunction = loss
    entries: tuple[str, ...] = ("encode", "forward")


FLOW_MATCHING = Objective(VelocityField, DisplacementPath.velocity)


def fit(
    train: Sequence[Example],
    validation: Sequence[Example],
    settings: MotionSettings,
    seed: int,
    run: Run,
    objective: Objective = FLOW_MATCHING,
) -> tuple[VelocityField, pd.DataFrame]:
    """Train a field on registered motion.

    Every iteration draws `batch` subjects, encodes each once and compares `phases` random phases with the target.

    Args:
        train: training subjects, all on one canonical grid, each with its displacement.
        validation: subjects whose loss is logged and steers nothing; may be empty.
        settings: the model's.
        seed: of initial weights, subjects, phases and augmentation.
        run: where the training runs and what it resumes from.
        objective: what the field learns.

    Returns:
        The trained field on the CPU and its log, one row every `checkpoint_every` iterations (`LOG_COLUMNS`); the
        training loss is the mean since the row before.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = objective.network(settings.field)
    network.sigma.copy_(velocity_scale(train, objective.target))
    ecgs = ecgs_of(train)
    if settings.field.ecg == "features":
        network.features.learn_scale(ecg_features(ecgs))
    if settings.shuffled_ecg:
        train = Exchanged(train, ecgs, exchange(ecgs, str(seed)))
    network = network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    blocks = [module for module in network.modules() if isinstance(module, FilmBlock)] if settings.recompute else []
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)  # type: ignore[method-assign]
    network, table = trainer.fit(
        network,
        objective.loss,
        objective.source(train, validation, settings, seed, objective.target),
        settings,
        run,
        log_every=settings.checkpoint_every,
        entries=objective.entries,
    )
    table = table.rename(columns={"loss": "train_loss"})
    return network, table[list(LOG_COLUMNS)]
