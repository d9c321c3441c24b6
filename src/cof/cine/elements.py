"""Reader of the elements of a DICOM file that a cine needs, as raw bytes.

An ordinary file (little endian, one uncompressed image) is parsed here in a fraction of the time that pydicom needs to
read all of it. Every other file is read by pydicom, which also decides what a doubtful file means.
"""

import io
import struct
from dataclasses import dataclass
from typing import Any

import pydicom
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import UID

TAGS = {
    "TransferSyntaxUID": 0x00020010,
    "ImageType": 0x00080008,
    "SOPInstanceUID": 0x00080018,
    "SyntheticData": 0x0008001C,
    "StudyDate": 0x00080020,
    "SeriesDate": 0x00080021,
    "AcquisitionDate": 0x00080022,
    "ContentDate": 0x00080023,
    "AcquisitionDateTime": 0x0008002A,
    "SeriesTime": 0x00080031,
    "AcquisitionTime": 0x00080032,
    "ContentTime": 0x00080033,
    "SeriesDescription": 0x0008103E,
    "ComplexImageComponent": 0x00089208,
    "PatientSex": 0x00100040,
    "PatientAge": 0x00101010,
    "PatientSize": 0x00101020,
    "PatientWeight": 0x00101030,
    "SequenceName": 0x00180024,
    "ProtocolName": 0x00181030,
    "TriggerTime": 0x00181060,
    "NominalInterval": 0x00181062,
    "HeartRate": 0x00181088,
    "CardiacNumberOfImages": 0x00181090,
    "PulseSequenceName": 0x00189005,
    "SeriesInstanceUID": 0x0020000E,
    "SeriesNumber": 0x00200011,
    "AcquisitionNumber": 0x00200012,
    "InstanceNumber": 0x00200013,
    "ImagePositionPatient": 0x00200032,
    "ImageOrientationPatient": 0x00200037,
    "TemporalPositionIdentifier": 0x00200100,
    "SamplesPerPixel": 0x00280002,
    "PhotometricInterpretation": 0x00280004,
    "NumberOfFrames": 0x00280008,
    "Rows": 0x00280010,
    "Columns": 0x00280011,
    "PixelSpacing": 0x00280030,
    "BitsAllocated": 0x00280100,
    "BitsStored": 0x00280101,
    "HighBit": 0x00280102,
    "PixelRepresentation": 0x00280103,
    "PixelPaddingValue": 0x00280120,
    "PixelPaddingRangeLimit": 0x00280121,
    "RescaleIntercept": 0x00281052,
    "RescaleSlope": 0x00281053,
    "ModalityLUTSequence": 0x00283000,
    "GeCreator": 0x00430010,  # "GEMS_PARM_01": owner of General Electric's private elements
    "GeRawDataType": 0x0043102F,  # magnitude 0, phase 1, real 2, imaginary 3
    "FloatPixelData": 0x7FE00008,
    "DoubleFloatPixelData": 0x7FE00009,
    "PixelData": 0x7FE00010,
}
# Further tags that pydicom needs to decode pixels, and functional groups and dimensions of enhanced multi-frame images.
_PYDICOM_TAGS = (*TAGS.values(), 0x00280006, 0x00209222, 0x52009229, 0x52009230)
_NUMBERS = frozenset(tag for tag in TAGS.values() if not tag >> 16 & 1 and dictionary_VR(tag) in ("DS", "IS"))
_NAMES = {struct.pack("<HH", tag >> 16, tag & 0xFFFF): name for name, tag in TAGS.items()}

_EXPLICIT, _IMPLICIT, _BIG_ENDIAN = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_SHORT_VRS = frozenset(
    b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split()
)  # their length has two bytes
_LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_UNDEFINED = 0xFFFFFFFF
_PIXELS, _ITEM = b"\xe0\x7f\x10\x00", b"\xfe\xff\x00\xe0"
_ITEM_END, _SEQUENCE_END = b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0"
_FUNCTIONAL_GROUPS = (b"\x00\x52\x29\x92", b"\x00\x52\x30\x92")
_PIXEL_TRANSFORMATION = b"\x28\x00\x45\x91"  # a functional group with slope and intercept
_MODALITY_LUT = b"\x28\x00\x00\x30"
_MAX_DEPTH = 8
_MAGIC = b"DICM"  # after a preamble of 128 bytes

