"""Progress of work that takes longer than a few seconds: a bar in a terminal, lines in a log.

The first line is logged after five seconds, then one every ten seconds. In long work the interval is a twentieth of
the time taken so far, at most ten minutes. A separate thread logs them, so that they appear during a long step too.
A command that handles one person has a line for each of its steps instead of one for the end of each piece of work.
"""

import logging
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Self, TypeVar

from tqdm import tqdm

log = logging.getLogger(__name__)

_Item = TypeVar("_Item")

SILENT_S = 5.0
_EVERY_S = 10.0
_SHARE = 1 / 20
_AT_MOST_S = 600.0
_IN_STEP = ContextVar("in a step", default=False)


class Progress:
    """Progress of one piece of work, while the `with` block lasts.

    Args:
        what: name of the work, one or two words.
        total: number of steps; None if it is not known.
        unit: name of one step, in the singular.
        done: number of steps that were done before.
        shown: False in processes that share the work with another one that shows it.
        even: whether all steps take about the same time, so that the time left can be estimated.
    """

    def __init__(
        self,
        what: str,
        total: float | None,
        unit: str = "step",
        done: int = 0,
        shown: bool = True,
        even: bool = True,
    ) -> None:
        self.what, self.total, self.unit, self.shown, self.even = what, total, unit, shown, even
        self.done: float = done
        self._before = done
        self._noted = ""
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._bar: tqdm | None = None
        self._thread: threading.Thread | None = None
        self._started = time.monotonic()
        self._stepped = 0.0  # seconds from the start to the latest step

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop(whole=kind is None)

    def start(self) -> None:
        """Start to show the progress, where a `with` block cannot be used."""
        self._started = time.monotonic()
        if self.shown and sys.stderr.isatty():
            self._bar = tqdm(
                total=self.total, initial=self._before, desc=self.what, unit=self.unit, leave=not _IN_STEP.get()
            )
        elif self.shown:
            self._thread = threading.Thread(target=self._speak, daemon=True)
            self._thread.start()

    def stop(self, whole: bool = True) -> None:
        """Stop showing the progress; log the time taken if the work is complete."""
        self._ended.set()
        if self._bar is not None:
            self._bar.close()
        if self._thread is not None:
            self._thread.join()
            if whole and self.seconds > SILENT_S and not _IN_STEP.get():
                log.info("%s", self.ended())

    @property
    def seconds(self) -> float:
        """Time taken so far, s."""
        return time.monotonic() - self._started

    def step(self, count: float = 1.0, noted: str = "") -> None:
        """Advance by `count` steps, or a fraction of one; from now on show `noted`, such as a loss."""
        with self._lock:
            self._reach(self.done + count, noted)

    def reach(self, done: float) -> None:
        """Set the number of steps done."""
        with self._lock:
            self._reach(done, "")

    def _reach(self, done: float, noted: str) -> None:
        self.done, self._noted, self._stepped = done, noted or self._noted, self.seconds
        if self._bar is not None:
            if noted:
                self._bar.set_postfix_str(noted, refresh=False)
            self._bar.update(round(done, 1) - self._bar.n)

    def _speak(self) -> None:
        wait = SILENT_S
        while not self._ended.wait(wait):
            log.info("%s", self.line())
            wait = min(max(_EVERY_S, _SHARE * self.seconds), _AT_MOST_S)

    def line(self) -> str:
        """Return the state of the work: steps done, rate, time left."""
        took, done = self.seconds, self.done - self._before
        parts = [self._count()]
        left = 0.0
        if done > 0 and self.even:
            each = self._stepped / done
            parts.append(f"{duration(each)} each" if each >= 1 else f"{1 / each:.3g} per second")
            left = 0.0 if self.total is None else each * (self.total - self.done) - (took - self._stepped)
        parts.append(f"about {duration(left)} left" if left > 0 else f"{duration(took)} so far")
        return f"{self.what}: {', '.join(part for part in (*parts, self._noted) if part)}"

    def ended(self) -> str:
        """Return the closing line: amount done, and time taken."""
        done = ", ".join(part for part in (self._count(), self._noted) if part)
        return f"{self.what}: {done} in {duration(self.seconds)}" if done else f"{self.what}: {duration(self.seconds)}"

    def _count(self) -> str:
        if self.total is None:
            return f"{self.done:g} {self.unit}s" if self.done else ""
        return f"{round(self.done, 1):g} of {self.total:g} {self.unit}{'' if self.total == 1 else 's'}"


def progress(items: Iterable[_Item], what: str, unit: str = "step", total: int | None = None) -> Iterator[_Item]:
    """Yield the items and show progress. Without `total`, it is the length of `items`, if they have one."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with Progress(what, total, unit) as shown:
        for item in items:
            yield item
            shown.step()


@contextmanager
def step(what: str) -> Iterator[None]:
    """Log how long one step of a command took, once it is complete; work within the step then does not log its end."""
    token, started = _IN_STEP.set(True), time.monotonic()
    try:
        yield
    finally:
        _IN_STEP.reset(token)
    log.info("%s: %s", what, duration(time.monotonic() - started))


def duration(seconds: float) -> str:
    """Return a number of seconds in words, such as `3 min 20 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
