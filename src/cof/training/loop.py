"""The training loop of every network, on the devices and in the processes of Lightning Fabric.

The import is slow, so stages import this module only when they train.
"""

import copy
import logging
import math
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from types import FrameType
from typing import Any, Literal, TypeVar

import pandas as pd
import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from cof.artefacts.folders import whole_file
from cof.config.training import TrainingSettings
from cof.errors import UsageError
from cof.progress import Progress
from cof.training.curves import Curves
from cof.training.run import Effort, LossFunction, Run, Source, Trial, learning_rate

log = logging.getLogger(__name__)
# Without this, Fabric logs every process that it starts.
logging.getLogger("lightning.fabric").setLevel(logging.WARNING)

Network = TypeVar("Network", bound=nn.Module)
Result = TypeVar("Result")

STOPPING = (signal.SIGTERM, signal.SIGUSR1)
# Loading threads of a process that computes on a GPU. On a CPU, they would take as much time as they save.
LOADERS = 8


def fit(
    network: Network,
    loss: LossFunction,
    source: Source,
    settings: TrainingSettings,
    run: Run,
    *,
    log_every: int = 1,
    entries: Sequence[str] = ("forward",),
    last: bool = True,
) -> tuple[Network, pd.DataFrame]:
    """Train a network.

    Args:
        network: the network with its initial weights, which are the same in every process.
        loss: loss of the network, or of the moving average of its weights, on a batch.
        source: source of the batches.
        settings: settings of the training.
        run: devices, checkpoint and curves of the training.
        log_every: number of iterations per row of the log.
        entries: methods of the network that the loss calls; they are compiled and cast as the settings say.
        last: True if no other training follows. Then only the first of several processes returns, and the others end
            here. Otherwise all processes return and continue together.

    Returns:
        The trained network on the CPU, in evaluation mode; and the log with the columns iteration, loss, the terms of
        the loss, `validation_loss` and `learning_rate`. Loss and terms are means since the previous row. An entry is
        added to `run.efforts`, and the trials of the learning rate to `run.trials`.

    Raises:
        SystemExit: SIGTERM or SIGUSR1 was received, and the checkpoint of the current iteration is written; or this is
            not the first process.
        UsageError: the batch cannot be shared evenly by the processes, or trials are set without validation subjects.
        FloatingPointError: the loss is not finite.
    """
    if settings.trials:
        rate = _tried(network, loss, source, settings, run, entries)
        settings = settings.model_copy(update={"learning_rate": rate})
    environment, devices, nodes = _processes(run.devices)
    if settings.batch % (devices * nodes):
        raise UsageError(
            f"a batch of {settings.batch} cannot be shared evenly by {devices * nodes} processes: change the batch or "
            "the number of devices"
        )
    fabric = Fabric(
        accelerator="cuda" if torch.cuda.is_available() else "cpu",
        devices=devices,
        num_nodes=nodes,
        strategy="ddp" if devices * nodes > 1 else "auto",
        plugins=[environment],
    )
    training = _Training(network, loss, source, settings, run, log_every, fabric)
    if training.done < settings.iterations:
        fabric.launch()
        stopped = training.iterate(entries, devices)
        if last and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        if (last or stopped) and not fabric.is_global_zero:
            raise SystemExit(0)
        if stopped:
            name = signal.Signals(stopped).name
            log.error("stopped by %s at iteration %d; the next start resumes", name, training.done)
            raise SystemExit(128 + stopped)
    elif last and environment.global_rank():
        raise SystemExit(0)
    for name in entries:
        vars(network).pop(name, None)
    trained = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    samples = settings.iterations * settings.batch
    kind: Literal["cpu", "gpu"] = "gpu" if torch.cuda.is_available() else "cpu"
    run.efforts.append(Effort(trained, settings.iterations, samples, kind, devices * nodes))
    return training.kept.cpu().eval(), pd.DataFrame(training.rows)


