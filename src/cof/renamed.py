"""Names that have changed since the last release. The old ones still work, with a warning that gives the new name."""

import logging
from collections.abc import Sequence
from pathlib import Path

log = logging.getLogger(__name__)

VERBS = {"fairness": "cost", "who": "lookup"}
# Files in workflow/config, where the old names are links.
FILES = {
    "rivals.yaml": "baselines.yaml",
    "rivals_demo.yaml": "baselines_demo.yaml",
    "rivals_paper.yaml": "baselines_paper.yaml",
}


def with_new_names(words: Sequence[str]) -> list[str]:
    """Return the words of a command line with the new name of its verb; log a warning where the old one was used."""
    place = next((place for place, word in enumerate(words) if not word.startswith("-")), None)
    if place is None or words[place] not in VERBS:
        return list(words)
    old = words[place]
    log.warning("%s", remark(f"cof {old}", f"cof {VERBS[old]}"))
    return [*words[:place], VERBS[old], *words[place + 1 :]]


def remarks(files: Sequence[Path]) -> list[str]:
    """Return one line for each configuration file that is given by its old name."""
    return [remark(str(file), str(file.with_name(FILES[file.name]))) for file in files if is_old(file)]


def is_old(file: Path) -> bool:
    """Tell whether a file is the link with the old name of one of ours, not a user's own file of that name."""
    return file.name in FILES and file.is_symlink()


def remark(old: str, new: str) -> str:
    """Return the line that gives the new name."""
    return f"{old} is now called {new}; the next release removes the old name"
