"""Intensities of whole scans: black and white, padding, slopes, depths; and what is refused, in words."""

import copy

import numpy as np
import pytest
from coded import LOSSLESS, UNCOMPRESSED, bare, compressed, enhanced, run_length
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian

from cof.cine.reader import read_cine_source
from cof.errors import CofError, Reason

SLICES = FRAMES = 3


@pytest.fixture
def small(kit):
    return kit.scan(slices=SLICES, frames=FRAMES)


@pytest.fixture
def datasets(kit, small):
    datasets = kit.images(small)
    for data in datasets:
        kit.encode(data)
    return datasets


def values_of(data: Dataset) -> np.ndarray:
    return np.frombuffer(data.PixelData, "<u2").reshape(data.Rows, data.Columns).astype(int)


def store(data: Dataset, values: np.ndarray, bits: int = 12, signed: bool = False, high: int | None = None) -> None:
    """Values as pixels of 8, 16 or 32 bits in two's complement, moved up to `high`."""
    high = bits - 1 if high is None else high
    size = 1 if high < 8 else 2 if high < 16 else 4
    words = (np.asarray(values, np.int64) << high + 1 - bits) % 256**size
    data.PixelData = words.astype(f"<u{size}").tobytes()
    data["PixelData"].VR = "OB" if size == 1 else "OW"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8 * size, bits, high, int(signed)


def set_padding(data: Dataset, value: int, name: str = "PixelPaddingValue") -> None:
    """The element in the representation that the value asks for, whatever that of the pixels is."""
    data.add_new(name, "SS" if value < 0 else "US", value)


def slice_of(data: Dataset) -> int:
    return int(data.SeriesDescription[-1]) - 1


def refused(path, reason=Reason.CINE_UNREADABLE) -> str:
    with pytest.raises(CofError) as caught:
        read_cine_source(path, 0.4)
    assert caught.value.reason is reason
    return str(caught.value)


# Stored bits


def test_an_overlay_in_unused_bits_is_ignored_and_said(small, datasets, archived):
    for data in datasets[::2]:
        data.PixelData = (values_of(data) | 0x8000).astype("<u2").tobytes()
    cine = read_cine_source(archived(datasets), 0.1)
    np.testing.assert_array_equal(cine.frames, small.frames)
    assert cine.repairs == ("bits beyond BitsStored (an overlay or leftovers) ignored in 5 of 9 images",)


def test_signed_pixels_need_no_repair_whether_their_sign_is_extended_or_not(small, datasets, archived):
    for number, data in enumerate(datasets):
        store(data, values_of(data) - 700, signed=True)
        if number % 2:
            data.PixelData = (np.frombuffer(data.PixelData, "<u2") & 0xFFF).tobytes()
    cine = read_cine_source(archived(datasets), 0.1)
    np.testing.assert_array_equal(cine.frames, small.frames - 700)
    assert cine.repairs == ()


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("form", ["ordinary", "run length", "enhanced"])
def test_pixels_below_another_high_bit_are_shifted(small, datasets, archived, signed, form):
    for data in datasets:
        store(data, values_of(data) - 700 * signed, signed=signed, high=15)
    files = {"ordinary": lambda: datasets, "run length": lambda: [run_length(data) for data in datasets],
             "enhanced": lambda: [enhanced(datasets)]}[form]()  # fmt: skip
    cine = read_cine_source(archived(files), 0.1)
    np.testing.assert_array_equal(cine.frames, small.frames - 700 * signed)


def test_a_high_bit_that_cannot_be_meant_is_refused(datasets, archived):
    for data in datasets:
        data.HighBit = 15  # and pixels in the lowest bits
    message = refused(archived(datasets))
    assert "HighBit 15 with BitsStored 12" in message
    assert "correct HighBit to 11 (9 files)" in message


