"""Checks of the paths that a command reads: each exists and is of the kind that the command needs.

Exchanged paths would otherwise give a traceback or, worse, an empty result, since stages skip what they do not find.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cof.errors import UsageError


class Kind(Protocol):
    """A kind of input."""

    def fault(self, path: Path) -> str:
        """Return the fault of an existing path, or ""; raise OSError if the file cannot be opened."""


@dataclass(frozen=True)
class AnyPath:
    """A file or a folder; its reader finds out what it is."""

    def fault(self, path: Path) -> str:
        """Return the fault of `path`, or ""."""
        return ""


@dataclass(frozen=True)
class File:
    """A file; its reader checks the content."""

    def fault(self, path: Path) -> str:
        """Return the fault of `path`, or ""."""
        return "is a folder; a file is needed" if path.is_dir() else ""


@dataclass(frozen=True)
class Folder:
    """A folder; of a stage, the folder that holds all batches."""

    def fault(self, path: Path) -> str:
        """Return the fault of `path`, or ""."""
        return "" if path.is_dir() else "is a file; a folder is needed"


@dataclass(frozen=True)
class Table:
    """A parquet table of a stage with these columns."""

    columns: tuple[str, ...]

    def fault(self, path: Path) -> str:
        """Return the fault of `path`, or ""."""
        if path.is_dir():
            return f"is a folder; a table with the columns {self._named} is needed"
        with path.open("rb") as file:
            if file.read(4) != b"PAR1":
                return f"is not a parquet table; one with the columns {self._named} is needed"
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            found = pq.read_schema(path).names
        except pa.ArrowException:
            return "is a broken parquet table: make it again"
        missing = [column for column in self.columns if column not in found]
        return f"is another table: it has no column {', '.join(missing)}, only {', '.join(found)}" if missing else ""

    @property
    def _named(self) -> str:
        return ", ".join(self.columns)


@dataclass(frozen=True)
class Batch:
    """A stage's folder of one batch.

    Attributes:
        suffix: suffix of the subjects' files.
        placed: whether the sidecars of these files must hold a placement: True on the canonical grid, False on the
            native grid; None where either is allowed.
    """

    suffix: str
    placed: bool | None = None

    def fault(self, path: Path) -> str:
        """Return the fault of `path`, or ""."""
        if not path.is_dir():
            return f"is a file; a folder of {self.suffix} files is needed"
        files = [file for file in path.iterdir() if not file.name.startswith(".")]
        if not files:  # every subject was left out
            return ""
        own = sorted(file for file in files if file.name.endswith(self.suffix))
        if not own:
            more = f"; name the folder of one batch, such as {min(files)}" if min(files).is_dir() else ""
            return f"holds no {self.suffix} file: it is the folder of another stage{more}"
        if self.placed is None:
            return ""
        try:
            placed = "placement" in json.loads(own[0].with_suffix(".json").read_text())
        except (OSError, ValueError):
            return ""  # the stage excludes this subject and reports why
        if placed == self.placed:
            return ""
        here, there = ("canonical", "native") if self.placed else ("native", "canonical")
        return f"holds cines on the {there} grid; those on the {here} one are needed"


KINDS = (AnyPath, Batch, File, Folder, Table)


def check(option: str, path: Path, kind: Kind) -> None:
    """Refuse a path that does not exist or is of another kind.

    Args:
        option: name of the option, as typed.
        path: path, as typed.
        kind: kind of file or folder that is needed.

    Raises:
        UsageError: as said; the message names option and path.
    """
    if not path.exists():
        raise UsageError(f"there is no {option}: {path}{_nearest(path, kind)}")
    try:
        fault = kind.fault(path)
    except OSError as error:
        fault = f"cannot be read: {error.strerror}"
    if fault:
        raise UsageError(f"{option}: {path} {fault}")


def _nearest(path: Path, kind: Kind) -> str:
    """Describe the last existing folder of a path and, among results, its content; no log may name raw files."""
    folder = next((parent for parent in path.parents if parent.is_dir()), Path())
    if isinstance(kind, AnyPath | File):
        return "" if folder == path.parent else f"; the last folder that exists is {folder}"
    here = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    shown = ", ".join(here[:8]) + (f" and {len(here) - 8} more" if len(here) > 8 else "")
    return f"; {folder} holds {shown or 'nothing'}"
