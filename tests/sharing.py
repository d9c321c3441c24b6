"""Folders made once for all workers of pytest-xdist, which are processes with session fixtures of their own."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder `name`, which the first worker that needs it makes while others wait; for reading only.

    Args:
        factory: the fixture `tmp_path_factory`.
        name: of the folder, one for the whole session.
        make: fills the empty folder.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        folder = factory.mktemp(name, numbered=False)
        make(folder)
        return folder
    root = factory.getbasetemp().parent  # of all workers of this session
    folder, failed = root / name, root / f"{name}.failed"
    with FileLock(root / f"{name}.lock"):
        if failed.exists():
            pytest.fail(f"another worker could not make {name}: {failed.read_text()}")
        if not folder.exists():
            folder.mkdir()
            try:
                make(folder)
            except BaseException as error:
                failed.write_text(repr(error))
                raise
    return folder