def _tried(
    network: nn.Module,
    loss: LossFunction,
    source: Source,
    settings: TrainingSettings,
    run: Run,
    entries: Sequence[str],
) -> float:
    """Choose the learning rate by short trainings from the same initial weights: the lowest final validation loss.

    Trials have no moving average of the weights, because after few iterations it would still contain the initial
    weights.
    """
    assert settings.trials
    if not len(source.held_out):
        raise UsageError(
            f"{run.title}: trials need validation subjects, and there are none: add some, or set trials: null"
        )
    ended: dict[float, float] = {}
    short = {"iterations": settings.trial_iterations, "ema": 0.0, "trials": None}
    for number, factor in enumerate(settings.trials.factors):
        rate = settings.learning_rate * factor
        trial = settings.model_copy(update=short | {"learning_rate": rate})
        own = replace(run.part(f"trial {number}"), efforts=[])
        try:
            _, log_of_trial = fit(
                copy.deepcopy(network), loss, source, trial, own,
                log_every=trial.iterations, entries=entries, last=False,
            )  # fmt: skip
            reached = float(log_of_trial["validation_loss"].iloc[-1])
            ended[rate] = reached if math.isfinite(reached) else math.inf
        except FloatingPointError:
            ended[rate] = math.inf
    best = min(ended, key=lambda rate: ended[rate])
    if not math.isfinite(ended[best]):
        raise FloatingPointError(f"{run.title}: no trial ended with a finite loss; use a lower learning_rate")
    for rate, value in ended.items():
        known = value if math.isfinite(value) else None
        run.trials.append(Trial(run.title, rate, settings.trial_iterations, known, rate == best))
    log.info("%s: learning rates %s were tried, %g is used", run.title, ", ".join(f"{rate:g}" for rate in ended), best)
    return best


def _processes(devices: int | Literal["auto"]) -> tuple[ClusterEnvironment, int, int]:
    """Return the environment that starts the processes, the number of processes per node, and the number of nodes."""
    if TorchElasticEnvironment.detect():
        local, world = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
        return TorchElasticEnvironment(), local, world // local
    tasks, nodes = (int(os.environ.get(f"SLURM_STEP_NUM_{counted}", 1)) for counted in ("TASKS", "NODES"))
    if tasks > 1:
        return SLURMEnvironment(auto_requeue=False), tasks // nodes, nodes
    # A single task under SLURM starts its processes itself, as outside of SLURM.
    return LightningEnvironment(), (max(torch.cuda.device_count(), 1) if devices == "auto" else devices), 1


class _Part(nn.Module):
    """The weighted loss of one part of a batch, as a module that DDP can wrap."""

    def __init__(self, network: nn.Module, loss: LossFunction) -> None:
        super().__init__()
        self.network, self.loss = network, loss
        self.terms: list[str] = []
        self.totals = torch.zeros(())

    def forward(self, batch: Any) -> Tensor:
        """Return the loss times its weight, and set `totals`: the loss, its terms and 1, each times the weight."""
        found = self.loss(self.network, batch)
        total = found.value * found.weight
        self.terms = list(found.terms)
        values = [found.value.detach(), *(torch.as_tensor(value).detach() for value in found.terms.values())]
        weight = torch.as_tensor(found.weight, device=total.device).detach().double()
        self.totals = torch.stack([*(value.to(total.device).double() * weight for value in values), weight])
        return total


