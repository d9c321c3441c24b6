"""Search for files and folders below a folder, without opening a file."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path


def walk(folder: Path, enter: Callable[[str], bool], unreadable: list[str]) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield all entries below `folder` that are not hidden, with their relative paths (`/` between the parts).

    Links are followed, except into a folder that contains them.

    Args:
        folder: folder to begin with.
        enter: function that tells by a folder's relative path whether to search it.
        unreadable: list to which the relative path of every folder that may not be read is added.
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
    """Return the size of a file in bytes, without opening it; None for a broken link and for anything but a file."""
    try:
        return entry.stat().st_size if entry.is_file() else None
    except OSError:
        return None
