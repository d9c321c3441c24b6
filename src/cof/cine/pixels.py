"""Reader of the pixels of DICOM files, uncompressed or by pydicom's decoders; data of another size are refused.

Values are those of the stored bits (BitsStored, HighBit, PixelRepresentation). Padding, and whether high values are
white or black, are only noted: `cof.cine.intensities` applies them for all images of a scan together.
"""

import resource
import signal
import struct
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import isfinite, prod
from multiprocessing import get_context
from types import ModuleType
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels import get_decoder
from pydicom.uid import JPEG2000, JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, RLELossless

from cof.cine.elements import Elements, Unreadable
from cof.errors import raise_if_broken

_MAX_BYTES = 512 * 2**20
_MAX_CHILD_BYTES = 2 * 2**30
_MAX_SECONDS = 8
_child: ProcessPoolExecutor | None = None
# Header segments of JPEG and JPEG-LS (start of frame), and that of JPEG 2000, hold height and width.
_JPEG_FRAMES = frozenset([*range(0xC0, 0xD0), 0xF7]) - {0xC4, 0xC8, 0xCC}
_JPEG_2000 = b"\xff\x4f\xff\x51"
_LOSSY = (JPEG2000, JPEGLSNearLossless, JPEGBaseline8Bit, JPEGExtended12Bit)
_GREYS = ("MONOCHROME1", "MONOCHROME2")
_COLOURS = ("RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "HSV", "ARGB", "CMYK")


@dataclass(frozen=True, eq=False)
class Grey:
    """A grey image and what is known about its values.

    Attributes:
        pixels: [Y, X], may be read-only.
        padded: bool [Y, X], the pixels that the file marks as padding; None if there are none.
        mirror: None if high values are white (MONOCHROME2). If they are black (MONOCHROME1), the sum of the least and
            the greatest value that the stored bits can hold: `mirror - pixels` is the image with high values white.
        stray_bits: whether bits beyond BitsStored were set (an overlay or leftovers); they are ignored.
    """

    pixels: np.ndarray
    padded: np.ndarray | None = None
    mirror: float | None = None
    stray_bits: bool = False


@dataclass(frozen=True)
class _Bits:
    """The position of a pixel's bits in its word."""

    allocated: int
    stored: int
    high: int
    signed: bool

    @property
    def least(self) -> int:
        return -(1 << self.stored - 1) if self.signed else 0

    @property
    def greatest(self) -> int:
        return self.least + (1 << self.stored) - 1


def read_pixels(elements: Elements) -> list[Grey]:
    """Read the grey images of one file, one per frame, as stored.

    Raises:
        Unreadable: the file holds no grey image of whole numbers, its bits contradict each other, or the pixels are too
            few, too many, or too large for a cine.
        Exception: the pixels cannot be decoded.
    """
    rows, columns = elements.whole("Rows"), elements.whole("Columns")
    frames = int(elements.number("NumberOfFrames") or 1)
    mirrored = _high_is_black(elements)
    bits = _bits(elements)
    if min(rows, columns, frames) < 1:
        raise Unreadable(f"{frames} frames of {rows} x {columns} pixels are not an image")
    shape = (frames, rows, columns)
    if prod(shape) * bits.allocated // 8 > _MAX_BYTES:
        raise Unreadable(f"{frames} frames of {rows} x {columns} pixels are too large for a cine")
    if elements.values.get("ModalityLUTSequence"):
        raise Unreadable("a ModalityLUTSequence, which is not applied; export with RescaleSlope and RescaleIntercept")
    lossy = False
    if elements.dataset is None:
        content = elements.values["PixelData"]
        _check_length(len(content), shape, bits)
        words = np.frombuffer(content, f"<{'i' if bits.signed else 'u'}{bits.allocated // 8}", prod(shape))
        words = words.reshape(shape)
    else:
        words = _decoded(elements.dataset, shape, bits)
        lossy = elements.dataset.file_meta.TransferSyntaxUID in _LOSSY
    words = _shifted(words, bits, lossy)
    values, stray = (_checked(words, bits), None) if lossy else _stored(words, bits)
    padded = _padding(elements, words, values, bits)
    if stray is not None and padded is not None:
        stray &= ~padded
    mirror = float(bits.least + bits.greatest) if mirrored else None
    return [
        Grey(
            values[frame],
            padded[frame] if padded is not None and padded[frame].any() else None,
            mirror,
            stray is not None and bool(stray[frame].any()),
        )
        for frame in range(frames)
    ]


def rescaled(grey: Grey, slope: float | None, intercept: float | None) -> Grey:
    """Apply slope and intercept to stored values; raise Unreadable if one is not finite or the slope is 0."""
    if slope in (None, 1.0) and intercept in (None, 0.0):
        return grey
    scale, offset = np.float32(1.0 if slope is None else slope), np.float32(intercept or 0.0)
    if not (isfinite(scale) and isfinite(offset) and scale):
        raise Unreadable(
            f"RescaleSlope {slope} and RescaleIntercept {intercept}; both must be finite, and the slope not 0"
        )
    mirror = None if grey.mirror is None else float(scale) * grey.mirror + 2 * float(offset)
    return replace(grey, pixels=np.asarray(grey.pixels * scale + offset), mirror=mirror)


def _high_is_black(elements: Elements) -> bool:
    """Tell whether high values are black; raise Unreadable for anything but grey images."""
    samples = elements.whole("SamplesPerPixel") if elements.values.get("SamplesPerPixel") else 1
    photometric = elements.text("PhotometricInterpretation").upper()
    if samples == 1 and photometric in _GREYS:
        return photometric == "MONOCHROME1"
    kind = photometric if photometric in _GREYS + _COLOURS else "unknown" if photometric else "missing"
    raise Unreadable(
        f"SamplesPerPixel {samples} and PhotometricInterpretation {kind}; only grey images (MONOCHROME1, MONOCHROME2) "
        "are read: export the scanner's images, not pictures of them"
    )


def _bits(elements: Elements) -> _Bits:
    """Return the position of the bits; raise Unreadable if the file contradicts itself."""
    allocated, stored = elements.whole("BitsAllocated"), elements.whole("BitsStored")
    high = elements.whole("HighBit") if elements.values.get("HighBit") else stored - 1
    signed = elements.whole("PixelRepresentation")
    if allocated not in (8, 16, 32):
        raise Unreadable(f"BitsAllocated {allocated}; 8, 16 and 32 are read")
    if not 1 <= stored <= allocated:
        raise Unreadable(f"BitsStored {stored} of BitsAllocated {allocated}; it must be 1 to {allocated}: correct it")
    if not stored - 1 <= high < allocated:
        raise Unreadable(
            f"HighBit {high} with BitsStored {stored} of BitsAllocated {allocated}; it must be {stored - 1}: correct it"
        )
    if signed not in (0, 1):
        raise Unreadable(f"PixelRepresentation {signed}; it must be 0 (unsigned) or 1 (signed): correct it")
    return _Bits(allocated, stored, high, signed == 1)


def _check_length(length: int, shape: tuple[int, int, int], bits: _Bits) -> None:
    """Raise Unreadable if the number of uncompressed pixels is not as stated; a few bytes may pad the end."""
    size = bits.allocated // 8
    surplus = length - prod(shape) * size
    if surplus < 0:
        raise Unreadable(f"PixelData are cut short by {-surplus} of {prod(shape) * size} bytes: fetch the file again")
    if surplus > 1 and surplus >= min(shape[1:]) * size:
        raise Unreadable(
            f"PixelData hold {surplus} bytes more than {shape[0]} frames of {shape[1]} x {shape[2]} pixels of "
            f"{bits.allocated} bits: correct Rows, Columns, NumberOfFrames or BitsAllocated"
        )


def _decoded(data: Dataset, shape: tuple[int, int, int], bits: _Bits) -> np.ndarray:
    """Decode the images by pydicom, [frames, Y, X]; unused bits are kept."""
    syntax = data.file_meta.TransferSyntaxUID
    coded = syntax.is_encapsulated and syntax != RLELossless
    if not syntax.is_encapsulated:
        _check_length(len(data.PixelData), shape, bits)
    elif coded:
        for stream in generate_frames(data.PixelData, number_of_frames=shape[0]):
            if _coded_size(stream) != shape[1:]:
                raise Unreadable(
                    f"a compressed image does not have {shape[1]} x {shape[2]} pixels: correct Rows and Columns"
                )
    try:
        words = np.asarray(_decode_apart(data) if coded else _words(data)).reshape(shape)
    except Unreadable:
        raise
    except Exception as error:  # a decoder can raise anything
        raise_if_broken(error)
        named = "an unknown transfer syntax" if syntax.name == syntax else syntax.name
        raise Unreadable(f"pixels in {named} that cannot be decoded ({type(error).__name__})") from None
    return words.astype(words.dtype.newbyteorder("="), copy=False)


def _words(data: Dataset) -> np.ndarray:
    """Return the words that pydicom decodes, before it would clear unused bits."""
    options: Any = {"correct_unused_bits": False}
    return get_decoder(data.file_meta.TransferSyntaxUID).as_array(data, raw=True, **options)[0]


def _shifted(words: np.ndarray, bits: _Bits, lossy: bool) -> np.ndarray:
    """Shift words so that their lowest bit is the lowest stored one.

    A HighBit above BitsStored - 1 may itself be wrong: it is used only if the bits below the stored ones are 0.

    Raises:
        Unreadable: they are not 0.
    """
    below = bits.high + 1 - bits.stored
    if not below:
        return words
    if lossy or bits.high >= 8 * words.itemsize or (words & ((1 << below) - 1)).any():
        raise Unreadable(
            f"HighBit {bits.high} with BitsStored {bits.stored}, and the {below} bits below are not 0: clear them "
            f"or, if they belong to the pixels, correct HighBit to {bits.stored - 1}"
        )
    return words >> below


def _stored(words: np.ndarray, bits: _Bits) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the values of the stored bits, and a mask of pixels with other bits set; None if there are none."""
    above = 8 * words.itemsize - bits.stored
    if above <= 0 or (words.max() <= bits.greatest and (not bits.signed or words.min() >= bits.least)):
        return words, None
    values = (words << above) >> above
    return values, (values != words) & (words.view(f"u{words.itemsize}") >> bits.stored != 0)


def _checked(words: np.ndarray, bits: _Bits) -> np.ndarray:
    """Return lossily coded values, which overshoot a little; raise Unreadable if they far exceed the stored bits."""
    margin = (1 << bits.stored) // 16
    if words.max() > bits.greatest + margin or words.min() < bits.least - margin:
        raise Unreadable(f"compressed values beyond what BitsStored {bits.stored} can hold: correct BitsStored")
    return words


def _padding(elements: Elements, words: np.ndarray, values: np.ndarray, bits: _Bits) -> np.ndarray | None:
    """Return the mask of padding by PixelPaddingValue, or by its range to PixelPaddingRangeLimit; None without any.

    A value that the stored bits cannot hold is searched in the whole words.
    """
    names = ("PixelPaddingValue", "PixelPaddingRangeLimit")
    if not elements.values.get(names[0]):
        return None
    ends = [_padding_value(elements, name, bits) for name in names if elements.values.get(name)]
    padded = (values >= min(ends)) & (values <= max(ends))
    if values is not words:
        padded |= (words >= min(ends)) & (words <= max(ends))
    return padded if padded.any() else None


def _padding_value(elements: Elements, name: str, bits: _Bits) -> int:
    """Return a padding value with the pixels' signedness, whatever its type; raise Unreadable if it is not a number."""
    raw = elements.values[name]
    if len(raw) not in (2, 4):
        raise Unreadable(f"{name} is not a whole number of 16 or 32 bits: correct or remove it")
    value = int.from_bytes(raw, "little", signed=bits.signed)
    return value - (1 << bits.stored) if bits.signed and bits.greatest < value < 1 << bits.stored else value


def _decode_apart(data: Dataset) -> np.ndarray:
    """Decode the pixels in a child process: on some broken images, a decoder in C++ crashes its process."""
    global _child
    _child = _child or ProcessPoolExecutor(1, get_context("spawn"), _quieten)
    try:
        with _no_main_module():
            decoded = _child.submit(_decode, data)  # the first call starts the process
        return decoded.result()
    except BrokenProcessPool:
        _child = None
        raise Unreadable("compressed pixels on which the decoder crashed or took too long") from None
    except MemoryError:  # by the limit of the child, not of the machine
        raise Unreadable(
            f"compressed pixels for which the decoder needs more than {_MAX_CHILD_BYTES >> 30} GiB"
        ) from None


@contextmanager
def _no_main_module() -> Iterator[None]:
    """Let a process that starts here not import the main module: a script without a guard would run again."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _quieten() -> None:
    """Suppress warnings in the child: they quote values, which may name the patient."""
    warnings.simplefilter("ignore")


def _decode(data: Dataset) -> np.ndarray:
    """Decode the pixels in the child, with limits on memory and on time (whose signal ends the child)."""
    resource.setrlimit(resource.RLIMIT_AS, (_MAX_CHILD_BYTES, _MAX_CHILD_BYTES))
    signal.setitimer(signal.ITIMER_PROF, _MAX_SECONDS)
    pixels = _words(data)
    signal.setitimer(signal.ITIMER_PROF, 0)
    return pixels


def _coded_size(stream: bytes) -> tuple[int, int]:
    """Return rows and columns by the header of a JPEG, JPEG-LS or JPEG 2000 stream."""
    if stream[:4] == _JPEG_2000:
        right, bottom, left, top = struct.unpack(">4I", stream[8:24])
        return bottom - top, right - left
    if stream[:2] != b"\xff\xd8":
        raise Unreadable("a compressed transfer syntax without a compressed image")
    at = 2
    while at + 9 <= len(stream):
        if stream[at] != 0xFF:
            raise Unreadable("a compressed image that is damaged")
        marker = stream[at + 1]
        if marker in _JPEG_FRAMES:
            rows, columns = struct.unpack(">2H", stream[at + 5 : at + 9])
            return rows, columns
        at += 1 if marker == 0xFF else 2 + int.from_bytes(stream[at + 2 : at + 4])
    raise Unreadable("a compressed image that is damaged")
