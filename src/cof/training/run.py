"""Parts of a training: a loss, a source of batches, and how and where it runs (`cof.training.loop` runs it).

An iteration is one step of Adam on one whole batch, which the seed and the iteration's number decide. Each process
takes its share of that batch, and a share that does not fit a device is seen in parts, the micro-batches. A loss is
therefore a weighted mean with its weight: gradients are summed over all parts and divided by the whole weight, so that
the split of a batch decides nothing but rounding.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import torch
from torch import Tensor

from cof.config.training import TrainingSettings


class Batch(Protocol):
    """What a network learns from at once."""

    def to(self, device: torch.device) -> Self:
        """The same batch on `device`."""
        ...


class Source(Protocol):
    """Where batches come from.

    Attributes:
        held_out: items whose loss is logged and steers nothing; may be empty.
    """

    held_out: Sequence[Any]

    def draw(self, iteration: int) -> Sequence[Any]:
        """The items of the whole batch of an iteration, counted from 1: the same whenever and wherever it is asked."""
        ...

    def load(self, items: Sequence[Any]) -> Any:
        """Some of these items as a `Batch`."""
        ...


@dataclass(frozen=True)
class Loss:
    """The loss of a batch or of a part of one.

    Attributes:
        value: a mean over the part, with its gradient.
        weight: what the part counts for in the mean over the whole batch.
        terms: further such means, for the log.
    """

    value: Tensor
    weight: float | Tensor
    terms: Mapping[str, float | Tensor] = field(default_factory=dict)


LossFunction = Callable[[Any, Any], Loss]


@dataclass(frozen=True)
class Effort:
    """What a finished training of one network has taken, in numbers that no machine's speed changes.

    Attributes:
        parameters: of the network, those that were trained.
        iterations: steps of the optimiser.
        samples: training examples that these steps have seen, with repetition; `batch` a step.
        device: cpu or gpu.
        processes: that trained together, one a device.
    """

    parameters: int
    iterations: int
    samples: int
    device: Literal["cpu", "gpu"]
    processes: int

    def record(self) -> dict[str, Any]:
        """For a JSON file; large counts in thousands, since a count of millions could pass for a participant's id."""
        counts: dict[str, Any] = {
            "thousand_parameters": self.parameters / 1000,
            "thousand_samples": self.samples / 1000,
        }
        return counts | {"iterations": self.iterations, "device": self.device, "processes": self.processes}


@dataclass(frozen=True)
class Trial:
    """A short training that helped to choose the learning rate of a network.

    Attributes:
        training: title of the training that it was for.
        learning_rate: that it tried.
        iterations: steps of the optimiser.
        validation_loss: after the last step; None where the loss did not stay finite.
        chosen: it had the lowest.
    """

    training: str
    learning_rate: float
    iterations: int
    validation_loss: float | None
    chosen: bool


@dataclass(frozen=True)
class Run:
    """How and where a training runs; nothing of it changes the result beyond rounding.

    Attributes:
        checkpoint: file to resume from if it exists, and to write. The caller names it after everything that decides
            the training, and removes it when the result is safe.
        curves: folder for TensorBoard, or None.
        devices: processes of this node; `auto` takes every visible GPU, or one process where there is none. Without
            effect where torchrun or srun started the processes.
        title: of the progress bar.
        efforts: what the trainings of this run have taken, one entry for each network. `cof.training.loop.fit` adds it,
            and the stage writes all of them into the model's settings.json.
        trials: likewise, that the learning rates of its networks were chosen by.
    """

    checkpoint: Path
    curves: Path | None = None
    devices: int | Literal["auto"] = "auto"
    title: str = "training"
    efforts: list[Effort] = field(default_factory=list, compare=False)
    trials: list[Trial] = field(default_factory=list, compare=False)

    def part(self, name: str) -> "Run":
        """The run of one of several trainings in a row that make one model: a checkpoint and curves of its own."""
        checkpoint = self.checkpoint.with_suffix(f".{name}{self.checkpoint.suffix}")
        curves = self.curves / name if self.curves is not None else None
        return replace(self, checkpoint=checkpoint, curves=curves, title=f"{self.title}: {name}")

    def clear(self) -> None:
        """Remove the checkpoint, and those of all parts."""
        parts = self.checkpoint.parent.glob(f"{self.checkpoint.stem}.*{self.checkpoint.suffix}")
        for path in (self.checkpoint, *parts):
            path.unlink(missing_ok=True)


def learning_rate(iteration: int, settings: TrainingSettings) -> float:
    """Learning rate of one iteration, counted from 1: a linear warm-up, then half a cosine down to zero or none."""
    rate = settings.learning_rate * min(1.0, iteration / (settings.warmup * settings.iterations + 1))
    if settings.schedule == "cosine":
        rate *= 0.5 * (1 + math.cos(math.pi * (iteration - 1) / settings.iterations))
    return rate
