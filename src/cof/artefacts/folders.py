"""Files and folders of artefacts, which appear only when they are complete, and the search for a subject's file.

Both are written under a temporary name, `.{name}.{letters}.part`, in the same folder, and renamed when they are
complete. Readers ignore what a killed process has left under such a name, and the next writer of the same artefact
removes it.

A folder's manifest lists its files. A folder that holds any other file is never replaced, since that file is not ours.
"""

import glob
import json
import os
import secrets
import shutil
import string
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from cof.errors import UsageError

MANIFEST = ".cof-manifest.json"
# Snakemake touches this file in the folders that its rules make.
_OF_SNAKEMAKE = ".snakemake_timestamp"
# Letters, since digits can look like a participant id; random ones, so that two writers never use the same name.
_LETTERS = 8


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to, which replaces `path` when the block ends without an error."""
    aside = _cleared(path)
    try:
        yield aside
        aside.replace(path)
    finally:
        _remove(aside)


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """Give a temporary folder to fill, which gets a manifest and replaces `out` when the block ends without an error.

    Raises:
        UsageError: `out` holds a file that its manifest does not list, or is not a folder; it stays unchanged.
    """
    refuse_foreign(out)
    aside = _cleared(out)
    aside.mkdir()
    try:
        yield aside
        write_manifest(aside)
        refuse_foreign(out)  # files may have been added meanwhile
        # The old folder is renamed in one step: a half-deleted folder could be mistaken for a complete one.
        before = _aside(out)
        if out.exists():
            out.replace(before)
        aside.replace(out)
        _remove(before)
    finally:
        _remove(aside)


@contextmanager
def private_files() -> Iterator[None]:
    """Make files that are created inside the block readable by their owner only, from the first byte."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def write_manifest(folder: Path) -> None:
    """Write the manifest of a folder, which lists its files by their relative paths."""
    record = {"made_by": "chain-of-flow", "files": [name for name in _files(folder) if name != MANIFEST]}
    (folder / MANIFEST).write_text(json.dumps(record, indent=1))


def refuse_foreign(out: Path) -> None:
    """Refuse to replace a folder that holds a file that is not ours.

    Raises:
        UsageError: `out` holds a file that its manifest does not list, is not a folder, or holds the working folder.
    """
    if not os.path.lexists(out):
        return
    if not out.is_dir():
        raise UsageError(f"{out} is not a folder and is not replaced: move it away, or choose another name")
    if out.resolve() in (Path.cwd(), *Path.cwd().parents):
        raise UsageError(f"{out} is the current folder, or contains it: choose another name")
    try:
        listed = set(json.loads((out / MANIFEST).read_text())["files"])
    except (OSError, ValueError, KeyError, TypeError):
        listed = None
    others = [name for name in _files(out) if name not in (listed or ())]
    others = [name for name in others if name != MANIFEST or listed is None]
    if not others:
        return
    found = f"'{others[0]}'" + (f" and {len(others) - 1} more files" if len(others) > 1 else "")
    if listed is None:
        why = (
            f"holds {found} and no manifest ({MANIFEST}): cof did not make it, or an old version without manifests did"
        )
    else:
        why = f"holds {found}, which its manifest ({MANIFEST}) does not list"
    raise UsageError(
        f"{out} {why}. Nothing was replaced: choose another name, or save what you need and remove the folder"
    )


def _files(folder: Path) -> list[str]:
    """Return the sorted relative paths of all files and links in a folder, without Snakemake's timestamp."""
    found = (
        Path(root, name).relative_to(folder)
        for root, folders, files in os.walk(folder)
        for name in (*files, *(inner for inner in folders if Path(root, inner).is_symlink()))
    )
    return sorted(path.as_posix() for path in found if path.name != _OF_SNAKEMAKE)


class Batches(list[Path]):
    """The folders of one stage, one per batch. Each is listed only once, since searching all for every file is slow."""

    @cached_property
    def places(self) -> dict[str, Path]:
        """First folder that holds a file, by the file's name."""
        return {entry.name: folder for folder in reversed(self) if folder.is_dir() for entry in os.scandir(folder)}


def find(folders: Sequence[Path], name: str) -> Path | None:
    """Return the file called `name` in the first folder that has one, or None."""
    if isinstance(folders, Batches):
        return folders.places[name] / name if name in folders.places else None
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def beside(folder: Path, record: str) -> str:
    """Name the folders beside `folder` that hold a file called `record`, as the end of a message."""
    place = folder.parent
    names = sorted(entry.name for entry in place.iterdir() if (entry / record).is_file()) if place.is_dir() else []
    return f"{place} has {', '.join(names)}" if names else f"{place} has none"


def gzip_checksum(path: Path) -> bytes:
    """Return the last eight bytes of a gzip file: checksum and length of its content (RFC 1952)."""
    with path.open("rb") as file:
        file.seek(-8, os.SEEK_END)
        return file.read()


def _cleared(path: Path) -> Path:
    """Create the folder of `path`, remove leftovers of it there, and return a new temporary path."""
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
