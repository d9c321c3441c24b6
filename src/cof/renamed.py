"""Names of the last release that have changed: they are understood in this one, with a line that says the new name."""

import logging
from collections.abc import Sequence
from pathlib import Path

log = logging.getLogger(__name__)

VERBS = {"fairness": "cost", "who": "lookup"}
# Below workflow/config, where the old names are links.
FILES = {
    "rivals.yaml": "baselines.yaml",
    "rivals_demo.yaml": "baselines_demo.yaml",
    "rivals_paper.yaml": "baselines_paper.yaml",
}


def with_new_names(words: Sequence[str]) -> list[str]:
    """The words of a command line, with the new name of its verb."""
    place = next((place for place, word in enumerate(words) if not word.startswith("-")), None)
    if place is None or words[place] not in VERBS:
        return list(words)
    old = words[place]
    log.warning("%s", remark(f"cof {old}", f"cof {VERBS[old]}"))
    return [*words[:place], VERBS[old], *words[place + 1 :]]


def remarks(files: Sequence[Path]) -> list[str]:
    """A line for each configuration file that is named by its old name."""
    return [remark(str(file), str(file.with_name(FILES[file.name]))) for file in files if is_old(file)]


def is_old(file: Path) -> bool:
    """Tell whether a file is one of ours by its old name; a user's own file of that name is none."""
    return file.name in FILES and file.is_symlink()


def remark(old: str, new: str) -> str:
    """The line that says a new name."""
    return f"{old} is called {new} now; the old name goes with the next release"
