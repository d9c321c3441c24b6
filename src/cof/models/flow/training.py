"""Training of a field over position and phase on registered motion, such as the velocity field by flow matching."""

from collections.abc import Sequence
from functools import partial

import pandas as pd
import torch
from torch.utils.checkpoint import checkpoint

from cof.config.flow import MotionSettings
from cof.models.base import Example
from cof.models.data import ecgs_of
from cof.models.exchange import exchange, exchanged
from cof.models.flow.matching import ecg_features, velocity_scale
from cof.models.flow.objective import FLOW_MATCHING, Objective
from cof.models.flow.velocity import FilmBlock, VelocityField
from cof.training import loop
from cof.training.run import Run

LOG_COLUMNS = ("iteration", "train_loss", "validation_loss", "learning_rate")


def fit(
    train: Sequence[Example],
    validation: Sequence[Example],
    settings: MotionSettings,
    seed: int,
    run: Run,
    objective: Objective = FLOW_MATCHING,
) -> tuple[VelocityField, pd.DataFrame]:
    """Train a field on registered motion.

    Every iteration draws `batch` subjects, encodes each once, and compares the prediction at `phases` random phases
    with the target.

    Args:
        train: training subjects, all on one canonical grid, each with its displacement.
        validation: validation subjects, for the logged loss and for trials of the learning rate. May be empty.
        settings: settings of the model.
        seed: seed of initial weights, subjects, phases and augmentation.
        run: devices of the training, and the checkpoint to resume from.
        objective: target, batches and loss.

    Returns:
        The trained field on the CPU, and its log with one row every `checkpoint_every` iterations (`LOG_COLUMNS`). The
        training loss of a row is the mean since the previous row.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = objective.network(settings.field)
    network.sigma.copy_(velocity_scale(train, objective.target))
    ecgs = ecgs_of(train)
    if hasattr(network, "features"):
        network.features.learn_scale(ecg_features(ecgs))
    if settings.shuffled_ecg:
        train = exchanged(train, ecgs, exchange(ecgs, str(seed)))
    network = network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    blocks = [module for module in network.modules() if isinstance(module, FilmBlock)] if settings.recompute else []
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)  # type: ignore[method-assign]
    network, table = loop.fit(
        network,
        objective.loss,
        objective.source(train, validation, settings, seed, objective.target, objective.with_displacement),
        settings,
        run,
        log_every=settings.checkpoint_every,
        entries=objective.entries,
    )
    table = table.rename(columns={"loss": "train_loss"})
    return network, table[list(LOG_COLUMNS)]
