"""XML of unknown origin as plain nested mappings: capped in size, without entities, in whatever encoding it claims."""

import re
from collections.abc import Iterator
from typing import Any
from xml.parsers.expat import ExpatError

import xmltodict

from cof.errors import CofError, Reason

_MAX_BYTES = 32 * 2**20
_MAX_DEPTH = 64
_DECLARATION = re.compile(r"\A\s*<\?xml\b[^>]*\?>")
_ENCODING = re.compile(rb"""\A\s*<\?xml\b[^>]*\bencoding\s*=\s*["']([\w.-]+)["']""")
# The one harmless document type: a name and at most a system identifier, which nothing here ever opens.
_PLAIN_DOCTYPE = re.compile(r"<!DOCTYPE\s+\w+(\s+SYSTEM\s*(\"[^\"<>]*\"|'[^'<>]*'))?\s*>")

# Encodings that devices declare, under the spellings they use; everything else is read as Latin-1.
_CODECS = {
    "utf8": "utf-8", "usascii": "latin-1", "iso88591": "latin-1", "latin1": "latin-1", "windows1252": "cp1252",
    "cp949": "cp949", "euckr": "cp949",
}  # fmt: skip


def parse(raw: bytes) -> dict[str, Any]:
    """The document as `xmltodict` maps it: attributes under `@name`, text beside them under `#text`.

    Raises:
        CofError: the file is empty, too large, declares entities, nests absurdly deep or is not well-formed.
    """
    if not raw.strip():
        raise CofError(Reason.ECG_UNREADABLE, "the file is empty")
    if len(raw) > _MAX_BYTES:
        raise CofError(Reason.ECG_UNREADABLE, f"the file is larger than {_MAX_BYTES >> 20} MiB")
    text = _DECLARATION.sub("", _decode(raw), count=1)
    text = _PLAIN_DOCTYPE.sub("", text, count=1)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise CofError(Reason.ECG_UNREADABLE, "the file declares its own document type or entities")
    if _depth(text) > _MAX_DEPTH:
        raise CofError(Reason.ECG_UNREADABLE, f"elements are nested more than {_MAX_DEPTH} deep")
    try:
        document = xmltodict.parse(text.encode(), encoding="utf-8", disable_entities=True)
    except (ExpatError, ValueError) as error:
        raise CofError(Reason.ECG_UNREADABLE, f"not well-formed XML: {error}") from None
    return document if isinstance(document, dict) else {}


def child(node: Any, *path: str) -> Any:
    """The first node under the given element names, or None."""
    for name in path:
        node = node[0] if isinstance(node, list) and node else node
        node = node.get(name) if isinstance(node, dict) else None
    return node[0] if isinstance(node, list) and node else node


def children(node: Any, *path: str) -> Iterator[Any]:
    """All nodes of the last element name of `path`; the names before it lead to the first of each."""
    parent = child(node, *path[:-1])
    found = parent.get(path[-1]) if isinstance(parent, dict) else None
    if found is not None:
        yield from found if isinstance(found, list) else [found]


def text(node: Any) -> str:
    """The text of a node without the blanks around it; empty for a node without text."""
    node = node.get("#text") if isinstance(node, dict) else node
    return node.strip() if isinstance(node, str) else ""


def attribute(node: Any, name: str) -> str:
    """An attribute of a node; empty where there is none."""
    value = node.get(f"@{name}") if isinstance(node, dict) else None
    return value.strip() if isinstance(value, str) else ""


def number(node: Any) -> float | None:
    """The text of a node as a finite number, or None."""
    try:
        value = float(text(node))
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None


def _decode(raw: bytes) -> str:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        codec = "utf-16"
    elif raw.startswith(b"\xef\xbb\xbf"):
        codec = "utf-8-sig"
    else:
        declared = _ENCODING.match(raw)
        name = declared.group(1).decode().lower() if declared else "utf-8"
        codec = _CODECS.get(re.sub("[-_]", "", name), "latin-1")
    try:
        return raw.decode(codec)
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _depth(text: str) -> int:
    """How deep elements nest; an upper bound that also counts tags inside comments."""
    depth = deepest = 0
    for tag in re.finditer(r"<(/?)[A-Za-z_][^<>]*?(/?)>", text):
        if tag.group(1):
            depth -= 1
        elif not tag.group(2):
            depth += 1
            deepest = max(deepest, depth)
    return deepest
