"""Parser of untrusted XML into nested mappings: limited in size, without entities, tolerant of wrong encodings."""

import re
from collections.abc import Iterator
from typing import Any
from xml.parsers.expat import ExpatError

import xmltodict

from cof.errors import CofError, Reason

# Far above any resting ECG (0.5 MB, 500 elements, 6 levels), and far below what harms a machine.
MAX_BYTES = 8 * 2**20
_MAX_TAGS = 200_000
_MAX_ATTRIBUTES = 100_000
_MAX_DEPTH = 64

_ENCODING = re.compile(rb"""\A\s*<\?xml\b[^>]{,200}?\bencoding\s*=\s*["']([\w.-]{1,40})["']""")
# Encodings that devices declare, in the spellings they use; everything else is read as Latin-1.
_CODECS = {"windows1252": "cp1252", "cp1252": "cp1252", "cp949": "cp949", "euckr": "cp949", "ksc56011987": "cp949"}

# Advice for a scan that was given in place of an ECG.
SCAN = "give it as the scan (cof twin --scan, or the sheet's columns cine and anchor), and the ECG's own file here"
_UNKNOWN = "the file is neither XML, nor DICOM, nor a PhysioNet header (.hea)"
_ARCHIVE = "unpack it, and give the ECG's own file"
# Files that may be given in place of XML: offset and value of their first bytes, what they are, and what to do.
_OTHERS = (
    (0, b"PK", "a zip archive, as scans come in", SCAN),
    (344, b"n+1", "a NIfTI image", SCAN),
    (344, b"ni1", "a NIfTI image", SCAN),
    (4, b"n+2", "a NIfTI image", SCAN),
    (0, b"\x1f\x8b", "a gzip archive, as .nii.gz and .xml.gz are", f"a scan: {SCAN}; an ECG: unpack it"),
    (0, b"BZh", "a bzip2 archive", _ARCHIVE),
    (0, b"7z\xbc\xaf", "a 7z archive", _ARCHIVE),
    (0, b"\xfd7zXZ", "an xz archive", _ARCHIVE),
    (0, b"Rar!", "a RAR archive", _ARCHIVE),
    (0, b"%PDF", "a PDF: a picture of an ECG", "export the signal itself"),
    (0, b"\x89PNG", "a picture", "export the signal itself"),
    (0, b"\xff\xd8\xff", "a picture", "export the signal itself"),
    (16, b"SCPECG", "an SCP-ECG file, which is not read", "convert it to DICOM or to a PhysioNet record"),
    (0, b"0       ", "an EDF file, which is not read", "convert it to a PhysioNet record"),
    (0, b"\xffBIOSEMI", "a BDF file, which is not read", "convert it to a PhysioNet record"),
    (0, b"MATLAB", "a MATLAB file", "give the PhysioNet header (.hea) beside it, if there is one"),
)


Node = Any  # an element as xmltodict returns it: a mapping, its text, or None where it is empty


def parse(raw: bytes) -> dict[str, Node]:
    """Parse XML into the mappings of `xmltodict`: one root; attributes under `@name`, text beside them under `#text`.

    Namespaces are removed from names. Entities are refused, and external document types are never opened.

    Raises:
        CofError: the file is empty, too large or not well-formed, declares entities, is nested too deeply, or has too
            many elements or attributes.
    """
    if not raw.strip():
        raise CofError(Reason.ECG_UNREADABLE, "the file is empty")
    for offset, magic, what, remedy in _OTHERS:
        if raw.startswith(magic, offset):
            raise CofError(Reason.ECG_UNREADABLE, f"this is {what}, not an ECG file that can be read here: {remedy}")
    if len(raw) > MAX_BYTES:
        raise CofError(Reason.ECG_UNREADABLE, f"the file is larger than {MAX_BYTES >> 20} MiB")
    # Counted before parsing: the parser's stack grows with elements that are never closed.
    if raw.count(b"<") > _MAX_TAGS or raw.count(b"=") > _MAX_ATTRIBUTES:
        raise CofError(
            Reason.ECG_UNREADABLE, f"the file has more than {_MAX_TAGS} tags or {_MAX_ATTRIBUTES} attributes"
        )
    try:
        # Our encoding overrides the one that the document claims.
        text = _decode(raw).lstrip().encode("utf-8", "replace")
        document = xmltodict.parse(text, encoding="utf-8", disable_entities=True, postprocessor=_bounded)
    except (ExpatError, ValueError) as error:
        what = "the XML is broken" if raw.lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n").startswith(b"<") else _UNKNOWN
        raise CofError(Reason.ECG_UNREADABLE, f"{what}: {error}") from None
    return document


def _bounded(path: list[tuple[str, Any]], name: str, value: Node) -> tuple[str, Node]:
    """Return an element or attribute with its local name; raise CofError if it is nested too deeply."""
    if len(path) > _MAX_DEPTH:
        raise CofError(Reason.ECG_UNREADABLE, f"elements are nested more than {_MAX_DEPTH} deep")
    sigil = "@" if name.startswith("@") else ""
    return sigil + name.lstrip("@").rpartition(":")[2], value


def child(node: Node, *path: str) -> Node:
    """Return the first element under the given names, or None."""
    for name in path:
        node = next(_named(node, name), None)
    return node


def children(node: Node, *path: str) -> Iterator[Node]:
    """Yield all elements of the last name in `path`; of each name before it, the first element is followed."""
    yield from _named(child(node, *path[:-1]), path[-1])


def _named(node: Node, name: str) -> Iterator[Node]:
    found = node.get(name, []) if isinstance(node, dict) else []
    yield from found if isinstance(found, list) else [found]


def text(node: Node) -> str:
    """Return the text of an element, without its children's text and surrounding blanks; empty for None."""
    node = node.get("#text") if isinstance(node, dict) else node
    return node.strip() if isinstance(node, str) else ""


def attribute(node: Node, name: str) -> str:
    """Return an attribute of an element; empty where there is none."""
    value = node.get(f"@{name}") if isinstance(node, dict) else None
    return value.strip() if isinstance(value, str) else ""


def number(node: Node) -> float | None:
    """Return the text of an element as a finite number, or None."""
    try:
        value = float(text(node))
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None


def _decode(raw: bytes) -> str:
    """Decode a document by its byte order mark, else as UTF-8 if that is valid, else by the encoding it claims."""
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
