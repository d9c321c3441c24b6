"""A training with a known gradient: a line through weighted points.

`python tests/lines.py CHECKPOINT WEIGHTS --devices 2` runs it in several processes; `--signal RANK ITERATION NUMBER`
has one of them send itself a signal in the middle of an iteration; `--parts 2` trains twice in a row.
"""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cof.config.training import TrainingSettings
from cof.training import loop
from cof.training.run import Loss, Run

SETTINGS = TrainingSettings(iterations=12, batch=8, checkpoint_every=5, weight_decay=0, ema=0.5, warmup=0.3)
FEATURES = 3


@dataclass(frozen=True)
class Points:
    x: Tensor
    y: Tensor
    weight: Tensor

    def to(self, device: torch.device) -> "Points":
        return Points(self.x.to(device), self.y.to(device), self.weight.to(device))


class Cloud:
    """Points that the iteration decides, of very unequal weights."""

    held_out = tuple(np.random.default_rng(1).normal(size=(3, FEATURES + 2)))

    def __init__(self, batch: int = SETTINGS.batch) -> None:
        self.batch = batch
        self.drawn: list[int] = []

    def draw(self, iteration: int) -> list[np.ndarray]:
        self.drawn.append(iteration)
        return list(np.random.default_rng(iteration).normal(size=(self.batch, FEATURES + 2)))

    def load(self, items: list[np.ndarray]) -> Points:
        rows = torch.from_numpy(np.stack(items)).float()
        return Points(rows[:, :FEATURES], rows[:, FEATURES : FEATURES + 1], rows[:, -1:].exp())


def line() -> nn.Linear:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Linear(FEATURES, 1)


def loss(network: nn.Linear, points: Points) -> Loss:
    error = (network(points.x) - points.y).abs()
    weight = points.weight.sum()
    value = (error.square() * points.weight).sum() / weight
    return Loss(value, weight, {"absolute": (error * points.weight).sum() / weight})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--parts", type=int, default=1, help="trainings in a row")
    parser.add_argument("--signal", type=int, nargs=3, default=(-1, 0, 0))
    options = parser.parse_args()
    rank, iteration, number = options.signal
    own, calls = int(os.environ.get("LOCAL_RANK", 0)), []
    options.checkpoint.with_name(f"rank-{own}.pid").write_text(str(os.getpid()))

    def watched(network: nn.Linear, points: Points) -> Loss:
        calls.extend([1] * torch.is_grad_enabled())
        # The launching process has no rank in its environment until it starts the others.
        if int(os.environ.get("LOCAL_RANK", 0)) == rank and len(calls) == iteration and torch.is_grad_enabled():
            os.kill(os.getpid(), number)
        return loss(network, points)

    run = Run(options.checkpoint, devices=options.devices)
    for part in range(1, options.parts):
        loop.fit(line(), loss, Cloud(), SETTINGS, run.part(str(part)), last=False)
    network, table = loop.fit(line(), watched, Cloud(), SETTINGS, run, log_every=4)
    torch.save({"network": network.state_dict(), "loss": table["loss"].tolist()}, options.weights)


if __name__ == "__main__":
    main()
