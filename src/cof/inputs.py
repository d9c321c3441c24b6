"""Checks of the paths that a command reads: there, and of the kind that it asks for.

An exchanged path would otherwise give a traceback or, worse, an empty result: stages pass over what they do not find.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cof.errors import UsageError


class Kind(Protocol):
    """A kind of input."""

    def fault(self, path: Path) -> str:
        """Name the fault of a path that exists, or nothing; of a file that cannot be opened, an OSError."""


@dataclass(frozen=True)
class AnyPath:
    """A file or a folder, whose reader tells what it is."""

    def fault(self, path: Path) -> str:
        """Name the fault of `path`."""
        return ""


@dataclass(frozen=True)
class File:
    """A file that its reader understands."""

    def fault(self, path: Path) -> str:
        """Name the fault of `path`."""
        return "is a folder; a file is needed" if path.is_dir() else ""


@dataclass(frozen=True)
class Folder:
    """A folder; of a stage, that of all batches."""

    def fault(self, path: Path) -> str:
        """Name the fault of `path`."""
        return "" if path.is_dir() else "is a file; a folder is needed"


@dataclass(frozen=True)
class Table:
    """A table of a stage, in parquet, with these columns."""

    columns: tuple[str, ...]

    def fault(self, path: Path) -> str:
        """Name the fault of `path`."""
        if path.is_dir():
            return f"is a folder; a table with {self._named} is needed"
        with path.open("rb") as file:
            if file.read(4) != b"PAR1":
                return f"is no parquet table; one with {self._named} is needed"
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
        suffix: of a file a subject.
        placed: the sidecars of these files tell a placement (true of the canonical grid), or none (false).
    """

    suffix: str
    placed: bool | None = None

    def fault(self, path: Path) -> str:
        """Name the fault of `path`."""
        if not path.is_dir():
            return f"is a file; a folder of {self.suffix} files is needed"
        files = [file for file in path.iterdir() if not file.name.startswith(".")]
        if not files:  # everybody was left out
            return ""
        own = sorted(file for file in files if file.name.endswith(self.suffix))
        if not own:
            more = f", in which the batches lie: name one of them, such as {min(files)}" if min(files).is_dir() else ""
            return f"holds no {self.suffix} file: it is another stage's folder{more}"
        if self.placed is None:
            return ""
        try:
            placed = "placement" in json.loads(own[0].with_suffix(".json").read_text())
        except (OSError, ValueError):
            return ""  # the stage leaves this subject out and says why
        if placed == self.placed:
            return ""
        here, there = ("canonical", "native") if self.placed else ("native", "canonical")
        return f"holds cines on the {there} grid; those on the {here} one are needed"


KINDS = (AnyPath, Batch, File, Folder, Table)


def check(option: str, path: Path, kind: Kind) -> None:
    """Refuse a path that is not there or of another kind.

    Args:
        option: that names it, as typed.
        path: as typed.
        kind: that is needed.

    Raises:
        UsageError: the message names option and path.
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
    """Describe how far a path leads and, among results, what lies there; names of raw files reach no log."""
    folder = next((parent for parent in path.parents if parent.is_dir()), Path())
    if isinstance(kind, AnyPath | File):
        return "" if folder == path.parent else f"; of its folders there is {folder}"
    here = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    shown = ", ".join(here[:8]) + (f" and {len(here) - 8} more" if len(here) > 8 else "")
    return f"; {folder} holds {shown or 'nothing'}"
