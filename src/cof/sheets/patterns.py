"""Search for subjects' files by patterns of paths, such as `{subject}/ecg_{visit}.xml`."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from cof.errors import UsageError
from cof.sheets.table import Files, Listing, Visit, some
from cof.sheets.walk import size, walk

# The visit where no pattern has {visit}.
ONLY_VISIT = 1
# A scan may be a folder of DICOM files; an ECG or an annotation is one file.
_MAY_BE_FOLDERS = ("cine", "anchor")

_TOKEN = re.compile(r"\{([^{}]*)\}|(\*+)|(\?)")
# A visit's number is never a part of a longer number.
_PLACEHOLDERS = {"subject": "[^/]+", "visit": "(?<![0-9])[0-9]{1,3}(?![0-9])"}


class Pattern:
    """A glob pattern of paths relative to a folder, with the placeholders {subject} and, optionally, {visit}.

    `*` matches any text within a name, `?` one character, and `**` as a whole part of the path any number of folders. A
    pattern that ends in `/` matches only folders. A placeholder that occurs twice matches the same text.

    Args:
        text: the pattern.
        option: option that it was given by, for messages.

    Raises:
        UsageError: a placeholder is unknown, {subject} is missing, or the path is not below the folder.
    """

    def __init__(self, text: str, option: str) -> None:
        self.option = option
        names = {match[1] for match in _TOKEN.finditer(text) if match[1] is not None}
        if unknown := sorted(names - _PLACEHOLDERS.keys()):
            raise UsageError(f"{option}: '{{{unknown[0]}}}' is unknown; allowed are {{subject}} and {{visit}}")
        if "subject" not in names:
            raise UsageError(f"{option}: '{text}' has no {{subject}}: put it where the subject's name is")
        self.with_visit = "visit" in names
        self.folders_only = text.endswith("/")
        self.parts = [part for part in text.split("/") if part not in ("", ".")]
        if text.startswith("/") or ".." in self.parts:
            raise UsageError(f"{option}: '{text}' must be relative to FOLDER and lie below it")
        # If the two matches differ, a path can be read in more than one way.
        self._long, self._short = (re.compile(_regex(self.parts, longest)) for longest in (True, False))
        deep = self.parts.index("**") if "**" in self.parts else len(self.parts)
        self._deep = deep < len(self.parts)
        self._prefixes = [re.compile(_regex(self.parts[:depth], True)) for depth in range(deep + 1)]

    def match(self, path: str) -> tuple[str, int] | None:
        """Return subject and visit of a path that matches, or None.

        Raises:
            ValueError: the path matches in more than one way.
        """
        long = self._long.fullmatch(path)
        if not long:
            return None
        short = self._short.fullmatch(path)
        assert short, "both match the same paths"
        if long.groupdict() != short.groupdict():
            raise ValueError(path)
        return long["subject"], int(long["visit"]) if self.with_visit else ONLY_VISIT

    def enters(self, folder: str) -> bool:
        """Tell whether something in the folder with this path can match."""
        parts = folder.split("/")
        depth = len(parts)
        if self._deep and depth >= len(self._prefixes):
            depth = len(self._prefixes) - 1
        elif depth >= len(self.parts):
            return False
        return bool(self._prefixes[depth].fullmatch("/".join(parts[:depth])))


def _regex(parts: list[str], longest: bool) -> str:
    """Return the regular expression of a path's parts, in which {subject} is greedy if `longest`, and else lazy."""
    take, leave = ("", "?") if longest else ("?", "")
    seen: set[str] = set()
    whole = []
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part == "**":
            whole.append(f".+{leave}" if last else f"(?:[^/]+/)*{leave}")
            continue
        text, end = "", 0
        for token in _TOKEN.finditer(part):
            text += re.escape(part[end : token.start()])
            end = token.end()
            name, stars, _ = token.groups()
            if name is None:
                text += f"[^/]*{leave}" if stars else "[^/]"
            elif name in seen:
                text += f"(?P={name})"
            else:
                seen.add(name)
                text += f"(?P<{name}>{_PLACEHOLDERS[name]}{take if name == 'subject' else ''})"
        whole.append(text + re.escape(part[end:]) + ("" if last else "/"))
    return "".join(whole)


def list_by_patterns(folder: Path, patterns: Mapping[str, Sequence[str]]) -> Listing:
    """Find the files of every subject and visit below a folder by patterns of their paths.

    Args:
        folder: folder that holds all files.
        patterns: patterns for each column of the sheet; a file has to match one of them.

    Raises:
        UsageError: a pattern is not valid, or only some of them have {visit}.
    """
    compiled = {
        column: [Pattern(text, f"--{_OPTIONS.get(column, column)}") for text in texts]
        for column, texts in patterns.items()
    }
    every = [pattern for column in compiled.values() for pattern in column]
    without = [pattern.option for pattern in every if not pattern.with_visit]
    if 0 < len(without) < len(every):
        raise UsageError(
            f"{', '.join(without)}: no {{visit}}, which other patterns have; put it into all patterns or into none"
        )

    found: dict[Visit, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    empty: list[str] = []
    unclear: list[str] = []
    unreadable: list[str] = []
    entries = walk(folder, lambda path: any(pattern.enters(path) for pattern in every), unreadable)
    for path, entry in tqdm(entries, desc="sheet", unit=" files", disable=None):
        is_folder = entry.is_dir()
        for column, fitting in compiled.items():
            if is_folder and column not in _MAY_BE_FOLDERS:
                continue
            try:
                asked = [pattern for pattern in fitting if is_folder or not pattern.folders_only]
                read = {visit for pattern in asked if (visit := pattern.match(path))}
            except ValueError:
                unclear.append(path)
                continue
            if len(read) > 1:
                unclear.append(path)
            elif read and not is_folder and not (bytes_ := size(entry)):
                (empty if bytes_ == 0 else unreadable).append(path)
            else:
                for visit in read:
                    found[visit][column].append(path)

    chosen: dict[Visit, Files] = {}
    ambiguous = []
    for visit, columns in found.items():
        if several := [paths for paths in columns.values() if len(paths) > 1]:
            ambiguous.append(" and ".join(sorted(several[0])[:2]))
        else:
            chosen[visit] = {column: paths[0] for column, paths in columns.items()}
    faults = {
        "several files for one cell": (ambiguous, "visit"),
        "{subject} or {visit} can be read in more than one way": (unclear, "path"),
        "empty (0 bytes)": (empty, "file"),
        "cannot be read": (unreadable, "path"),
    }
    remarks = tuple(f"left out, {fault}: {some(names, kind)}" for fault, (names, kind) in faults.items() if names)
    if ambiguous:
        remarks += (
            "a cell holds one path, of a DICOM folder or of the .hea file of a WFDB record; make the pattern narrower",
        )
    return Listing(chosen, remarks, named=True)


_OPTIONS = {"cine": "scan"}
