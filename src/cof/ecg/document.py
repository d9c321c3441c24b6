"""XML of unknown origin as a tree of elements: capped in size, without entities, in whatever encoding it claims."""

import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element, TreeBuilder

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from cof.errors import CofError, Reason

# Far above any resting ECG (0.5 MB, 500 elements, 6 deep), far below what harms a machine.
MAX_BYTES = 8 * 2**20
_MAX_ELEMENTS = 100_000
_MAX_ATTRIBUTES = 100_000
_MAX_DEPTH = 64

_ENCODING = re.compile(rb"""\A\s*<\?xml\b[^>]{,200}?\bencoding\s*=\s*["']([\w.-]{1,40})["']""")
# Encodings that devices declare, under the spellings they use; everything else is read as Latin-1.
_CODECS = {"windows1252": "cp1252", "cp1252": "cp1252", "cp949": "cp949", "euckr": "cp949", "ksc56011987": "cp949"}


def parse(raw: bytes) -> Element:
    """The root element of a document. External entities and document types are never opened.

    Raises:
        CofError: the file is empty, too large, declares entities, is absurdly deep or rich in elements or
            attributes, or is not well-formed.
    """
    if not raw.strip():
        raise CofError(Reason.ECG_UNREADABLE, "the file is empty")
    if len(raw) > MAX_BYTES:
        raise CofError(Reason.ECG_UNREADABLE, f"the file is larger than {MAX_BYTES >> 20} MiB")
    if raw.count(b"=") > _MAX_ATTRIBUTES:
        raise CofError(Reason.ECG_UNREADABLE, f"more than {_MAX_ATTRIBUTES} attributes")
    # Entity declarations raise, external document types are not loaded: defusedxml's defaults.
    parser = DefusedXMLParser(target=_BoundedTree())
    try:
        # Text, not bytes: the parser then ignores the encoding that the document claims.
        parser.feed(_decode(raw).lstrip())
        return parser.close()
    except DefusedXmlException:
        raise CofError(Reason.ECG_UNREADABLE, "the file declares entities") from None
    except (SyntaxError, ValueError) as error:  # a ParseError is a SyntaxError
        raise CofError(Reason.ECG_UNREADABLE, f"not well-formed XML: {error}") from None


class _BoundedTree(TreeBuilder):
    """Builds the tree while it counts; names lose their namespace."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = self._elements = 0

    def start(self, tag: str, attributes: dict[str, str]) -> Element:
        self._depth += 1
        self._elements += 1
        if self._depth > _MAX_DEPTH or self._elements > _MAX_ELEMENTS:
            raise CofError(
                Reason.ECG_UNREADABLE, f"more than {_MAX_ELEMENTS} elements, or nested more than {_MAX_DEPTH} deep"
            )
        return super().start(tag.rpartition("}")[2], attributes)

    def end(self, tag: str) -> Element:
        self._depth -= 1
        return super().end(tag.rpartition("}")[2])


def child(node: Element | None, *path: str) -> Element | None:
    """The first element under the given names, or None."""
    for name in path:
        node = None if node is None else node.find(name)
    return node


def children(node: Element | None, *path: str) -> Iterator[Element]:
    """All elements of the last name of `path`; the names before it lead to the first of each."""
    parent = child(node, *path[:-1])
    if parent is not None:
        yield from parent.iterfind(path[-1])


def text(node: Element | None) -> str:
    """The text of an element, without that of its children and the blanks around it; empty for None."""
    if node is None:
        return ""
    return "".join([node.text or "", *(inner.tail or "" for inner in node)]).strip()


def attribute(node: Element | None, name: str) -> str:
    """An attribute of an element; empty where there is none."""
    return "" if node is None else node.get(name, "").strip()


def number(node: Element | None) -> float | None:
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
