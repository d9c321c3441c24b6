"""Parts of a training: loss, source of batches, devices and checkpoint. The loop itself is `cof.training.loop`.

An iteration is one step of Adam on one whole batch. The batch depends only on the seed and the number of the iteration.
Each process gets its share of the batch; a share that does not fit into the memory of a device is split into parts, the
micro-batches. A loss is therefore a weighted mean together with its weight: gradients are summed over all parts and
divided by the total weight, so the split of a batch changes the result only by rounding.
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
    """A batch of training data."""

    def to(self, device: torch.device) -> Self:
        """Return the same batch on `device`."""
        ...


class Source(Protocol):
    """A source of batches.

    Attributes:
        held_out: items for the validation loss, which is logged and used by trials of the learning rate; may be empty.
    """

    held_out: Sequence[Any]

    def draw(self, iteration: int) -> Sequence[Any]:
        """Draw the items of the whole batch of an iteration, counted from 1; the same in every process and call."""
        ...

    def load(self, items: Sequence[Any]) -> Any:
        """Read some of these items as a `Batch`."""
        ...


@dataclass(frozen=True)
class Loss:
    """The loss of a batch or of a part of it.

    Attributes:
        value: mean over the part, with its gradient.
        weight: weight of the part in the mean over the whole batch.
        terms: further means over the part, for the log.
    """

    value: Tensor
    weight: float | Tensor
    terms: Mapping[str, float | Tensor] = field(default_factory=dict)


LossFunction = Callable[[Any, Any], Loss]


@dataclass(frozen=True)
class Effort:
    """The effort of a finished training of one network, in numbers that do not depend on the speed of the machine.

    Attributes:
        parameters: number of trained parameters of the network.
        iterations: number of steps of the optimiser.
        samples: number of training examples in these steps, with repetition: `batch` per step.
        device: cpu or gpu.
        processes: number of processes that trained together, one per device.
    """

    parameters: int
    iterations: int
    samples: int
    device: Literal["cpu", "gpu"]
    processes: int

    def record(self) -> dict[str, Any]:
        """Return the effort as JSON values.

        Large counts are in thousands, because a count of millions could look like the id of a participant.
        """
        counts: dict[str, Any] = {
            "thousand_parameters": self.parameters / 1000,
            "thousand_samples": self.samples / 1000,
        }
        return counts | {"iterations": self.iterations, "device": self.device, "processes": self.processes}


@dataclass(frozen=True)
class Trial:
    """A short training, to choose the learning rate of a network.

    Attributes:
        training: title of the training whose learning rate is chosen.
        learning_rate: learning rate of this trial.
        iterations: number of steps of the optimiser.
        validation_loss: validation loss after the last step; None if the loss was not finite.
        chosen: True for the trial with the lowest validation loss.
    """

    training: str
    learning_rate: float
    iterations: int
    validation_loss: float | None
    chosen: bool


@dataclass(frozen=True)
class Run:
    """Devices, checkpoint and curves of a training. They change the result only by rounding.

    Attributes:
        checkpoint: file to write, and to resume from if it exists. The caller puts a hash of everything that determines
            the training into its name, and removes it when the result is written.
        curves: folder of the curves for TensorBoard, or None.
        devices: number of processes of this node. `auto` is one process per visible GPU, or one process without a GPU.
            It has no effect if torchrun or srun started the processes.
        title: title of the progress bar.
        efforts: efforts of the trainings of this run, one entry per network. `cof.training.loop.fit` adds them, and the
            stage writes them to the model's settings.json.
        trials: trials of the learning rates of these networks, added and written in the same way.
    """

    checkpoint: Path
    curves: Path | None = None
    devices: int | Literal["auto"] = "auto"
    title: str = "training"
    efforts: list[Effort] = field(default_factory=list, compare=False)
    trials: list[Trial] = field(default_factory=list, compare=False)

    def part(self, name: str) -> "Run":
        """Return the run of one of several successive trainings of a model, with its own checkpoint and curves."""
        checkpoint = self.checkpoint.with_suffix(f".{name}{self.checkpoint.suffix}")
        curves = self.curves / name if self.curves is not None else None
        return replace(self, checkpoint=checkpoint, curves=curves, title=f"{self.title}: {name}")

    def clear(self) -> None:
        """Remove the checkpoint of this run and those of its parts."""
        parts = self.checkpoint.parent.glob(f"{self.checkpoint.stem}.*{self.checkpoint.suffix}")
        for path in (self.checkpoint, *parts):
            path.unlink(missing_ok=True)


def learning_rate(iteration: int, settings: TrainingSettings) -> float:
    """Return the learning rate of an iteration, counted from 1: a linear warm-up, then a constant or a half cosine.

    The half cosine (`schedule: cosine`) runs over all iterations and falls to almost zero at the last.
    """
    rate = settings.learning_rate * min(1.0, iteration / (settings.warmup * settings.iterations + 1))
    if settings.schedule == "cosine":
        rate *= 0.5 * (1 + math.cos(math.pi * (iteration - 1) / settings.iterations))
    return rate
