"""Maps from the label codes of other conventions to ours, written as `1:3,2:2,3:1` (theirs:ours)."""

import re
from collections.abc import Mapping
from typing import Any

from cof.heart.structures import STRUCTURES

_PAIR = re.compile(r"\s*(\d{1,5})\s*:\s*(\d{1,5})\s*")
OURS = ", ".join(f"{code} {name}" for name, code in STRUCTURES.items())


def read_map(given: Any) -> dict[int, int]:
    """The map from their codes to ours that a text such as `1:3,2:2,3:1`, or a mapping, gives; background stays 0.

    Several of their codes may become one of ours, or background.

    Raises:
        ValueError: the message says which part is no pair of codes, names a code twice, or maps to an unknown one.
    """
    parts = [f"{theirs}:{ours}" for theirs, ours in given.items()] if isinstance(given, Mapping) else None
    if parts is None and not isinstance(given, str):
        raise ValueError(f"'{given}' is no map of codes such as '1:3,2:2,3:1' (in YAML with quotes)")
    codes: dict[int, int] = {}
    for part in parts or given.split(","):
        pair = _PAIR.fullmatch(part)
        if not pair:
            raise ValueError(f"'{part.strip()}' is no pair of codes; a map looks like 1:3,2:2,3:1 (theirs:ours)")
        theirs, ours = map(int, pair.groups())
        if ours not in (0, *STRUCTURES.values()):
            raise ValueError(f"{theirs}:{ours} maps to {ours}; ours are 0 background, {OURS}")
        if theirs == 0 and ours:
            raise ValueError(f"0:{ours} maps the background; it stays 0")
        if theirs in codes:
            raise ValueError(f"code {theirs} is mapped twice")
        codes[theirs] = ours
    return codes


def write_map(codes: Mapping[int, int]) -> str:
    """The text that `read_map` reads, in the order of their codes."""
    return ",".join(f"{theirs}:{codes[theirs]}" for theirs in sorted(codes))
