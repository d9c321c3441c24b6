"""Progress of work that takes longer than a few seconds: a bar in a terminal, lines in a log.

Lines come seldom: the first after five seconds, then one every ten, and of long work one every twentieth of the time it
has taken so far, ten minutes at most. They come from a thread of their own, so that a single long step is no silence.
"""

import logging
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sized
from types import TracebackType
from typing import Self, TypeVar

from tqdm import tqdm

log = logging.getLogger(__name__)

_Item = TypeVar("_Item")

SILENT_S = 5.0
_EVERY_S = 10.0
_SHARE = 1 / 20
_AT_MOST_S = 600.0


class Progress:
    """Progress of one piece of work, while the `with` block lasts.

    Args:
        what: the work, in a word or two.
        total: steps of it; None where nobody knows.
        unit: one step, in the singular.
        done: steps that were done before.
        shown: false in processes that share the work of another one, which shows it.
        even: steps take about as long as each other, so that those that are done tell how long the others will take.
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
        self._stepped = 0.0  # seconds until the latest step

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop(whole=kind is None)

    def start(self) -> None:
        """Begin to show it, where no `with` block can."""
        self._started = time.monotonic()
        if self.shown and sys.stderr.isatty():
            self._bar = tqdm(total=self.total, initial=self._before, desc=self.what, unit=self.unit)
        elif self.shown:
            self._thread = threading.Thread(target=self._speak, daemon=True)
            self._thread.start()

    def stop(self, whole: bool = True) -> None:
        """Show no more of it; say what it took if it has come to its end."""
        self._ended.set()
        if self._bar is not None:
            self._bar.close()
        if self._thread is not None:
            self._thread.join()
            if whole and self.seconds > SILENT_S:
                log.info("%s", self.ended())

    @property
    def seconds(self) -> float:
        """Time taken so far."""
        return time.monotonic() - self._started

    def step(self, count: float = 1.0, noted: str = "") -> None:
        """Go on by `count` steps, or a share of one; `noted` is shown from now on, such as a loss."""
        with self._lock:
            self._reach(self.done + count, noted)

    def reach(self, done: float) -> None:
        """Say how many steps are done, however many were said before."""
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
        """State of the work: done, rate, time left."""
        took, done = self.seconds, self.done - self._before
        parts = [self._count()]
        left = 0.0
        if done > 0 and self.even:
            each = self._stepped / done
            parts.append(f"{duration(each)} each" if each >= 1 else f"{1 / each:.3g} a second")
            left = 0.0 if self.total is None else each * (self.total - self.done) - (took - self._stepped)
        parts.append(f"about {duration(left)} left" if left > 0 else f"{duration(took)} so far")
        return f"{self.what}: {', '.join(part for part in (*parts, self._noted) if part)}"

    def ended(self) -> str:
        """Closing words: amount done, and time taken."""
        done = ", ".join(part for part in (self._count(), self._noted) if part)
        return f"{self.what}: {done} in {duration(self.seconds)}" if done else f"{self.what}: {duration(self.seconds)}"

    def _count(self) -> str:
        if self.total is None:
            return f"{self.done:g} {self.unit}s" if self.done else ""
        return f"{round(self.done, 1):g} of {self.total:g} {self.unit}{'' if self.total == 1 else 's'}"


def progress(items: Iterable[_Item], what: str, unit: str = "step", total: int | None = None) -> Iterator[_Item]:
    """The items, with progress as they are worked through; those of a list count themselves."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with Progress(what, total, unit) as shown:
        for item in items:
            yield item
            shown.step()


def duration(seconds: float) -> str:
    """Seconds in words, such as `3 min 20 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
