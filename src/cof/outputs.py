"""Protection of existing files: a command replaces none or, with `--overwrite`, only those that cof has made.

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

# Every single file of ours holds one of these near its beginning or its end: keys of the provenance, or the first bytes
# of a features file.
_MARKS = (b"config_hash", b"chain-of-flow", b'"__metadata__":{"cof":')
_SEARCHED_BYTES = 2**20


class Form(Enum):
    """The form of an output: a folder, a file, or a table or figure in files that differ in their suffix."""

    FOLDER = ()
    FILE = ("",)
    TABLE = (".csv", ".md", ".tex")
    FIGURE = (".svg", ".png", ".csv", ".md", ".json")


@dataclass(frozen=True)
class Output:
    """One output of a command: its option as typed, its path, its form, and the option that allows to replace it."""

    option: str
    path: Path
    form: Form
    asked_by: str = "--overwrite"

    @property
    def files(self) -> list[Path]:
        """Files that are written, or the folder."""
        return [self.path.with_name(self.path.name + suffix) for suffix in self.form.value] or [self.path]


def claim(outputs: Iterable[Output], read: Iterable[Path], overwrite: bool) -> None:
    """Check, before a command does any work, that it will destroy nothing.

    An empty folder or file has no content to lose: an empty folder may always be filled, and `--overwrite` may replace
    an empty file.

    Args:
        outputs: outputs of the command.
        read: paths that the command reads.
        overwrite: whether existing outputs are replaced, if cof has made them.

    Raises:
        UsageError: an output exists and may not be replaced, was not made by cof, cannot be written, is also read by
            the command, or lies inside another output.
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
        raise UsageError(f"{output.option} {path} is a folder, but this output is a file: name a file")
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
    """Tell whether a file carries our provenance or is empty."""
    size = path.stat().st_size if path.exists() else 0
    if not path.is_file() or not size:
        return path.is_file()
    with path.open("rb") as file:
        ends = file.read(_SEARCHED_BYTES)
        file.seek(max(size - _SEARCHED_BYTES, 0))
        ends += file.read()
    return any(mark in ends for mark in _MARKS)


def _check_writable(output: Output, path: Path) -> None:
    """Refuse a path whose last existing parent is not a folder or may not be written to."""
    folder = next(parent for parent in Path(os.path.abspath(path)).parents if os.path.lexists(parent))
    if not folder.is_dir():
        raise UsageError(f"{output.option} {path} cannot be written: {folder} is not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{output.option} {path} cannot be written: you may not write into {folder}")
