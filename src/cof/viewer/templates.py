"""Templates of HTML pages: all text is escaped, and what looks like a participant id is removed."""

import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from cof.errors import redact

# Script and style that every page with a cine needs.
STATIC = Path(str(files("cof.viewer") / "static"))


def _clean(value: Any) -> Any:
    """Redact everything that looks like a participant id; all text of the page passes through this function."""
    return redact(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def as_hash(value: str) -> Markup:
    """Mark a hash as exempt from redaction, because its digits are not an id.

    Raises:
        ValueError: the text is not a hash.
    """
    if not re.fullmatch(r"[0-9a-f]{6,64}", value):
        raise ValueError(f"not a hash: {value!r}")
    return Markup(value)


def environment(folder: Path) -> Environment:
    """Return the environment of the templates in a folder; it escapes and redacts text, and refuses unknown names."""
    made = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_clean,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["hash"] = as_hash
    made.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    return made
