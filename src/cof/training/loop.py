"""The loop in which every network of ours learns: Lightning's trainer, fed by the iteration.

Heavy to import: stages do so when they train.
"""

import copy
import logging
import math
import os
import signal
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any, Literal, TypeVar

import pandas as pd
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import Tensor, nn

from cof.artefacts.folders import whole_file
from cof.config.training import TrainingSettings
from cof.errors import UsageError
from cof.progress import Progress
from cof.training.curves import Curves
from cof.training.run import Effort, LossFunction, Run, Source, Trial, learning_rate

log = logging.getLogger(__name__)
# Lightning introduces itself on every start.
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)

Network = TypeVar("Network", bound=nn.Module)
Result = TypeVar("Result")

STOPPING = (signal.SIGTERM, signal.SIGUSR1)
# Loading threads of a process that computes on a GPU. On a CPU they would take the time that they save.
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
        network: with its initial weights, the same in every process.
        loss: of the network (or the moving average of its weights) and a batch.
        source: of the batches.
        settings: of the training.
        run: where it runs, resumes and is logged.
        log_every: iterations a row of the log.
        entries: methods of the network through which the loss calls it, to be cast.
        last: nothing else is trained afterwards. Otherwise all processes return and go on together.

    Returns:
        The trained network on the CPU, in evaluation mode, and the log with the columns iteration, loss, the loss's
        terms, `validation_loss` and `learning_rate`; values are means since the row before. `run.efforts` has gained
        what it took, and `run.trials` those that chose its learning rate. Of several processes only the first returns:
        the others end here.

    Raises:
        SystemExit: SIGTERM or SIGUSR1 came; the checkpoint of the iteration that was running then is written.
        UsageError: the processes cannot share the batch evenly, or nobody is held out for the trials asked for.
        FloatingPointError: the loss is no longer finite.
    """
    if settings.trials:
        rate = _tried(network, loss, source, settings, run, entries)
        settings = settings.model_copy(update={"learning_rate": rate})
    environment, devices, nodes = _processes(run.devices)
    if settings.batch % (devices * nodes):
        raise UsageError(f"a batch of {settings.batch} cannot be shared evenly by {devices * nodes} processes")
    share = settings.batch // (devices * nodes)
    parts = math.ceil(share / min(settings.micro_batch or share, share))
    module = _Module(network, loss, settings, parts, entries)
    journal = _Journal(settings, run, log_every, source)
    state = _read(run.checkpoint)
    if state:
        journal.resume(module, state)
    feed = _Feed(source, journal.done + 1, settings.iterations, parts)
    journal.feed = feed
    device = "gpu" if torch.cuda.is_available() else "cpu"
    if devices * nodes > 1:
        strategy: Any = DDPStrategy(cluster_environment=environment)
    else:
        strategy = SingleDeviceStrategy(device="cuda:0" if device == "gpu" else "cpu")
    if journal.done < settings.iterations:
        with warnings.catch_warnings(), _own_handlers():
            warnings.filterwarnings("ignore", module="lightning")  # on loaders, which ours are not
            trainer = Trainer(
                accelerator=device,
                devices=devices,
                num_nodes=nodes,
                strategy=strategy,
                plugins=None if devices * nodes > 1 else [environment],
                max_epochs=1,
                accumulate_grad_batches=parts,
                callbacks=[journal],
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                use_distributed_sampler=False,
            )
            trainer.fit(module, train_dataloaders=feed)
        if last and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        if (last or journal.stopped) and not trainer.is_global_zero:
            raise SystemExit(0)
        if journal.stopped:
            name = signal.Signals(journal.stopped).name
            log.error("stopped by %s at iteration %d; the next start resumes", name, journal.done)
            raise SystemExit(128 + journal.stopped)
    elif last and environment.global_rank():
        raise SystemExit(0)
    for name in entries:
        vars(network).pop(name, None)
    trained = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    samples = settings.iterations * settings.batch
    processes = devices * nodes
    run.efforts.append(Effort(trained, settings.iterations, samples, "gpu" if device == "gpu" else "cpu", processes))
    return (module.average or module.network).cpu().eval(), pd.DataFrame(journal.rows)


def _tried(
    network: nn.Module,
    loss: LossFunction,
    source: Source,
    settings: TrainingSettings,
    run: Run,
    entries: Sequence[str],
) -> float:
    """The learning rate with which a short training from the same initial weights ends at the lowest validation loss.

    A moving average would still remember those weights, so trials have none.
    """
    assert settings.trials
    if not len(source.held_out):
        raise UsageError(f"{run.title}: trials need validation subjects, and there are none")
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
        raise FloatingPointError(f"{run.title}: the loss of every trial was no longer finite")
    for rate, value in ended.items():
        known = value if math.isfinite(value) else None
        run.trials.append(Trial(run.title, rate, settings.trial_iterations, known, rate == best))
    log.info("%s: of %s the learning rate %g is used", run.title, ", ".join(f"{rate:g}" for rate in ended), best)
    return best


def _processes(devices: int | Literal["auto"]) -> tuple[ClusterEnvironment, int, int]:
    """Who starts the processes, how many of them a node has, and the number of nodes."""
    if TorchElasticEnvironment.detect():
        local, world = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
        return TorchElasticEnvironment(), local, world // local
    tasks, nodes = (int(os.environ.get(f"SLURM_STEP_NUM_{counted}", 1)) for counted in ("TASKS", "NODES"))
    if tasks > 1:
        return SLURMEnvironment(auto_requeue=False), tasks // nodes, nodes
    # A lone task under SLURM starts its processes itself, as everywhere else.
    return LightningEnvironment(), (max(torch.cuda.device_count(), 1) if devices == "auto" else devices), 1


class _Module(LightningModule):
    """A network as Lightning trains it."""

    def __init__(
        self, network: Any, loss: LossFunction, settings: TrainingSettings, parts: int, entries: Sequence[str]
    ) -> None:
        super().__init__()
        self.network = network.train()
        self.average = copy.deepcopy(network).requires_grad_(False) if settings.ema else None
        self.loss = loss
        self.settings = settings
        self.parts = parts
        self.totals: Tensor | None = None
        self.terms: list[str] = []
        self.iteration = 0
        self.asked = 0  # the signal that came to this process
        self.stop = 0  # the one on which all processes agreed
        self.means: list[float] = []
        for name in entries:
            if settings.compile:
                setattr(network, name, torch.compile(getattr(network, name)))
            if settings.precision == "bf16":
                setattr(network, name, _in_bfloat16(getattr(network, name)))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam; a checkpoint's state is put into it when the training starts."""
        settings = self.settings
        return torch.optim.Adam(self.network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Batches move themselves."""
        return batch.to(device)

    def training_step(self, batch: Any, index: int) -> Tensor:
        """The loss of one part, times its weight."""
        found = self.loss(self.network, batch)
        total = found.value * found.weight
        self.terms = list(found.terms)
        values = [found.value.detach(), *(torch.as_tensor(value).detach() for value in found.terms.values())]
        weight = torch.as_tensor(found.weight, device=total.device).detach().double()
        totals = torch.stack([*(value.to(total.device).double() * weight for value in values), weight])
        self.totals = totals if self.totals is None else self.totals + totals
        return total

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """Sums become means: over all parts, of all processes."""
        assert self.totals is not None
        totals = torch.cat([self.totals, self.totals.new_tensor([self.asked])])
        if self.trainer.world_size > 1:
            summed = self.trainer.strategy.reduce(totals[:-1], reduce_op="sum")
            latest = self.trainer.strategy.reduce(totals[-1:], reduce_op="max")
            totals = torch.cat([summed, latest])
        *sums, weight, stop = totals.tolist()
        self.means, self.stop, self.totals = [value / weight for value in sums], int(stop), None
        # Lightning has divided by the parts, and DDP by the processes.
        factor = self.parts * self.trainer.world_size / weight
        for parameter in self.network.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(factor)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(self.iteration, self.settings)

    @torch.no_grad()
    def follow(self) -> None:
        """Move the exponential moving average of the weights one step towards them.

        At first it forgets faster than `ema` says: a short training shall not keep the random weights it began with.
        """
        if self.average is not None:
            decay = min(self.settings.ema, self.iteration / (self.iteration + 9))
            for mean, value in zip(self.average.parameters(), self.network.parameters()):
                mean.lerp_(value, 1 - decay)


class _Feed:
    """The parts of this process of every iteration that is left, in order."""

    def __init__(self, source: Source, first: int, last: int, parts: int) -> None:
        self.source, self.first, self.last, self.parts = source, first, last, parts
        self.rank, self.world, self.threads = 0, 1, 0
        self.waited = 0.0

    def __len__(self) -> int:
        return (self.last - self.first + 1) * self.parts

    def __iter__(self) -> Iterator[Any]:
        batches = _ahead(self._loads(), self.threads)
        while True:
            start = time.perf_counter()
            batch = next(batches, None)
            self.waited += time.perf_counter() - start
            if batch is None:
                return
            yield batch

    def _loads(self) -> Iterator[Callable[[], Any]]:
        for iteration in range(self.first, self.last + 1):
            items = self.source.draw(iteration)
            share = len(items) // self.world
            own = items[self.rank * share : (self.rank + 1) * share]
            for part in range(self.parts):
                chosen = own[part * share // self.parts : (part + 1) * share // self.parts]
                yield partial(self.source.load, chosen)


def _ahead(tasks: Iterator[Callable[[], Result]], threads: int) -> Iterator[Result]:
    """The results of tasks in their order, so many of them in preparation."""
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


class _Journal(Callback):
    """What is kept of a training while it runs: its log, and the checkpoint it resumes from; and when it stops."""

    def __init__(self, settings: TrainingSettings, run: Run, log_every: int, source: Source) -> None:
        self.settings, self.run, self.log_every, self.source = settings, run, log_every, source
        self.done = 0
        self.rows: list[dict[str, float]] = []
        self.recent: list[list[float]] = []
        self.stopped = 0
        self.bar: Progress | None = None
        self.feed: _Feed
        self._optimiser: dict[str, Any] | None = None

    def resume(self, module: _Module, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        module.network.load_state_dict(state["network"])
        if module.average is not None:
            module.average.load_state_dict(state["average"])
        self._optimiser = state["optimiser"]
        self.done, self.rows, self.recent = state["iteration"], state["rows"], state["recent"]

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Only now this process knows its place among the others."""
        self.feed.rank, self.feed.world = trainer.global_rank, trainer.world_size
        if module.device.type == "cuda":
            self.feed.threads = min(LOADERS, max(1, len(os.sched_getaffinity(0)) // trainer.num_devices - 1))

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Put the optimiser's state in place, and listen for signals (Lightning's own handlers are replaced)."""
        assert isinstance(module, _Module)
        if self._optimiser is not None:
            trainer.optimizers[0].load_state_dict(self._optimiser)
            if trainer.is_global_zero:
                log.info("%s resumes after iteration %d", self.run.title, self.done)
        module.iteration = self.done + 1
        for number in STOPPING:
            signal.signal(number, partial(_note, module))
        self.curves = Curves(self.run.curves) if self.run.curves and trainer.is_global_zero else None
        self.bar = Progress(
            self.run.title, self.settings.iterations, "iteration", self.done, shown=trainer.is_global_zero
        )
        self.bar.start()
        self.started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """After the last part of an iteration: log, checkpoint, stop."""
        assert isinstance(module, _Module)
        if (batch_idx + 1) % module.parts:
            return
        self.done = module.iteration
        module.follow()
        if not all(map(math.isfinite, module.means)):
            raise FloatingPointError(f"{self.run.title}: the loss is not finite at iteration {self.done}")
        self.recent.append(module.means)
        last = self.done == self.settings.iterations
        if self.done % self.log_every == 0 or last:
            self._row(trainer, module)
        assert self.bar is not None
        self.bar.step(noted=f"loss {module.means[0]:.3f}")
        if self.done % self.settings.checkpoint_every == 0 or last or module.stop:
            self._save(trainer, module)
        if module.stop and not last:
            self.stopped = module.stop
            trainer.should_stop = True
        module.iteration += 1

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        """Say no more of a training that has failed."""
        if self.bar is not None:
            self.bar.stop(whole=False)

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Say what it took."""
        if self.bar is not None:
            self.bar.stop(whole=not self.stopped)
        if trainer.is_global_zero and self.feed.first <= self.done:
            took = time.perf_counter() - self.started
            each, waiting = took / (self.done - self.feed.first + 1), self.feed.waited / took
            log.info("%s: %.3g s an iteration, %.0f %% of it for data", self.run.title, each, 100 * waiting)

    def _row(self, trainer: Trainer, module: _Module) -> None:
        means = [sum(values) / len(values) for values in zip(*self.recent)]
        self.recent = []
        row = {"iteration": self.done} | dict(zip(["loss", *module.terms], means))
        row |= {"validation_loss": self._held_out(trainer, module)}
        row |= {"learning_rate": learning_rate(self.done, self.settings)}
        self.rows.append(row)
        if self.curves is not None:
            self.curves.add(row)

    @torch.no_grad()
    def _held_out(self, trainer: Trainer, module: _Module) -> float:
        """Mean loss of the held-out items, shared by the processes; nan where there are none."""
        items = self.source.held_out
        if not len(items):
            return math.nan
        network = (module.average if module.average is not None else module.network).eval()
        own = items[trainer.global_rank :: trainer.world_size]
        losses = [float(module.loss(network, self.source.load([item]).to(module.device)).value) for item in own]
        module.network.train()
        total = torch.tensor(sum(losses), dtype=torch.float64, device=module.device)
        if trainer.world_size > 1:
            total = trainer.strategy.reduce(total, reduce_op="sum")
        return float(total) / len(items)

    def _save(self, trainer: Trainer, module: _Module) -> None:
        if trainer.is_global_zero:
            state = {
                "network": module.network.state_dict(),
                "optimiser": trainer.optimizers[0].state_dict(),
                "iteration": self.done,
                "rows": self.rows,
                "recent": self.recent,
            }
            state |= {"average": module.average.state_dict()} if module.average is not None else {}
            with whole_file(self.run.checkpoint) as aside:
                torch.save(state, aside)


def _read(checkpoint: Path) -> dict[str, Any] | None:
    return torch.load(checkpoint, map_location="cpu", weights_only=True) if checkpoint.is_file() else None


@contextmanager
def _own_handlers() -> Iterator[None]:
    """Signals mean what they meant before, once the block has ended."""
    before = {number: signal.getsignal(number) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _note(module: _Module, number: int, frame: FrameType | None) -> None:
    module.asked = number


def _in_bfloat16(method: Callable[..., Any]) -> Callable[..., Any]:
    """The same computation with matrix products and convolutions in bfloat16."""

    def cast(*arguments: Any) -> Any:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        with torch.autocast(device, torch.bfloat16):
            return method(*arguments)

    return cast