_short = struct.Struct("<4s2sH").unpack_from
_long = struct.Struct("<I").unpack_from
_implicit = struct.Struct("<4sI").unpack_from


class _Doubtful(Exception):
    """A file that is not ordinary and has to be read by pydicom."""


class Unreadable(ValueError):
    """An image that cannot be used; the message says why, without any value that may name the patient."""


@dataclass(frozen=True, eq=False)
class Elements:
    """Elements by name, each as its raw little-endian bytes.

    Attributes:
        values: value of each element of `TAGS` that the file has.
        dataset: dataset of pydicom, for files that are not ordinary; else None.
    """

    values: dict[str, bytes]
    dataset: Dataset | None = None

    def text(self, name: str) -> str:
        """Return the element's text without padding; "" if it is absent."""
        return self.values.get(name, b"").decode("latin-1").strip(" \0\t\r\n")

    def numbers(self, name: str) -> list[float]:
        """Return the numbers of a decimal or integer string; raise Unreadable for anything else."""
        text = self.text(name)
        try:
            return [float(part) for part in text.split("\\")] if text else []
        except ValueError:
            raise Unreadable(f"{name} is not a number with a decimal point") from None

    def number(self, name: str) -> float | None:
        """Return the first number of an element, or None if it is absent."""
        numbers = self.numbers(name)
        return numbers[0] if numbers else None

    def whole(self, name: str) -> int:
        """Return an unsigned whole number of 16 bits; raise Unreadable for anything else."""
        value = self.values.get(name)
        if not value:
            raise Unreadable(f"{name} is missing")
        if len(value) != 2:
            raise Unreadable(f"{name} is not a whole number of 16 bits")
        return value[0] | value[1] << 8


def is_dicom(content: bytes) -> bool:
    """Tell whether a file is DICOM by its magic bytes or, without a preamble, by an element of group 0002 or 0008."""
    if _has_preamble(content):
        return True
    group, vr = content[:2], content[4:6]
    if vr in _SHORT_VRS or vr in _LONG_VRS:
        return group in (b"\x02\x00", b"\x08\x00", b"\x00\x08")  # the last is big endian
    return group == b"\x08\x00" and len(content) > 8 and _implicit(content, 0)[1] <= len(content) - 8


def read_elements(content: bytes) -> Elements:
    """Read the elements of one file.

    Raises:
        Unreadable: the file is deflated.
        Exception: the file is not readable DICOM; the kind of exception depends on where pydicom fails.
    """
    try:
        return Elements(_walk(content))
    except (_Doubtful, struct.error):
        return _by_pydicom(content)


def _has_preamble(content: bytes) -> bool:
    return content[128:132] == _MAGIC


def _walk(content: bytes) -> dict[str, bytes]:
    """Parse the elements of an ordinary file; raise _Doubtful or struct.error for any other."""
    values: dict[str, bytes] = {}
    at, end = 132 if _has_preamble(content) else 0, len(content)
    while content[at : at + 2] == b"\x02\x00":
        tag, length, at = _header(content, at, True)
        if length > end - at:
            raise _Doubtful
        if tag in _NAMES:
            values[_NAMES[tag]] = content[at : at + length]
        at += length
    explicit, last = _is_explicit(content, at, values), (0, 0)
    while at < end:
        tag, length, at = _header(content, at, explicit)
        order = struct.unpack("<HH", tag)
        if order <= last:
            raise _Doubtful
        last = order
        start = at
        if length == _UNDEFINED and tag != _PIXELS:
            at = _after_sequence(content, at, explicit, 0)
        elif length > end - at:
            raise _Doubtful
        else:
            at += length
        if tag in _FUNCTIONAL_GROUPS and (
            "ImagePositionPatient" not in values or content.find(_PIXEL_TRANSFORMATION, start, at) >= 0
        ):
            raise _Doubtful
        if tag == _MODALITY_LUT and length:
            raise _Doubtful
        if tag in _NAMES:
            values[_NAMES[tag]] = content[start:at]
        if tag == _PIXELS:
            if values.get("NumberOfFrames", b"1").strip(b" \0") not in (b"1", b""):
                raise _Doubtful
            return values
    return values


