"""XML of unknown origin as nested mappings: capped in size, without entities, in whatever encoding it claims."""

import re
from collections.abc import Iterator
from typing import Any
from xml.parsers.expat import ExpatError

import xmltodict

from cof.errors import CofError, Reason

# Far above any resting ECG (0.5 MB, 500 elements, 6 deep), far below what harms a machine.
MAX_BYTES = 8 * 2**20
_MAX_TAGS = 200_000
_MAX_ATTRIBUTES = 100_000
_MAX_DEPTH = 64

_ENCODING = re.compile(rb"""\A\s*<\?xml\b[^>]{,200}?\bencoding\s*=\s*["']([\w.-]{1,40})["']""")
# Encodings that devices declare, under the spellings they use; everything else is read as Latin-1.
_CODECS = {"windows1252": "cp1252", "cp1252": "cp1252", "cp949": "cp949", "euckr": "cp949", "ksc56011987": "cp949"}


Node = Any  # what xmltodict makes of an element: a mapping, its text, or None where it is empty


def parse(raw: bytes) -> dict[str, Node]:
    """The document as `xmltodict` maps it: one root; attributes under `@name`, text beside them under `#text`.

    Names lose their namespace. Entities are refused, external document types never opened.

    Raises:
        CofError: the file is empty, too large, declares entities, is absurdly deep or rich in elements or
            attributes, or is not well-formed.
    """
    if not raw.strip():
        raise CofError(Reason.ECG_UNREADABLE, "the file is empty")
    if len(raw) > MAX_BYTES:
        raise CofError(Reason.ECG_UNREADABLE, f"the file is larger than {MAX_BYTES >> 20} MiB")
    # Counted beforehand: the parser's stack grows with elements that are never closed.
    if raw.count(b"<") > _MAX_TAGS or raw.count(b"=") > _MAX_ATTRIBUTES:
        raise CofError(Reason.ECG_UNREADABLE, f"more than {_MAX_TAGS} tags or {_MAX_ATTRIBUTES} attributes")
    try:
        # Our encoding overrules the one that the document claims.
        text = _decode(raw).lstrip().encode("utf-8", "replace")
        document = xmltodict.parse(text, encoding="utf-8", disable_entities=True, postprocessor=_bounded)
    except (ExpatError, ValueError) as error:
        raise CofError(Reason.ECG_UNREADABLE, f"no XML that is read here: {error}") from None
    return document


def _bounded(path: list[tuple[str, Any]], name: str, value: Node) -> tuple[str, Node]:
    """An element or attribute with its local name; an absurdly deep one ends the reading."""
    if len(path) > _MAX_DEPTH:
        raise CofError(Reason.ECG_UNREADABLE, f"elements are nested more than {_MAX_DEPTH} deep")
    sigil = "@" if name.startswith("@") else ""
    return sigil + name.lstrip("@").rpartition(":")[2], value


def child(node: Node, *path: str) -> Node:
    """The first element under the given names, or None."""
    for name in path:
        node = next(_named(node, name), None)
    return node


def children(node: Node, *path: str) -> Iterator[Node]:
    """All elements of the last name of `path`; the names before it lead to the first of each."""
    yield from _named(child(node, *path[:-1]), path[-1])


def _named(node: Node, name: str) -> Iterator[Node]:
    found = node.get(name, []) if isinstance(node, dict) else []
    yield from found if isinstance(found, list) else [found]


def text(node: Node) -> str:
    """The text of an element, without that of its children and the blanks around it; empty for None."""
    node = node.get("#text") if isinstance(node, dict) else node
    return node.strip() if isinstance(node, str) else ""


def attribute(node: Node, name: str) -> str:
    """An attribute of an element; empty where there is none."""
    value = node.get(f"@{name}") if isinstance(node, dict) else None
    return value.strip() if isinstance(value, str) else ""


def number(node: Node) -> float | None:
    """The text of an element as a finite number, or None."""
    try:
        value = float(text(node))
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None


def _decode(raw: bytes) -> str:
    """The text of a document: by its byte order mark, else as UTF-8 if it is that, else by the encoding it claims."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", errors="replace")
    declared = _ENCODING.match(raw)
    claimed = re.sub("[-_.]", "", declared.group(1).decode("latin-1").lower()) if declared else ""
    for codec in ("utf-8-sig", _CODECS.get(claimed, "latin-1")):
        try:
            return raw.decode(codec)
        except UnicodeDecodeError:
            continue
    return raw.decode("latin-1")