class _Training:
    """One training: weights, their moving average, the log, and the checkpoint to resume from."""

    def __init__(
        self,
        network: Any,
        loss: LossFunction,
        source: Source,
        settings: TrainingSettings,
        run: Run,
        log_every: int,
        fabric: Fabric,
    ) -> None:
        self.network = network.train()
        self.average: Any = None
        if settings.ema:
            self.average = AveragedModel(network, avg_fn=self._averaged).requires_grad_(False)
            self.average.update_parameters(network)  # the first call copies
        self.loss, self.source, self.settings, self.run = loss, source, settings, run
        self.log_every, self.fabric = log_every, fabric
        share = settings.batch // fabric.world_size
        self.parts = math.ceil(share / min(settings.micro_batch or share, share))
        self.asked = 0  # the signal that this process has received
        self.waited = 0.0
        state = torch.load(run.checkpoint, "cpu", weights_only=True) if run.checkpoint.is_file() else {}
        if state:
            self.network.load_state_dict(state["network"])
        if state and self.average is not None:
            self.average.module.load_state_dict(state["average"])
        self.optimiser: dict[str, Any] = state.get("optimiser", {})
        self.done: int = state.get("iteration", 0)
        self.rows: list[dict[str, float]] = state.get("rows", [])
        self.recent: list[list[float]] = state.get("recent", [])

    @property
    def kept(self) -> Any:
        """The network to validate and to return: the moving average if there is one."""
        return self.network if self.average is None else self.average.module

    def iterate(self, entries: Sequence[str], processes: int) -> int:
        """Train until the last iteration, or until any process receives a signal.

        Args:
            entries: methods of the network to be compiled and cast.
            processes: number of processes of this node, which share its cores.

        Returns:
            The signal that ended the training early, or 0.
        """
        fabric, settings, run = self.fabric, self.settings, self.run
        for name in entries:
            if settings.compile:
                setattr(self.network, name, torch.compile(getattr(self.network, name)))
            if settings.precision == "bf16":
                setattr(self.network, name, _in_bfloat16(getattr(self.network, name)))
        part = _Part(self.network, self.loss)
        step = fabric.setup_module(part)
        self.kept.to(fabric.device)
        adam = torch.optim.Adam(self.network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
        if self.optimiser:
            adam.load_state_dict(self.optimiser)
            if fabric.is_global_zero:
                log.info("%s resumes after iteration %d", run.title, self.done)
        curves = Curves(run.curves) if run.curves and fabric.is_global_zero else None
        bar = Progress(run.title, settings.iterations, "iteration", self.done, shown=fabric.is_global_zero)
        before, stop, start = self.done, 0, time.perf_counter()
        threads = min(LOADERS, max(1, len(os.sched_getaffinity(0)) // processes - 1))
        batches = _ahead(self._loads(), threads if fabric.device.type == "cuda" else 0)
        bar.start()
        try:
            with _handling(self._note):
                while self.done < settings.iterations and not stop:
                    means, stop = self._step(step, part, adam, batches)
                    if not all(map(math.isfinite, means)):
                        raise FloatingPointError(f"{run.title}: the loss is not finite at iteration {self.done}")
                    self.recent.append(means)
                    last = self.done == settings.iterations
                    if self.done % self.log_every == 0 or last:
                        self._log(part.terms, curves)
                    bar.step(noted=f"loss {means[0]:.3f}")
                    if self.done % settings.checkpoint_every == 0 or last or stop:
                        self._save(adam)
        finally:
            bar.stop(whole=self.done == settings.iterations)
        if fabric.is_global_zero:
            took = time.perf_counter() - start
            each, waiting = took / (self.done - before), self.waited / took
            log.info("%s: %.3g s per iteration, %.0f %% of it waiting for data", run.title, each, 100 * waiting)
        return stop if self.done < settings.iterations else 0

    def _step(self, step: Any, part: _Part, adam: torch.optim.Adam, batches: Iterator[Any]) -> tuple[list[float], int]:
        """Run one iteration; return the means of loss and terms, and a signal that any process received, or 0."""
        fabric = self.fabric
        totals: Any = 0
        for number in range(1, self.parts + 1):
            start = time.perf_counter()
            batch = next(batches)
            self.waited += time.perf_counter() - start
            with fabric.no_backward_sync(step, enabled=number < self.parts):
                fabric.backward(step(batch.to(fabric.device)))
            totals = totals + part.totals
        *sums, weight = fabric.strategy.all_reduce(totals, reduce_op="sum").tolist()
        stop = int(fabric.strategy.all_reduce(torch.tensor(self.asked, device=fabric.device), reduce_op="max"))
        for parameter in self.network.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(fabric.world_size / weight)  # DDP has divided by the number of processes
        self.done += 1
        for group in adam.param_groups:
            group["lr"] = learning_rate(self.done, self.settings)
        adam.step()
        adam.zero_grad()
        if self.average is not None:
            self.average.update_parameters(self.network)
        return [value / weight for value in sums], stop

    def _averaged(self, mean: Tensor, value: Tensor, count: Tensor | int) -> Tensor:
        """Update the exponential moving average of a weight by one step.

        In the first iterations the decay is lower than `ema`, so that the average of a short training does not contain
        the random initial weights.
        """
        decay = min(self.settings.ema, self.done / (self.done + 9))
        return mean.lerp(value.detach(), 1 - decay)

    def _loads(self) -> Iterator[Callable[[], Any]]:
        """Yield functions that load the parts of this process, in order, for all remaining iterations."""
        for iteration in range(self.done + 1, self.settings.iterations + 1):
            items = self.source.draw(iteration)
            share = len(items) // self.fabric.world_size
            own = items[self.fabric.global_rank * share :][:share]
            for part in range(self.parts):
                chosen = own[part * share // self.parts : (part + 1) * share // self.parts]
                yield partial(self.source.load, chosen)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = number

    def _log(self, terms: Sequence[str], curves: Curves | None) -> None:
        means = [sum(values) / len(values) for values in zip(*self.recent)]
        self.recent = []
        row = {"iteration": self.done} | dict(zip(["loss", *terms], means))
        row |= {"validation_loss": self._held_out(), "learning_rate": learning_rate(self.done, self.settings)}
        self.rows.append(row)
        if curves is not None:
            curves.add(row)

    @torch.no_grad()
    def _held_out(self) -> float:
        """Compute the mean loss of the held-out items, which the processes share; NaN if there are none."""
        items, fabric = self.source.held_out, self.fabric
        if not len(items):
            return math.nan
        network = self.kept.eval()
        own = items[fabric.global_rank :: fabric.world_size]
        losses = [float(self.loss(network, self.source.load([item]).to(fabric.device)).value) for item in own]
        self.network.train()
        total = torch.tensor(sum(losses), dtype=torch.float64, device=fabric.device)
        return float(fabric.strategy.all_reduce(total, reduce_op="sum")) / len(items)

    def _save(self, adam: torch.optim.Adam) -> None:
        if self.fabric.is_global_zero:
            state = {
                "network": self.network.state_dict(),
                "optimiser": adam.state_dict(),
                "iteration": self.done,
                "rows": self.rows,
                "recent": self.recent,
            }
            state |= {"average": self.average.module.state_dict()} if self.average is not None else {}
            with whole_file(self.run.checkpoint) as aside:
                torch.save(state, aside)


def _ahead(tasks: Iterator[Callable[[], Result]], threads: int) -> Iterator[Result]:
    """Yield the results of tasks in their order, while further ones are computed in threads; 0 is without threads."""
    if not threads:
        yield from (task() for task in tasks)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting = deque(pool.submit(task) for task in islice(tasks, threads))
        for task in tasks:
            yield waiting.popleft().result()
            waiting.append(pool.submit(task))
        while waiting:
            yield waiting.popleft().result()


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Send the signals in `STOPPING` to this handler during the block."""
    before = {number: signal.signal(number, handler) for number in STOPPING}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def _in_bfloat16(method: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a method so that its matrix products and convolutions are in bfloat16."""

    def cast(*arguments: Any) -> Any:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        with torch.autocast(device, torch.bfloat16):
            return method(*arguments)

    return cast
