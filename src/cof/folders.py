"""Folders of artefacts: written whole or not at all, and searched by a subject's name."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A folder to fill that takes the place of `out` once the block ends without an error."""
    aside = out.with_name(f".{out.name}.{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
        shutil.rmtree(out, ignore_errors=True)
        aside.replace(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def find(folders: list[Path], name: str) -> Path | None:
    """The file called `name` in the first of the folders that has one, or None."""
    return next((folder / name for folder in folders if (folder / name).is_file()), None)
