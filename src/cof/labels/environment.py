"""The environment of nnU-Net: its variables, its output sent to the log, and threads in place of processes."""

import io
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace
from typing import Any

log = logging.getLogger(__name__)


class _ToLog(io.TextIOBase):
    """A text stream that writes whole lines to the debug log."""

    def write(self, text: str) -> int:
        for line in text.splitlines():
            if line.strip():
                log.debug("nnU-Net: %s", line.rstrip())
        return len(text)


@contextmanager
def quiet() -> Iterator[None]:
    """Send what nnU-Net prints to the debug log."""
    with redirect_stdout(_ToLog()):
        yield


@contextmanager
def nnunet_folders(root: Path, augmentation_workers: int = 1) -> Iterator[None]:
    """Let nnU-Net keep its raw data, preprocessed data and results under `root`; restore the environment afterwards.

    Args:
        root: an existing folder.
        augmentation_workers: number of processes that load and augment. Planning needs at least 1. With 0, the training
            augments in its own process and is reproducible.
    """
    wanted = {
        "nnUNet_raw": str(root / "raw"),
        "nnUNet_preprocessed": str(root / "preprocessed"),
        "nnUNet_results": str(root / "results"),
        "nnUNet_n_proc_DA": str(augmentation_workers),
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        with quiet():
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def threads_for_processes(module: Any) -> Iterator[None]:
    """Let an nnU-Net module use threads in place of worker processes.

    Each new process would import torch and nnU-Net again, which takes longer than the work on a few hundred stacks, and
    would need a guarded main module. Pools of threads and of processes have the same interface.
    """
    original = module.multiprocessing
    module.multiprocessing = SimpleNamespace(get_context=lambda method: SimpleNamespace(Pool=ThreadPool))
    try:
        yield
    finally:
        module.multiprocessing = original