@pytest.mark.parametrize(
    ("elements", "words"),
    [
        ({"BitsStored": 17, "HighBit": 16}, "BitsStored 17 of BitsAllocated 16"),
        ({"BitsStored": 0}, "BitsStored 0"),
        ({"HighBit": 16}, "HighBit 16 with BitsStored 12 of BitsAllocated 16"),
        ({"HighBit": 7}, "it must be 11"),
        ({"BitsStored": None}, "BitsStored is missing"),
        ({"BitsAllocated": None}, "BitsAllocated is missing"),
        ({"BitsAllocated": 12}, "BitsAllocated 12; 8, 16 and 32 are read"),
        ({"PixelRepresentation": None}, "PixelRepresentation is missing"),
        ({"PixelRepresentation": 2}, "PixelRepresentation 2"),
        ({"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}, "bytes more than"),
        ({"Rows": 15}, "correct Rows, Columns, NumberOfFrames or BitsAllocated"),
        ({"Columns": 13}, "correct Rows, Columns, NumberOfFrames or BitsAllocated"),
        ({"Rows": 17}, "cut short"),
        ({"SamplesPerPixel": 3}, "SamplesPerPixel 3 and PhotometricInterpretation MONOCHROME2"),
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, "PhotometricInterpretation RGB"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "PhotometricInterpretation PALETTE COLOR"),
        ({"PhotometricInterpretation": None}, "PhotometricInterpretation missing"),
        ({"RescaleSlope": "0", "RescaleIntercept": "0"}, "RescaleSlope 0.0"),
        ({"RescaleSlope": "nan", "RescaleIntercept": "0"}, "RescaleSlope nan"),
        ({"RescaleSlope": "1,5", "RescaleIntercept": "0"}, "RescaleSlope is not a number"),
    ],
    ids=str,
)
def test_elements_that_contradict_each_other_are_refused_in_words(datasets, archived, elements, words):
    for data in datasets:
        for name, value in elements.items():
            if value is None:
                del data[name]
            elif name.startswith("Rescale"):
                data.add_new(name, "LO", value)  # pydicom writes no such DS
            else:
                setattr(data, name, value)
    message = refused(archived(datasets))
    assert "none of 9 DICOM files holds a readable image" in message
    assert words in message
    assert message.endswith("(9 files)")


@pytest.mark.parametrize("name", ["FloatPixelData", "DoubleFloatPixelData"])
def test_pixels_in_floating_point_are_refused_in_words(datasets, archived, name):
    for data in datasets:
        data.add_new(name, "OF" if name == "FloatPixelData" else "OD", values_of(data).astype("<f8").tobytes())
        del data.PixelData
    assert "pixels in floating point" in refused(archived(datasets))


def test_a_lookup_table_instead_of_a_slope_is_refused_in_words(datasets, archived):
    for data in datasets:
        table = Dataset()
        table.LUTDescriptor, table.ModalityLUTType, table.LUTData = [2, 0, 16], "US", [0, 7]
        table["LUTDescriptor"].VR = table["LUTData"].VR = "US"
        data.ModalityLUTSequence = Sequence([table])
    assert "ModalityLUTSequence" in refused(archived(datasets))


def test_why_files_are_unreadable_is_counted(small, datasets, archived):
    extra = [copy.deepcopy(datasets[0]) for _ in range(3)]
    for number, data in enumerate(extra):
        data.SOPInstanceUID = f"1.9.{number}"
        data.PhotometricInterpretation, data.SamplesPerPixel = "RGB", 3
    del extra[2].PixelData
    cine = read_cine_source(archived([*datasets, *extra], {"notes.dcm": b"words"}), 0.1)
    np.testing.assert_array_equal(cine.frames, small.frames)
    assert cine.repairs[0] == "4 unreadable files left out"
    assert "PhotometricInterpretation RGB" in cine.repairs[1]
    assert cine.repairs[1].endswith("(2 files)")
    assert sorted(cine.repairs[2:]) == [
        "left out: an image without PixelData: fetch the file again (1 files)",
        "left out: not a DICOM file, despite its name (1 files)",
    ]


# Slopes and depths


def test_every_slice_has_a_slope_of_its_own(small, datasets, archived):
    for data in datasets:
        slope = 1 + slice_of(data)
        store(data, values_of(data) * 12 // slope, bits=16)
        data.RescaleSlope, data.RescaleIntercept = str(slope), "-5"
    frames = read_cine_source(archived(datasets), 0.1).frames
    np.testing.assert_array_equal(frames, 12 * small.frames - 5)


def test_frames_of_an_enhanced_file_have_slopes_of_their_own_or_one_for_all(small, datasets, archived):
    for number, data in enumerate(datasets):
        store(data, values_of(data) * 6 // (2 if number == 4 else 3), bits=16)
    whole = enhanced(datasets)
    for holder, slope in (
        (whole.SharedFunctionalGroupsSequence[0], "3"),
        (whole.PerFrameFunctionalGroupsSequence[4], "2"),
    ):
        item = Dataset()
        item.RescaleSlope, item.RescaleIntercept, item.RescaleType = slope, "-9", "US"
        holder.PixelValueTransformationSequence = Sequence([item])
    np.testing.assert_array_equal(read_cine_source(archived([whole]), 0.1).frames, 6 * small.frames - 9)


def test_a_slope_beside_the_functional_groups_counts(small, datasets, archived):
    whole = enhanced(datasets)
    whole.RescaleSlope, whole.RescaleIntercept = "2", "-9"
    np.testing.assert_array_equal(read_cine_source(archived([whole]), 0.1).frames, 2 * small.frames - 9)


def test_a_single_frame_with_groups_and_a_position_of_its_own_keeps_the_slope_of_its_groups(small, datasets, archived):
    files = []
    for data in datasets:
        lone = enhanced([data])
        lone.ImagePositionPatient = data.ImagePositionPatient
        item = Dataset()
        item.RescaleSlope, item.RescaleIntercept, item.RescaleType = "2", "-9", "US"
        lone.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence = Sequence([item])
        files.append(lone)
    np.testing.assert_array_equal(read_cine_source(archived(files), 0.1).frames, 2 * small.frames - 9)


def test_slices_of_other_depths_and_signedness_keep_their_values(small, datasets, archived):
    expected = small.frames % 127
    for data in datasets:
        bits, signed = ((8, False), (13, True), (32, False))[slice_of(data)]
        store(data, values_of(data) % 127, bits=bits, signed=signed)
    np.testing.assert_array_equal(read_cine_source(archived(datasets), 0.1).frames, expected)


def test_what_only_concerns_display_is_not_applied(small, datasets, archived):
    for data in datasets:
        data.WindowCenter, data.WindowWidth = "100", "20"
        for name, value in (("SmallestImagePixelValue", 500), ("LargestImagePixelValue", 501)):
            data.add_new(name, "US", value)
        table = Dataset()
        for name, value in (("LUTDescriptor", [2, 0, 16]), ("LUTData", [7, 0])):
            table.add_new(name, "US", value)
        data.VOILUTSequence = Sequence([table])
    cine = read_cine_source(archived(datasets), 0.1)
    np.testing.assert_array_equal(cine.frames, small.frames)
    assert cine.repairs == ()


# Black and white


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("form", ["ordinary", "coded", "enhanced"])
def test_an_image_whose_high_values_are_black_is_inverted(small, datasets, archived, signed, form):
    for data in datasets:
        values = values_of(data)
        store(data, -1 - (values - 700) if signed else 4095 - values, signed=signed)
        data.PhotometricInterpretation = "MONOCHROME1"
    syntax, encode = next(iter(LOSSLESS.items()))
    files = {"ordinary": lambda: datasets, "coded": lambda: [compressed(data, syntax, encode) for data in datasets],
             "enhanced": lambda: [enhanced(datasets)]}[form]()  # fmt: skip
    cine = read_cine_source(archived(files), 0.1)
    np.testing.assert_array_equal(cine.frames, small.frames - 700 * signed)
    assert cine.repairs[-1].startswith("9 of 9 images inverted (MONOCHROME1")


def test_only_slices_whose_high_values_are_black_are_inverted(small, datasets, archived):
    for data in datasets[:FRAMES]:
        store(data, 4095 - values_of(data))
        data.PhotometricInterpretation = "MONOCHROME1"
    cine = read_cine_source(archived(datasets), 0.1)
    np.testing.assert_array_equal(cine.frames, small.frames)
    assert cine.repairs[-1].startswith("3 of 9 images inverted")


def test_inversion_costs_no_precision_where_sixteen_bits_are_stored_and_few_are_used(small, datasets, archived):
    for data in datasets:
        store(data, values_of(data) + 3, bits=16)
        data.PhotometricInterpretation = "MONOCHROME1"
    cine = read_cine_source(archived(datasets), 0.1)
    np.testing.assert_array_equal(cine.frames, small.frames.max() + 3 - small.frames)
    assert len(cine.repairs) == 1


def test_inverted_slices_stay_comparable_whatever_their_slopes_and_depths(small, datasets, archived):
    """Rescaled values are in one unit, so that an inverted image is one constant less them."""
    for data in datasets:
        slope, bits = ((1, 12), (2, 12), (1, 14))[slice_of(data)]
        store(data, (3000 - 2 * values_of(data)) // slope, bits=bits)
        data.RescaleSlope, data.RescaleIntercept = str(slope), "0"
        data.PhotometricInterpretation = "MONOCHROME1"
    frames = read_cine_source(archived(datasets), 0.1).frames.astype(int)
    np.testing.assert_array_equal(frames - frames.min(), 2 * (small.frames - small.frames.min()).astype(int))


# Padding


PADDINGS = {  # stored value, bits, signed, value of the element
    "signed": (-2000, 12, True, -2000),
    "signed, as an unsigned word": (-2000, 12, True, 63536),
    "signed, as an unsigned number of 12 bits": (-2000, 12, True, 2096),
    "signed 16 bits": (-32768, 16, True, -32768),
    "unsigned": (4095, 12, False, 4095),
    "unsigned, as a signed word": (63536, 16, False, -2000),
    "8 bits": (255, 8, False, 255),
    "8 bits signed": (-128, 8, True, -128),
    "8 bits signed, as an unsigned number": (-128, 8, True, 128),
}


@pytest.mark.parametrize("padding", PADDINGS.values(), ids=PADDINGS)
@pytest.mark.parametrize("syntax", UNCOMPRESSED, ids=lambda syntax: syntax.keyword)
def test_padding_takes_the_least_value_of_the_rest(small, datasets, archived, padding, syntax):
    value, bits, signed, element = padding
    truth = 20 + small.frames.astype(int) % 97
    padded = np.zeros(truth.shape, bool)
    padded[..., :3, :], padded[1, 1, 5:7, 4] = True, True
    for data, image, where in zip(datasets, per_file(truth), per_file(padded)):
        store(data, np.where(where, value, image), bits=bits, signed=signed)
        set_padding(data, element)
        data.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian and bits > 8:
            data.PixelData = np.frombuffer(data.PixelData, "<u2").astype(">u2").tobytes()
    cine = read_cine_source(archived(datasets), 0.1)
    np.testing.assert_array_equal(cine.frames, np.where(padded, truth[~padded].min(), truth))
    share, least = f"{padded.mean():.2%}", truth[~padded].min()
    said = f"{share} of all pixels are padding (PixelPaddingValue): set to {least}, the least value of the others"
    assert cine.repairs == (said,)


def per_file(stack: np.ndarray) -> np.ndarray:
    """[T, Z, Y, X] in the order of the datasets: frame by frame within slice by slice."""
    return stack.swapaxes(0, 1).reshape(-1, *stack.shape[2:])


@pytest.mark.parametrize("form", ["ordinary", "run length", "enhanced"])
def test_padding_beyond_what_the_stored_bits_hold_is_found_in_the_words(small, datasets, archived, form):
    """-2000 as the scanner's software writes it into an image of unsigned 12 bits, which alone would read as 2096."""
    for data in datasets:
        words = values_of(data)
        words[:3] = 63536
        data.PixelData = words.astype("<u2").tobytes()
        set_padding(data, -2000)
    files = {"ordinary": lambda: datasets, "run length": lambda: [run_length(data) for data in datasets],
             "enhanced": lambda: [enhanced(datasets)]}[form]()  # fmt: skip
    cine = read_cine_source(archived(files), 0.1)
    expected = small.frames.copy()
    expected[..., :3, :] = small.frames[..., 3:, :].min()
    np.testing.assert_array_equal(cine.frames, expected)
    assert len(cine.repairs) == 1


@pytest.mark.parametrize("limit", [-1500, 64036])
def test_a_range_of_padding_is_filled(small, datasets, archived, limit):
    for number, data in enumerate(datasets):
        values = values_of(data)
        values[:2], values[2, :4] = -2000 + number, -1500
        store(data, values, signed=True)
        set_padding(data, limit)
        set_padding(data, -2000, "PixelPaddingRangeLimit")
    frames = read_cine_source(archived(datasets), 0.1).frames
    expected = small.frames.copy()
    padded = np.zeros(expected.shape, bool)
    padded[..., :2, :], padded[..., 2, :4] = True, True
    np.testing.assert_array_equal(frames, np.where(padded, expected[~padded].min(), expected))


def test_every_slice_has_padding_slope_and_polarity_of_its_own(small, datasets, archived):
    padded = np.zeros(small.frames.shape, bool)
    padded[..., -4:, :] = True
    truth = 4 * small.frames.astype(int) + 8
    for data, image, where in zip(datasets, per_file(truth), per_file(padded)):
        if slice_of(data) == 0:  # padding is white where high values are black
            store(data, np.where(where, 4095, 4095 - image), bits=12)
            data.PhotometricInterpretation = "MONOCHROME1"
            set_padding(data, 4095)
        elif slice_of(data) == 1:
            store(data, np.where(where, -900, image // 4), signed=True)
            data.RescaleSlope, data.RescaleIntercept = "4", "0"
            set_padding(data, -900)
        else:
            store(data, np.where(where, 0, image), bits=14)
            set_padding(data, 0)
    frames = read_cine_source(archived(datasets), 0.1).frames
    np.testing.assert_array_equal(frames, np.where(padded, truth[~padded].min(), truth))


def test_a_scan_of_nothing_but_padding_is_refused_in_words(datasets, archived):
    for data in datasets:
        set_padding(data, 0)
        set_padding(data, 4095, "PixelPaddingRangeLimit")
    assert "PixelPaddingValue marks every pixel" in refused(archived(datasets))


def test_a_slice_of_nothing_but_padding_is_said(small, datasets, archived):
    for data in datasets:
        values = values_of(data) + 9
        store(data, 0 * values if slice_of(data) == 2 else values)
        set_padding(data, 0)
    cine = read_cine_source(archived(datasets), 0.1)
    np.testing.assert_array_equal(cine.frames[:, :2], small.frames[:, :2] + 9)
    assert (cine.frames[:, 2] == 9).all()
    assert cine.repairs[0] == "slice 3 consists of padding only"


def test_padding_that_is_no_number_is_refused_in_words(datasets, archived):
    for data in datasets:
        data.add_new("PixelPaddingValue", "LO", "-2000")
    assert "PixelPaddingValue is not a whole number" in refused(archived(datasets))


def test_beyond_a_slice_of_another_matrix_lies_the_least_value(small, datasets, archived):
    for data in datasets:
        values = values_of(data) + 1500
        if slice_of(data) == 1:
            values = values[:, :-4]
            data.Columns -= 4
        store(data, values)
    frames = read_cine_source(archived(datasets), 0.1).frames
    expected = small.frames + 1500
    expected[:, 1, :, -4:] = 1500
    np.testing.assert_array_equal(frames, expected)


# Files without a preamble


@pytest.mark.parametrize("syntax", UNCOMPRESSED, ids=lambda syntax: syntax.keyword)
@pytest.mark.parametrize("suffix", ["", ".dcm"])
def test_files_without_a_preamble_are_read_by_their_first_element(small, datasets, archived, syntax, suffix):
    files = {}
    for number, data in enumerate(datasets):
        if syntax == ExplicitVRBigEndian:
            data.PixelData = np.frombuffer(data.PixelData, "<u2").astype(">u2").tobytes()
        files[f"{number:02d}{suffix}"] = bare(data, syntax)
    cine = read_cine_source(archived([], files | {"README": b"Words, not images.", "empty": b""}), 0.1)
    np.testing.assert_array_equal(cine.frames, small.frames)
    assert cine.repairs == ()


def test_a_file_without_a_preamble_may_name_its_transfer_syntax(kit, small, datasets, archived):
    syntax, encode = next(iter(LOSSLESS.items()))
    files = {f"{number}": kit.encode(compressed(data, syntax, encode))[132:] for number, data in enumerate(datasets)}
    np.testing.assert_array_equal(read_cine_source(archived([], files), 0.1).frames, small.frames)
