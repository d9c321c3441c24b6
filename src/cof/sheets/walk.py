"""Files and folders below a folder, of which none is opened."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path


def walk(folder: Path, enter: Callable[[str], bool], unreadable: list[str]) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Everything below `folder` but what is hidden, with its path relative to it, `/` between the parts.

    Links are followed, but not into a folder that holds them.

    Args:
        folder: where to begin.
        enter: says of a folder's relative path whether anything in it is wanted.
        unreadable: takes the relative path of every folder that may not be read.
    """
    left: list[tuple[str, tuple[str, ...]]] = [("", (os.path.realpath(folder),))]
    while left:
        within, came_by = left.pop()
        try:
            entries = os.scandir(folder / within)
        except OSError:
            unreadable.append(within or ".")
            continue
        with entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name == "__MACOSX":
                    continue
                path = f"{within}/{entry.name}" if within else entry.name
                yield path, entry
                if not entry.is_dir() or not enter(path):
                    continue
                if not entry.is_symlink():
                    left.append((path, came_by))
                    continue
                target, here = os.path.realpath(entry.path), os.path.realpath(folder / within)
                if not any(Path(above).is_relative_to(target) for above in (here, *came_by)):
                    left.append((path, (*came_by, target)))


def size(entry: os.DirEntry[str]) -> int | None:
    """Bytes of a file, without opening it; None of a link that leads nowhere, and of what is no file."""
    try:
        return entry.stat().st_size if entry.is_file() else None
    except OSError:
        return None
