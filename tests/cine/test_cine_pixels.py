"""Stored bits, padding and photometric interpretation: values against pydicom's and against their definition."""

import io

import imagecodecs
import numpy as np
import pydicom
import pytest
from coded import LOSSLESS, UNCOMPRESSED, bare, compressed, run_length
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
)

from cof.cine import elements
from cof.cine.elements import read_elements
from cof.cine.pixels import read_pixels

ROWS, COLUMNS = 5, 6


def stored(words: np.ndarray, bits: int, signed: bool) -> np.ndarray:
    """By definition: the lowest bits of a word, as a binary number or in two's complement."""
    value = words.astype(np.int64) % (1 << bits)
    return np.where(signed & (value >= 1 << bits - 1), value - (1 << bits), value)


def image(kit, words: np.ndarray, bits: int, signed: bool, syntax=ExplicitVRLittleEndian) -> Dataset:
    """A dataset whose pixels are `words`, whatever lies in their unused bits."""
    (data,) = kit.images(kit.scan(slices=1, frames=1))
    kit.encode(data)
    data.file_meta.TransferSyntaxUID = syntax
    size = words.dtype.itemsize
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8 * size, bits, bits - 1, int(signed)
    data.Rows, data.Columns = words.shape
    data.PixelData = words.astype(words.dtype.newbyteorder(">" if syntax == ExplicitVRBigEndian else "<")).tobytes()
    data["PixelData"].VR = "OB" if size == 1 and syntax != ImplicitVRLittleEndian else "OW"
    return data


def named(syntax) -> str:
    return syntax.keyword


def property_settings(examples: int):
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def read(content: bytes) -> np.ndarray:
    return read_pixels(read_elements(content))[0].pixels


@st.composite
def dirty_images(draw, sizes=(1, 2, 2, 2, 4)):
    size = draw(st.sampled_from(sizes))
    bits = draw(st.integers(8, min(16, 8 * size)) if size < 4 else st.integers(8, 32))
    words = draw(st.lists(st.integers(0, 256**size - 1), min_size=ROWS * COLUMNS, max_size=ROWS * COLUMNS))
    return np.array(words, f"u{size}").reshape(ROWS, COLUMNS), bits, draw(st.booleans())


def written(kit, data: Dataset, preamble: bool) -> tuple[bytes, np.ndarray]:
    """A file, and its pixels by pydicom."""
    syntax = data.file_meta.TransferSyntaxUID
    content = kit.encode(data) if preamble else bare(data, syntax)
    reference = pydicom.dcmread(io.BytesIO(content), force=True)
    reference.file_meta.TransferSyntaxUID = syntax
    return content, reference.pixel_array


@pytest.mark.parametrize("preamble", [True, False])
@pytest.mark.parametrize("syntax", UNCOMPRESSED, ids=named)
@given(form=dirty_images())
@property_settings(60)
def test_uncompressed_pixels_are_what_pydicom_reads(kit, syntax, preamble, form):
    words, bits, signed = form
    content, reference = written(kit, image(kit, words, bits, signed, syntax), preamble)
    found = read_elements(content)
    assert (found.dataset is None) == (syntax != ExplicitVRBigEndian)  # without pydicom wherever it can be
    pixels = read_pixels(found)[0].pixels
    np.testing.assert_array_equal(pixels, reference)
    np.testing.assert_array_equal(pixels, stored(words, bits, signed))


@given(form=dirty_images())
@property_settings(40)
def test_run_length_coded_pixels_are_what_pydicom_reads(kit, form):
    content, reference = written(kit, run_length(image(kit, *form)), True)
    np.testing.assert_array_equal(read(content), reference)
    np.testing.assert_array_equal(reference, stored(*form))


@pytest.mark.parametrize("syntax", LOSSLESS, ids=named)
@given(form=dirty_images(sizes=(1, 2, 2)))
@property_settings(25)
def test_compressed_pixels_are_what_pydicom_reads_from_the_uncompressed_image(kit, syntax, form):
    data = image(kit, *form)
    _, uncompressed = written(kit, data, True)
    np.testing.assert_array_equal(read(kit.encode(compressed(data, syntax, LOSSLESS[syntax]))), uncompressed)


NARROW = {
    JPEGLosslessSV1: lambda image, bits: imagecodecs.ljpeg_encode(image, bitspersample=bits),
    JPEG2000Lossless: lambda image, bits: imagecodecs.jpeg2k_encode(
        image, codecformat="j2k", reversible=True, level=0, bitspersample=bits
    ),
}


@pytest.mark.parametrize("syntax", NARROW, ids=named)
@given(form=dirty_images(sizes=(2,)))
@property_settings(25)
def test_compressed_streams_of_the_stored_bits_alone_give_their_values(kit, syntax, form):
    words, bits, signed = form
    data = image(kit, words & ((1 << bits) - 1), bits, signed)
    content = kit.encode(compressed(data, syntax, lambda image: NARROW[syntax](image, bits)))
    np.testing.assert_array_equal(read(content), stored(*form))


NUMBERS = st.decimals(-9999, 9999, places=3).map(str)
TEXTS = st.text("ABCxyz 0123456789", max_size=20)
OPTIONAL = {
    "SeriesDescription": TEXTS,
    "TriggerTime": NUMBERS,
    "NominalInterval": st.integers(0, 5000),
    "InstanceNumber": st.integers(0, 10**6),
    "ImagePositionPatient": st.lists(NUMBERS, min_size=3, max_size=3),
    "RescaleSlope": NUMBERS,
    "RescaleIntercept": NUMBERS,
    "PixelPaddingValue": st.integers(0, 2**15 - 1),
    "PixelPaddingRangeLimit": st.integers(0, 2**15 - 1),
    "NumberOfFrames": st.just(1),
    # What is passed over on the way.
    "PatientComments": TEXTS,
    "WindowCenter": NUMBERS,
    "SmallestImagePixelValue": st.integers(0, 2**15 - 1),
    "RedPaletteColorLookupTableData": st.binary(max_size=8).map(lambda value: value + b"\0" * (len(value) % 2)),
}


@given(
    st.fixed_dictionaries({}, optional=OPTIONAL),
    st.lists(st.fixed_dictionaries({}, optional=OPTIONAL), max_size=3),
    st.booleans(),
    st.sampled_from([ExplicitVRLittleEndian, ImplicitVRLittleEndian]),
    st.booleans(),
)
@property_settings(80)
def test_the_walk_finds_the_elements_that_pydicom_finds(kit, values, items, undefined_length, syntax, preamble):
    data = image(kit, np.arange(ROWS * COLUMNS, dtype="u2").reshape(ROWS, COLUMNS), 16, False, syntax)

    def fill(dataset, values):
        for name, value in values.items():
            setattr(dataset, name, value)
        return dataset

    fill(data, values)
    inner = fill(Dataset(), {"RequestAttributesSequence": Sequence([fill(Dataset(), item) for item in items])})
    data.ReferencedImageSequence = Sequence([inner, *(fill(Dataset(), item) for item in items)])
    data["ReferencedImageSequence"].is_undefined_length = undefined_length
    data.private_block(0x0029, "SOMEBODY", create=True).add_new(1, "OB", b"\xe0\x7f\x10\x00")
    content, _ = written(kit, data, preamble)
    walked, parsed = elements._walk(content), elements._by_pydicom(content)
    assert walked.pop("PixelData") == parsed.dataset.PixelData
    assert {name: value.rstrip(b" \0") for name, value in walked.items() if value.rstrip(b" \0")} == {
        name: value.rstrip(b" \0") for name, value in parsed.values.items() if value.rstrip(b" \0")
    }
