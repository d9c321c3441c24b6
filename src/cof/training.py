"""What our training loops share: the learning rate of an iteration, and checkpoints that appear only when whole."""

import math
from pathlib import Path

import torch

from cof.config import TrainingSettings
from cof.folders import whole_file


def learning_rate(iteration: int, settings: TrainingSettings) -> float:
    """Learning rate of one iteration, counted from 1: a linear warm-up, then half a cosine down to zero or none."""
    rate = settings.learning_rate * min(1.0, iteration / (settings.warmup * settings.iterations + 1))
    if settings.schedule == "cosine":
        rate *= 0.5 * (1 + math.cos(math.pi * (iteration - 1) / settings.iterations))
    return rate


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give all parameters of an optimiser one learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def save_checkpoint(path: Path, state: dict[str, object]) -> None:
    """Write a checkpoint aside and put it in place of the last one."""
    with whole_file(path) as aside:
        torch.save(state, aside)