def _is_explicit(content: bytes, at: int, values: dict[str, bytes]) -> bool:
    """Tell whether the elements from `at` on state their value representations; add a missing transfer syntax.

    Raises:
        _Doubtful: the transfer syntax is another one or contradicts the first element, or that is not of group 0008.
    """
    vr = content[at + 4 : at + 6]
    explicit = vr in _SHORT_VRS or vr in _LONG_VRS
    syntax = values.setdefault("TransferSyntaxUID", (_EXPLICIT if explicit else _IMPLICIT).encode())
    if content[at : at + 2] != b"\x08\x00":
        raise _Doubtful
    if syntax.rstrip(b"\0 ").decode("latin-1") != (_EXPLICIT if explicit else _IMPLICIT):
        raise _Doubtful
    return explicit


def _header(content: bytes, at: int, explicit: bool) -> tuple[bytes, int, int]:
    """Return tag and length of the element at `at`, and the offset of its value."""
    if not explicit:
        tag, length = _implicit(content, at)
        return tag, length, at + 8
    tag, vr, length = _short(content, at)
    if vr in _SHORT_VRS:
        return tag, length, at + 8
    if vr not in _LONG_VRS:
        raise _Doubtful
    (length,) = _long(content, at + 8)
    if length == _UNDEFINED and vr != b"SQ":
        raise _Doubtful
    return tag, length, at + 12


def _after_sequence(content: bytes, at: int, explicit: bool, depth: int) -> int:
    """Return the offset after a sequence of undefined length whose first item is at `at`."""
    if depth > _MAX_DEPTH:
        raise _Doubtful
    while True:
        tag, length = _implicit(content, at)
        at += 8
        if tag == _SEQUENCE_END:
            return at
        if tag != _ITEM:
            raise _Doubtful
        if length != _UNDEFINED:
            at += length
            continue
        while content[at : at + 4] != _ITEM_END:
            _, length, at = _header(content, at, explicit)
            at = _after_sequence(content, at, explicit, depth + 1) if length == _UNDEFINED else at + length
        at += 8


def _by_pydicom(content: bytes) -> Elements:
    """Read the elements by pydicom."""
    if _DEFLATED in content:  # unpacking has no limit, and no scanner writes such files
        raise Unreadable("a deflated transfer syntax; write the files with Explicit VR Little Endian")
    data = pydicom.dcmread(io.BytesIO(content), force=not _has_preamble(content), specific_tags=list(_PYDICOM_TAGS))
    if "TransferSyntaxUID" not in data.file_meta:  # pydicom has inferred it
        implicit, little = data.original_encoding
        data.file_meta.TransferSyntaxUID = UID(_IMPLICIT if implicit else _EXPLICIT if little else _BIG_ENDIAN)
    values = {"TransferSyntaxUID": str(data.file_meta.TransferSyntaxUID).encode()}
    for name, tag in TAGS.items():
        if tag in data and name != "PixelData":
            values[name] = _raw_text(data, tag) or _bytes(data[tag])
    return Elements(values, data)


def _raw_text(data: Dataset, tag: int) -> bytes:
    """Return the bytes of a number string that pydicom has not parsed yet, since it fails at a decimal comma."""
    element = data.get_item(tag)
    if isinstance(element, RawDataElement) and tag in _NUMBERS and element.VR in (None, "DS", "IS"):
        return element.value or b""
    return b""


def _bytes(element: DataElement) -> bytes:
    """Return the value of an element as an ordinary file stores it; for a sequence, only whether it has an item."""
    value: Any = element.value
    if isinstance(value, bytes):
        return value
    if element.VR in ("US", "SS") and isinstance(value, int):
        return struct.pack("<H", value & 0xFFFF)
    if element.VR == "SQ":
        return b"item" if value else b""
    if isinstance(value, MultiValue):
        value = "\\".join(map(str, value))
    return b"" if value is None else str(value).encode("latin-1", "replace")
