"""CPU and wall time of one piece of work."""

import resource
import time
from collections.abc import Callable
from typing import Any


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Run `work`; return its result, CPU seconds of this process, and wall seconds."""
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    result = work()
    after, end = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    return result, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, end - start
