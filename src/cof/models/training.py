"""Training of the velocity field by flow matching."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch.utils.checkpoint import checkpoint

from cof import trainer
from cof.config import CofSettings
from cof.models.anchors import about
from cof.models.base import Example
from cof.models.data import ecgs_of
from cof.models.exchange import Exchanged, exchange
from cof.models.matching import MatchingBatch, ecg_features, matching_loss, velocity_scale
from cof.models.velocity import FilmBlock, VelocityField
from cof.motion.augmentation import AffineMaps
from cof.training import Loss, Run

LOG_COLUMNS = ("iteration", "train_loss", "validation_loss", "learning_rate")
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
    """

    example: int
    phase: np.ndarray
    map: AffineMaps | None = None
    held_out: bool = False
    anchor_phase: float = 0.0


class Phases:
    """Subjects at random phases, the source of flow matching.

    A batch holds subjects without repetition as far as there are enough, each with a phase in every equal part of the
    cycle: such phases are uniform over the cycle as independent ones are, and their loss varies less. Held-out subjects
    are seen at fixed, evenly spread phases. Where the anchor may be any frame, it is drawn uniformly, too.
    """

    def __init__(
        self, train: Sequence[Example], validation: Sequence[Example], settings: CofSettings, seed: int
    ) -> None:
        self.train, self.validation, self.settings, self.seed = train, validation, settings, seed
        phase = (np.arange(VALIDATION_PHASES) + 0.5) / VALIDATION_PHASES
        self.any_anchor = settings.field.anchor == "any"
        self.held_out: Sequence[Item] = [
            Item(index, phase, held_out=True, anchor_phase=index * GOLDEN % 1 if self.any_anchor else 0.0)
            for index in range(len(validation))
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
        return [
            Item(int(index), row, maps and maps.one(place), anchor_phase=float(anchor))
            for place, (index, row, anchor) in enumerate(zip(chosen, phase, anchors))
        ]

    def load(self, items: Sequence[Item]) -> MatchingBatch:
        """Read subjects and compute their reference velocities."""
        examples = [(self.validation if item.held_out else self.train)[item.example] for item in items]
        if self.any_anchor:
            examples = [about(example, item.anchor_phase) for example, item in zip(examples, items)]
        batch = MatchingBatch.of(examples, np.stack([item.phase for item in items]), self.settings.heart_weight)
        maps = [item.map for item in items if item.map is not None]
        return batch.seen_through(AffineMaps.together(maps), examples[0].placement.spacing_mm) if maps else batch


def fit(
    train: Sequence[Example], validation: Sequence[Example], settings: CofSettings, seed: int, run: Run
) -> tuple[VelocityField, pd.DataFrame]:
    """Train a velocity field on registered motion.

    Every iteration draws `batch` subjects, encodes each once and compares `phases` random phases with v*.

    Args:
        train: training subjects, all on one canonical grid, each with its displacement.
        validation: subjects whose loss is logged and steers nothing; may be empty.
        settings: the model's.
        seed: of initial weights, subjects, phases and augmentation.
        run: where the training runs and what it resumes from.

    Returns:
        The trained field on the CPU and its log, one row every `checkpoint_every` iterations (`LOG_COLUMNS`); the
        training loss is the mean since the row before.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = VelocityField(settings.field)
    network.sigma.copy_(velocity_scale(train))
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
        loss,
        Phases(train, validation, settings, seed),
        settings,
        run,
        log_every=settings.checkpoint_every,
        entries=("encode", "forward"),
    )
    table = table.rename(columns={"loss": "train_loss"})
    return network, table[list(LOG_COLUMNS)]


def loss(network: VelocityField, batch: MatchingBatch) -> Loss:
    """The matching loss; positions and phases count by their weights."""
    return Loss(matching_loss(network, batch), batch.weight.sum())
