"""Every transfer syntax by a round trip, and many frames in one file."""

import random
import subprocess
import sys

import numpy as np
import pytest
from coded import LOSSLESS, LOSSY, UNCOMPRESSED, compressed, eight_bit, enhanced, run_length
from pydicom.uid import ExplicitVRBigEndian, JPEGLosslessSV1

from cof.cine import pixels
from cof.cine.reader import read_cine_source
from cof.errors import CofError, Reason


@pytest.fixture
def small(kit):
    return kit.scan(slices=3, frames=3)


@pytest.fixture
def datasets(kit, small):
    datasets = kit.images(small)
    for data in datasets:
        kit.encode(data)
    return datasets


def name(value):
    return getattr(value, "keyword", None) or getattr(value, "name", None)


@pytest.mark.parametrize("syntax", UNCOMPRESSED, ids=name)
def test_uncompressed_images_come_back_exactly(small, datasets, archived, syntax):
    for data in datasets:
        data.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            data.PixelData = np.frombuffer(data.PixelData, "<u2").astype(">u2").tobytes()
            data["PixelData"].VR = "OW"
    np.testing.assert_array_equal(read_cine_source(archived(datasets), 0.1).frames, small.frames)


@pytest.mark.parametrize("syntax", LOSSLESS, ids=name)
def test_losslessly_compressed_images_come_back_exactly(small, datasets, archived, syntax):
    coded = [compressed(data, syntax, LOSSLESS[syntax]) for data in datasets]
    np.testing.assert_array_equal(read_cine_source(archived(coded), 0.1).frames, small.frames)


def test_run_length_coded_images_come_back_exactly(small, datasets, archived):
    coded = [run_length(data) for data in datasets]
    np.testing.assert_array_equal(read_cine_source(archived(coded), 0.1).frames, small.frames)


@pytest.mark.parametrize("syntax", LOSSY, ids=name)
def test_lossily_compressed_images_come_back_nearly(small, datasets, archived, syntax):
    error, encode = LOSSY[syntax]
    coded = [compressed(data, syntax, encode) for data in datasets]
    np.testing.assert_allclose(read_cine_source(archived(coded), 0.1).frames, small.frames, atol=error)


def test_baseline_jpeg_comes_back_nearly(small, datasets, archived):
    factor = 200 / small.frames.max()
    coded = [eight_bit(data, factor) for data in datasets]
    cine = read_cine_source(archived(coded), 0.1)
    stretched = float(cine.repairs[-1].split()[3]) if "multiplied" in cine.repairs[-1] else 1.0
    np.testing.assert_allclose(cine.frames / stretched, small.frames, atol=4 / factor)


def test_a_compressed_image_of_another_size_than_said_is_not_decoded(kit, datasets, archived, monkeypatch):
    syntax, encode = next(iter(LOSSLESS.items()))
    coded = [compressed(data, syntax, encode) for data in datasets]
    for data in coded:
        data.Rows -= 1
    monkeypatch.setattr(pixels, "_decode_apart", lambda data: pytest.fail("decoded"))
    with pytest.raises(CofError) as caught:
        read_cine_source(archived(coded), 0.1)
    assert caught.value.reason is Reason.CINE_UNREADABLE


def test_a_script_without_a_guard_reads_compressed_images_and_runs_once(small, datasets, archived, tmp_path):
    """A process spawned for the decoder would import the script, and so run it again."""
    syntax, encode = next(iter(LOSSLESS.items()))
    place = archived([compressed(data, syntax, encode) for data in datasets])
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nfrom cof.cine.reader import read_cine_source\n"
        "print(int(read_cine_source(Path(sys.argv[1]), 0.1).frames.sum(dtype=int)))\n"
    )
    done = subprocess.run([sys.executable, script, place], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(small.frames.sum(dtype=int))]


def test_an_enhanced_file_holds_the_whole_cine(kit, small, datasets, archived):
    random.Random(0).shuffle(datasets)
    cine = read_cine_source(archived([enhanced(datasets)]), 0.1)
    np.testing.assert_array_equal(cine.frames, small.frames)
    np.testing.assert_allclose(cine.affine, small.affine, atol=1e-4)
    assert cine.rr_ms == kit.rr_ms


def test_an_enhanced_file_needs_no_archive(kit, small, datasets, tmp_path):
    (tmp_path / "whole.dcm").write_bytes(kit.encode(enhanced(datasets)))
    np.testing.assert_array_equal(read_cine_source(tmp_path / "whole.dcm", 0.1).frames, small.frames)


def test_an_enhanced_file_of_one_frame_is_one_image(small, datasets, archived):
    cine = read_cine_source(archived([enhanced([data]) for data in datasets]), 0.1)
    np.testing.assert_array_equal(cine.frames, small.frames)


def test_an_enhanced_file_with_fewer_groups_than_frames_is_unreadable(datasets, archived):
    whole = enhanced(datasets)
    whole.PerFrameFunctionalGroupsSequence = whole.PerFrameFunctionalGroupsSequence[:-1]
    with pytest.raises(CofError) as caught:
        read_cine_source(archived([whole]), 0.1)
    assert caught.value.reason is Reason.CINE_UNREADABLE


def test_a_compressed_image_that_cannot_be_decoded_is_a_missing_frame(kit, small, datasets, archived):
    """The start of a lossless JPEG's scan names a Huffman table that there is not."""
    syntax, encode = JPEGLosslessSV1, LOSSLESS[JPEGLosslessSV1]

    def without_table(image):
        return encode(image).replace(b"\xff\xc4", b"\xff\xfe", 1)  # a comment

    coded = [compressed(data, syntax, encode) for data in datasets]
    coded[4] = compressed(datasets[4], syntax, without_table)
    cine = read_cine_source(archived(coded), 0.4)
    assert cine.repairs[0] == "1 unreadable files left out"
    np.testing.assert_array_equal(cine.frames[:, [0, 2]], small.frames[:, [0, 2]])
