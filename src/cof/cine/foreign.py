"""Recognition of files by their first bytes: single DICOM files, and files that are not a scan."""

import io
import re
import zipfile
from pathlib import Path

import pydicom

from cof.errors import raise_if_broken

SINGLE_DICOM = "a single DICOM file"
_TEXT, _UNKNOWN = "a text, no scan", "of an unknown kind"
_HEAD_BYTES = 8192
_DICOM_GROUPS = (b"\x02\0", b"\x08\0")  # first bytes of a file without the preamble of 128 bytes
_ECG_CLASSES = "1.2.840.10008.5.1.4.1.1.9."  # waveforms
_XML_ECG = re.compile(rb"<(?:\w+:)?(?:CardiologyXML|RestingECG|AnnotatedECG|restingecgdata|ECG)\b", re.IGNORECASE)
_WFDB = re.compile(rb"(?:#[^\n]*\n)*[\w/-]+ \d+ [\d./()]+(?: \d+)?")
_ELSE = {  # by their first bytes
    b"\x1f\x8b": "a gzip archive: unpack it",
    b"Rar!": "a RAR archive: pack its files as zip, or unpack them into a folder",
    b"7z\xbc\xaf": "a 7z archive: pack its files as zip, or unpack them into a folder",
    b"\xfd7zXZ": "an xz archive: unpack it",
    b"BZh": "a bzip2 archive: unpack it",
    b"NRRD": "an image in NRRD: convert it to NIfTI",
    b"ObjectType": "an image in MetaImage: convert it to NIfTI",
    b"MATLAB": "a MATLAB file: convert it to NIfTI",
    b"\x89HDF": "an HDF5 file: convert it to NIfTI",
    b"\x93NUMPY": "a NumPy array, which has no header: save it as NIfTI with its affine",
    b"\x89PNG": "a PNG picture, which has no geometry",
    b"\xff\xd8\xff": "a JPEG picture, which has no geometry",
    b"GIF8": "a GIF film, which has no geometry",
    b"%PDF": "a PDF document",
}


def describe(path: Path) -> str:
    """Describe a file that is neither a zip archive nor a NIfTI, in words that follow "the file is"."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    words = describe_bytes(path.name, head, head.startswith(b"PK") and zipfile.is_zipfile(path))
    samples = words in (_TEXT, _UNKNOWN) and path.with_suffix(".hea").is_file()
    return "the samples of a WFDB record, an ECG, no scan" if samples else words


def describe_bytes(name: str, content: bytes, whole_zip: bool) -> str:
    """Describe a file by its name, its first bytes, and whether it is a whole zip archive, as `describe` does."""
    head = content[:_HEAD_BYTES]
    if not head:
        return "empty: fetch it again"
    if head[128:132] == b"DICM" or head[:2] in _DICOM_GROUPS:
        return "an ECG (a DICOM waveform), no scan" if _is_ecg(head) else SINGLE_DICOM
    if head.startswith(b"PK"):
        return "a zip archive" if whole_zip else "a broken zip archive, cut off or damaged: fetch it again"
    packed = head.startswith(b"\x1f\x8b") and name.lower().endswith(".nii.gz")
    if packed or head[344:347] in (b"n+1", b"ni1"):
        return "a NIfTI: give the file itself"
    for start, words in _ELSE.items():
        if head.startswith(start):
            return words
    if head[257:262] == b"ustar":
        return "a tar archive: pack its files as zip, or unpack them into a folder"
    text = head.lstrip(b"\xef\xbb\xbf").replace(b"\0", b"").lstrip()  # good enough to read UTF-16
    if text.lstrip(b"\xff\xfe").startswith(b"<"):
        if _XML_ECG.search(text):
            return "an ECG (XML), no scan"
        page = re.search(rb"<(?:!doctype )?html", text, re.IGNORECASE)
        return "a web page, as a failed download leaves it: fetch it again" if page else "an XML file, no scan"
    if name.lower().endswith(".hea") or _WFDB.match(text):
        return "an ECG (the header of a WFDB record), no scan"
    if text.isascii() and b"\0" not in head:
        return _TEXT
    return _UNKNOWN


def _is_ecg(content: bytes) -> bool:
    """Tell by its first bytes whether a DICOM file is an ECG."""
    head = content[:_HEAD_BYTES]
    try:
        data = pydicom.dcmread(io.BytesIO(head), force=True, specific_tags=["SOPClassUID", "Modality"])
    except Exception as error:  # parsing foreign bytes can raise anything
        raise_if_broken(error)
        return False
    return str(data.get("SOPClassUID", "")).startswith(_ECG_CLASSES) or data.get("Modality") == "ECG"
