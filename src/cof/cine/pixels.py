"""Pixels of DICOM files, uncompressed or by pydicom's decoders; nothing is unpacked that is larger than it says."""

import resource
import signal
import struct
import warnings
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from math import prod
from multiprocessing import get_context

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.uid import RLELossless

from cof.cine.elements import Elements

_MAX_BYTES = 512 * 2**20
_MAX_CHILD_BYTES = 2 * 2**30
_MAX_SECONDS = 8
_child: ProcessPoolExecutor | None = None
# Image header segments of JPEG and JPEG-LS (start of frame) hold height and width; so does that of JPEG 2000.
_JPEG_FRAMES = frozenset([*range(0xC0, 0xD0), 0xF7]) - {0xC4, 0xC8, 0xCC}
_JPEG_2000 = b"\xff\x4f\xff\x51"


def read_pixels(elements: Elements) -> np.ndarray:
    """The grey images of one file as stored.

    Returns:
        [frames, Y, X], read-only.

    Raises:
        Exception: no grey image, cut short, too large, or not to be decoded.
    """
    rows, columns = elements.whole("Rows"), elements.whole("Columns")
    frames = int(elements.number("NumberOfFrames") or 1)
    bits = elements.whole("BitsAllocated")
    samples = elements.whole("SamplesPerPixel") if "SamplesPerPixel" in elements.values else 1
    if samples != 1 or bits not in (8, 16, 32) or min(rows, columns, frames) < 1:
        raise ValueError("no grey image")
    if rows * columns * frames * bits // 8 > _MAX_BYTES:
        raise ValueError("too large for a cine")
    if elements.dataset is not None:
        return _decoded(elements.dataset, (frames, rows, columns))
    signed = elements.whole("PixelRepresentation") == 1
    kind = np.dtype(f"<{'i' if signed else 'u'}{bits // 8}")
    return np.frombuffer(elements.values["PixelData"], kind, rows * columns).reshape(1, rows, columns)


def _decoded(data: Dataset, shape: tuple[int, int, int]) -> np.ndarray:
    """The images by pydicom's decoders, [frames, Y, X]."""
    syntax = data.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        for stream in generate_frames(data.PixelData, number_of_frames=shape[0]):
            if syntax != RLELossless and _coded_size(stream) != shape[1:]:
                raise ValueError("the compressed image has another size than the file says")
    elif len(data.PixelData) * 8 < prod(shape) * data.BitsAllocated:
        raise ValueError("cut short")
    coded = syntax.is_encapsulated and syntax != RLELossless
    return np.asarray(_decode_apart(data) if coded else data.pixel_array).reshape(shape)


def _decode_apart(data: Dataset) -> np.ndarray:
    """The pixels by a child process: on some broken images a decoder in C++ ends the process that it runs in."""
    global _child
    _child = _child or ProcessPoolExecutor(1, get_context("spawn"), _quieten)
    try:
        return _child.submit(_decode, data).result()
    except BrokenProcessPool:
        _child = None
        raise ValueError("the decoder crashed, or took too long") from None


def _quieten() -> None:
    """In the child: no remarks on values, which may name the patient."""
    warnings.simplefilter("ignore")


def _decode(data: Dataset) -> np.ndarray:
    """In the child: the pixels, with bounds on time (whose signal ends the child) and memory."""
    resource.setrlimit(resource.RLIMIT_AS, (_MAX_CHILD_BYTES, _MAX_CHILD_BYTES))
    signal.setitimer(signal.ITIMER_PROF, _MAX_SECONDS)
    pixels = data.pixel_array
    signal.setitimer(signal.ITIMER_PROF, 0)
    return pixels


def _coded_size(stream: bytes) -> tuple[int, int]:
    """Rows and columns by the header of a JPEG, JPEG-LS or JPEG 2000 stream."""
    if stream[:4] == _JPEG_2000:
        right, bottom, left, top = struct.unpack(">4I", stream[8:24])
        return bottom - top, right - left
    if stream[:2] != b"\xff\xd8":
        raise ValueError("no compressed image")
    at = 2
    while at + 9 <= len(stream):
        if stream[at] != 0xFF:
            raise ValueError("no marker where one must be")
        marker = stream[at + 1]
        if marker in _JPEG_FRAMES:
            rows, columns = struct.unpack(">2H", stream[at + 5 : at + 9])
            return rows, columns
        at += 1 if marker == 0xFF else 2 + int.from_bytes(stream[at + 2 : at + 4])
    raise ValueError("no image in the stream")
