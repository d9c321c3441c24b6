"""Files and folders of artefacts: they appear whole or not at all, and are searched by a subject's name.

Both are written aside, as `.{name}.{letters}.part` beside their place, and renamed when whole. What a killed process
left aside is nobody's artefact: readers pass it over, and the next writer of the same artefact takes it away.
"""

import glob
import os
import secrets
import shutil
import string
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

# Letters, since a process id can look like a participant id; fresh ones, so that two writers never share a place.
_LETTERS = 8


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write to that takes the place of `path` once the block ends without an error."""
    aside = _cleared(path)
    try:
        yield aside
        aside.replace(path)
    finally:
        _remove(aside)


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A folder to fill that takes the place of `out` once the block ends without an error."""
    aside = _cleared(out)
    aside.mkdir()
    try:
        yield aside
        # What was there is moved away in one step: a folder half deleted could be taken for one that is finished.
        before = _aside(out)
        if out.exists():
            out.replace(before)
        aside.replace(out)
        _remove(before)
    finally:
        _remove(aside)


@contextmanager
def private_files() -> Iterator[None]:
    """Files created inside are for their owner alone, from their first byte."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


class Batches(list[Path]):
    """The folders of one stage, one a batch, each listed once: to ask every folder for every file takes far longer."""

    @cached_property
    def places(self) -> dict[str, Path]:
        """The first folder that holds a file, by the file's name."""
        return {entry.name: folder for folder in reversed(self) if folder.is_dir() for entry in os.scandir(folder)}


def find(folders: list[Path], name: str) -> Path | None:
    """The file called `name` in the first of the folders that has one, or None."""
    if isinstance(folders, Batches):
        return folders.places[name] / name if name in folders.places else None
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def gzip_checksum(path: Path) -> bytes:
    """The last eight bytes of a gzip file, which are checksum and length of what it holds (RFC 1952)."""
    with path.open("rb") as file:
        file.seek(-8, os.SEEK_END)
        return file.read()


def _cleared(path: Path) -> Path:
    """A fresh place aside of `path`, whose own folder exists and holds no leftovers of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.{'?' * _LETTERS}.part"):
        _remove(leftover)
    return _aside(path)


def _aside(path: Path) -> Path:
    letters = "".join(secrets.choice(string.ascii_lowercase) for _ in range(_LETTERS))
    return path.with_name(f".{path.name}.{letters}.part")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
