"""Outputs that a command may write over: none or, with `--overwrite`, those that this software has made.

A folder's manifest lists the files that were written into it (`cof.artefacts.folders`); a single file carries the
record of what made it (`cof.artefacts.provenance`).
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from cof.artefacts.folders import MANIFEST, refuse_foreign
from cof.errors import UsageError

# Every single file of ours holds one of these, near its beginning or its end: words of the provenance, or the way that
# features begin.
_MARKS = (b"config_hash", b"chain-of-flow", b'"__metadata__":{"cof":')
_SEARCHED_BYTES = 2**20


class Form(Enum):
    """Forms of an output: a folder, a file, or a table in files that share a name and differ in their suffix."""

    FOLDER = ()
    FILE = ("",)
    TABLE = (".csv", ".md", ".tex")


@dataclass(frozen=True)
class Output:
    """One output of a command: the option that names it, as typed, where and what it is, how one asks to replace it."""

    option: str
    path: Path
    form: Form
    asked_by: str = "--overwrite"

    @property
    def files(self) -> list[Path]:
        """The files that are written, or the folder."""
        return [self.path.with_name(self.path.name + suffix) for suffix in self.form.value] or [self.path]


def claim(outputs: Iterable[Output], read: Iterable[Path], overwrite: bool) -> None:
    """Make sure that a command destroys nothing, before it does any work.

    An empty folder or file holds nothing that could be lost: the folder may be filled, and `--overwrite` replaces the
    file.

    Args:
        outputs: of the command.
        read: paths that it reads.
        overwrite: outputs that exist are replaced, if they are ours.

    Raises:
        UsageError: an output exists and is not to be replaced, or is not ours; it cannot be written; it is read by the
            same command, or two outputs lie in one another.
    """
    outputs = list(outputs)
    places = [(output, path) for output in outputs for path in output.files]
    inputs = {path.resolve() for path in read}
    for output, path in places:
        _check_writable(output, path)
        if path.resolve() in inputs:
            raise UsageError(f"{output.option} {path} is also read by this command: choose another place")
        for other, place in places:
            if place is not path and (place.resolve() == path.resolve() or path.resolve() in place.resolve().parents):
                raise UsageError(f"{other.option} {place} lies in {output.option} {path}: choose another place")
    for output, path in places:
        if output.form is Form.FOLDER:
            _claim_folder(output, path, overwrite)
        else:
            _claim_file(output, path, overwrite)


def _claim_folder(output: Output, path: Path, overwrite: bool) -> None:
    if not os.path.lexists(path) or (path.is_dir() and not any(path.iterdir())):
        return
    if not overwrite:
        raise UsageError(
            f"{output.option} {path} exists: choose another name, or add {output.asked_by}, which replaces only files "
            f"that cof has made ({MANIFEST} in the folder lists them)"
        )
    refuse_foreign(path)


def _claim_file(output: Output, path: Path, overwrite: bool) -> None:
    if not os.path.lexists(path):
        return
    if path.is_dir():
        raise UsageError(f"{output.option} {path} is a folder; a file is written: name one")
    if not overwrite:
        raise UsageError(
            f"{output.option} {path} exists: choose another name, or add {output.asked_by}, which replaces what cof "
            "made"
        )
    if not _is_ours(path):
        raise UsageError(
            f"{output.option} {path} was not made by cof, and {output.asked_by} replaces nothing else: choose another "
            "name, or move it away"
        )


def _is_ours(path: Path) -> bool:
    """Tell whether a file carries our provenance, or nothing at all."""
    size = path.stat().st_size if path.exists() else 0
    if not path.is_file() or not size:
        return path.is_file()
    with path.open("rb") as file:
        ends = file.read(_SEARCHED_BYTES)
        file.seek(max(size - _SEARCHED_BYTES, 0))
        ends += file.read()
    return any(mark in ends for mark in _MARKS)


def _check_writable(output: Output, path: Path) -> None:
    """Refuse a place below what is no folder, or in a folder without the right to write."""
    folder = next(parent for parent in Path(os.path.abspath(path)).parents if os.path.lexists(parent))
    if not folder.is_dir():
        raise UsageError(f"{output.option} {path} cannot be written: {folder} is no folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{output.option} {path} cannot be written: you may not write into {folder}")
