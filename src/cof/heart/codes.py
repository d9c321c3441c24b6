"""Maps from the label codes of other conventions to ours, written as `1:3,2:2,3:1` (theirs:ours)."""

import re
from collections.abc import Mapping
from typing import Any

from cof.heart.structures import STRUCTURES

_PAIR = re.compile(r"\s*(\d{1,5})\s*:\s*(\d{1,5})\s*")
OURS = ", ".join(f"{code} {name}" for name, code in STRUCTURES.items())


def read_map(given: Any) -> dict[int, int]:
    """Read a map from other codes to ours, from a text such as `1:3,2:2,3:1` or from a mapping.

    The background stays 0. Several other codes may map to the same code of ours, or to the background.

    Raises:
        ValueError: a part is not a pair of codes, maps a code again, or maps to an unknown code; the message names it.
    """
    parts = [f"{theirs}:{ours}" for theirs, ours in given.items()] if isinstance(given, Mapping) else None
    if parts is None and not isinstance(given, str):
        raise ValueError(f"'{given}' is not a map of codes such as '1:3,2:2,3:1' (in YAML with quotes)")
    codes: dict[int, int] = {}
    for part in parts or given.split(","):
        pair = _PAIR.fullmatch(part)
        if not pair:
            raise ValueError(f"'{part.strip()}' is not a pair of codes; a map looks like 1:3,2:2,3:1 (theirs:ours)")
        theirs, ours = map(int, pair.groups())
        if ours not in (0, *STRUCTURES.values()):
            raise ValueError(f"{theirs}:{ours} maps to {ours}; ours are 0 background, {OURS}")
        if theirs == 0 and ours:
            raise ValueError(f"0:{ours} maps the background to {ours}, but the background must stay 0: leave it out")
        if theirs in codes:
            raise ValueError(f"code {theirs} is mapped twice; give it once")
        codes[theirs] = ours
    return codes


def write_map(codes: Mapping[int, int]) -> str:
    """Write a map as the text that `read_map` reads, in ascending order of the other codes."""
    return ",".join(f"{theirs}:{codes[theirs]}" for theirs in sorted(codes))
