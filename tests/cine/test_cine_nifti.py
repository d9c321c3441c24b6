import gzip
import math

import nibabel as nib
import numpy as np
import pytest

from cof.cine.reader import read_cine_source
from cof.errors import CofError, Reason


def saved(path, frames, affine, duration=0.09, unit="sec"):
    image = nib.Nifti1Image(np.ascontiguousarray(frames.transpose(3, 2, 1, 0)), affine)
    image.header.set_xyzt_units("mm", unit)
    image.header.set_zooms((*image.header.get_zooms()[:3], duration))
    nib.save(image, path)
    return path


def refused(path) -> Reason:
    with pytest.raises(CofError) as caught:
        read_cine_source(path, 0.1)
    return caught.value.reason


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_cine_comes_back_exactly(scan, tmp_path, name):
    cine = read_cine_source(saved(tmp_path / name, scan.frames, scan.affine), 0.1)
    np.testing.assert_array_equal(cine.frames, scan.frames)
    np.testing.assert_allclose(cine.affine, scan.affine, atol=1e-4)
    assert cine.rr_ms == pytest.approx(900, abs=0.01)
    assert cine.repairs == ()


def test_dicom_and_nifti_of_one_scan_are_the_same_cine(kit, scan, archived, tmp_path):
    one = read_cine_source(archived(kit.images(scan)), 0.1)
    other = read_cine_source(saved(tmp_path / "a.nii.gz", scan.frames, scan.affine), 0.1)
    np.testing.assert_array_equal(one.frames, other.frames)
    np.testing.assert_allclose(one.affine, other.affine, atol=1e-4)


def test_slices_from_apex_to_base_are_reversed_and_stay_where_they_are(scan, tmp_path):
    affine = scan.affine.copy()
    affine[:3, 3] += affine[:3, 2] * (scan.frames.shape[1] - 1)
    affine[:3, 2] *= -1
    cine = read_cine_source(saved(tmp_path / "a.nii", scan.frames[:, ::-1], affine), 0.1)
    np.testing.assert_array_equal(cine.frames, scan.frames)
    np.testing.assert_allclose(cine.affine, scan.affine, atol=1e-4)
    assert cine.repairs == ("slices reversed to run from base to apex",)


def test_a_direction_across_the_heart_is_doubted(scan, tmp_path):
    affine = np.diag([1.8, 1.8, 10.0, 1.0])
    affine[:3, :3] = np.array([[0, 0.71, 0.70], [0, 0.71, -0.70], [1, 0, 0]]) @ np.diag([1.8, 1.8, 10.0])
    affine[:3, 2] = [7.1, 7.1, 0]
    affine[:3, 1] = [0.0, 0.0, 1.8]
    affine[:3, 0] = [1.28, -1.28, 0]
    assert "weak evidence" in read_cine_source(saved(tmp_path / "a.nii", scan.frames, affine), 0.1).repairs[0]


def test_without_orientation_the_order_is_kept_and_said(scan, tmp_path):
    path = saved(tmp_path / "a.nii", scan.frames, np.diag([1.7, 1.9, -10.0, 1.0]))
    image = nib.load(path)
    image.header["sform_code"] = image.header["qform_code"] = 0
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), None, image.header), tmp_path / "b.nii")
    cine = read_cine_source(tmp_path / "b.nii", 0.1)
    np.testing.assert_array_equal(cine.frames, scan.frames)
    assert "no orientation" in cine.repairs[0]


@pytest.mark.parametrize(
    ("duration", "unit", "rr_ms"),
    [(0.09, "sec", 900), (90, "msec", 900), (90_000, "usec", 900), (0.09, "unknown", 900), (90, "unknown", 900)],
)
def test_the_rr_interval_is_that_of_the_header(scan, tmp_path, duration, unit, rr_ms):
    cine = read_cine_source(saved(tmp_path / "a.nii", scan.frames, scan.affine, duration, unit), 0.1)
    assert cine.rr_ms == pytest.approx(rr_ms, abs=0.01)
    assert cine.frame_times_ms[1] == pytest.approx(rr_ms / 10, abs=0.01)


@pytest.mark.parametrize("duration", [1.0, 0.0])
def test_an_implausible_rr_interval_is_replaced_and_said(scan, tmp_path, duration):
    cine = read_cine_source(saved(tmp_path / "a.nii", scan.frames, scan.affine, duration), 0.1)
    assert cine.rr_ms == 1000
    assert "RR interval assumed to be 1000 ms" in cine.repairs[0]


def test_one_frame_is_an_anchor_without_rr(scan, tmp_path):
    nib.save(nib.Nifti1Image(scan.frames[0].transpose(2, 1, 0), scan.affine), tmp_path / "a.nii")
    cine = read_cine_source(tmp_path / "a.nii", 0.1)
    np.testing.assert_array_equal(cine.frames, scan.frames[:1])
    assert math.isnan(cine.rr_ms)
    assert cine.repairs == ()


def test_fractional_intensities_are_stretched(scan, tmp_path):
    values = (scan.frames / scan.frames.max()).astype(np.float32)
    cine = read_cine_source(saved(tmp_path / "a.nii", values, scan.affine), 0.1)
    np.testing.assert_allclose(cine.frames, values * 30_000, atol=0.51)
    assert "multiplied by 30000" in cine.repairs[-1]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused(scan, tmp_path, value):
    values = scan.frames.astype(np.float32)
    values[3, 2, 1, 0] = value
    assert refused(saved(tmp_path / "a.nii", values, scan.affine)) is Reason.CINE_NOT_FINITE


def test_a_constant_image_is_refused(scan, tmp_path):
    assert refused(saved(tmp_path / "a.nii", np.ones_like(scan.frames), scan.affine)) is Reason.CINE_NOT_FINITE


def test_impossible_spacing_is_refused(scan, tmp_path):
    path = saved(tmp_path / "a.nii", scan.frames, np.diag([100.0, 100.0, 10.0, 1.0]))
    assert refused(path) is Reason.CINE_GEOMETRY


def test_broken_files_are_refused(scan, tmp_path):
    whole = saved(tmp_path / "a.nii.gz", scan.frames, scan.affine).read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "cut.nii").write_bytes(gzip.decompress(whole)[:2000])
    (tmp_path / "words.nii").write_text("no image")
    (tmp_path / "empty.nii.gz").write_bytes(b"")
    for name in ("cut.nii.gz", "cut.nii", "words.nii", "empty.nii.gz"):
        assert refused(tmp_path / name) is Reason.CINE_UNREADABLE, name
    assert refused(tmp_path / "none.nii") is Reason.CINE_MISSING


def test_other_numbers_of_axes_and_colours_are_refused(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((4, 4), np.int16), np.eye(4)), tmp_path / "two.nii")
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4, 2, 3), np.int16), np.eye(4)), tmp_path / "five.nii")
    colours = np.zeros((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(colours, np.eye(4)), tmp_path / "colour.nii")
    for name in ("two.nii", "five.nii", "colour.nii"):
        assert refused(tmp_path / name) is Reason.CINE_UNREADABLE, name


def test_a_header_that_promises_too_much_is_refused_unread(tmp_path):
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape((30_000, 30_000, 100, 100))
    (tmp_path / "bomb.nii").write_bytes(header.binaryblock + bytes(10_000))
    assert refused(tmp_path / "bomb.nii") is Reason.CINE_UNREADABLE


def test_a_gzip_bomb_before_the_voxels_is_refused_unread(tmp_path, monkeypatch):
    header = nib.Nifti1Header()
    header.set_data_shape((4, 4, 4, 2))
    header["vox_offset"] = 2**30
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(header.binaryblock + bytes(2**22)))
    monkeypatch.setattr(nib, "load", lambda *_: pytest.fail("loaded"))
    assert refused(tmp_path / "a.nii.gz") is Reason.CINE_UNREADABLE


def test_a_header_that_lies_about_the_size_is_refused(scan, tmp_path):
    content = bytearray(saved(tmp_path / "a.nii", scan.frames, scan.affine).read_bytes())
    content[48:50] = (4000).to_bytes(2, "little")  # frames
    (tmp_path / "a.nii").write_bytes(content)
    assert refused(tmp_path / "a.nii") is Reason.CINE_UNREADABLE


def stored(path, values, affine, header=None, duration=0.09):
    """A NIfTI of values [x, y, z, ...] whose header fields are then overwritten, as no careful program would."""
    image = nib.Nifti1Image(np.ascontiguousarray(values), affine)
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = duration
    nib.save(image, path)
    content = path.read_bytes()
    made = nib.Nifti1Header(content[:348], check=False)
    for name, value in (header or {}).items():
        made[name] = value
    path.write_bytes(made.binaryblock + content[348:])
    return path


@pytest.fixture
def voxels(scan):
    """The scan as a NIfTI stores it: x, y, z, t."""
    return scan.frames.transpose(3, 2, 1, 0)


def test_a_unit_sform_beside_real_pixdim_is_read_in_stored_order(scan, voxels, tmp_path):
    path = stored(tmp_path / "a.nii", voxels, np.diag([-1, -1, 1, 1]), {"pixdim": [1, 1.64, 1.64, 10, 1, 1, 1, 1]}, 1)
    cine = read_cine_source(path, 0.1)
    np.testing.assert_array_equal(cine.frames, scan.frames)
    assert cine.spacing_mm == pytest.approx((10, 1.64, 1.64))
    assert not cine.oriented
    said = " ".join(cine.repairs)
    assert "pixdim is used, spacing 1.64 x 1.64 x 10 mm" in said
    assert "no orientation in the header" in said
    assert "RR interval assumed to be 1000 ms" in said


def test_axes_of_the_scanner_are_no_orientation(scan, voxels, tmp_path):
    """A direction that would mean apex to base if it meant anything."""
    cine = read_cine_source(stored(tmp_path / "a.nii", voxels, np.diag([1.7, 1.9, 10, 1])), 0.1)
    np.testing.assert_array_equal(cine.frames, scan.frames)
    assert not cine.oriented


@pytest.mark.parametrize("axes", [(0, 2, 1), (2, 0, 1)])
def test_slices_along_another_axis_are_found_by_the_spacing(scan, voxels, tmp_path, axes):
    affine = scan.affine[:, [*axes, 3]]
    cine = read_cine_source(stored(tmp_path / "a.nii", voxels.transpose(*axes, 3), affine), 0.1)
    np.testing.assert_array_equal(cine.frames, scan.frames)
    np.testing.assert_allclose(cine.affine, scan.affine, atol=1e-4)
    assert "axes reordered" in cine.repairs[0]


@pytest.mark.parametrize("shape", ["xyz1t", "xyzt1", "xyzt11"])
def test_axes_of_one_element_are_passed_over(scan, voxels, tmp_path, shape):
    values = voxels[:, :, :, None] if shape == "xyz1t" else voxels.reshape(*voxels.shape, *[1] * (len(shape) - 4))
    place = 5 if shape == "xyz1t" else 4
    pixdim = [1, 1.7, 1.9, 10, 1, 1, 1, 1]
    pixdim[place] = 0.09
    cine = read_cine_source(stored(tmp_path / "a.nii", values, scan.affine, {"pixdim": pixdim}), 0.1)
    np.testing.assert_array_equal(cine.frames, scan.frames)
    assert cine.rr_ms == pytest.approx(900, abs=0.01)
    assert cine.repairs == ()


def test_two_axes_of_frames_are_refused(voxels, scan, tmp_path):
    five = voxels.reshape(*voxels.shape[:3], 5, 2)
    assert refused(stored(tmp_path / "a.nii", five, scan.affine)) is Reason.CINE_UNREADABLE


def beating(frames=12, slices=7):
    """A disc that shrinks and grows again over the cycle, and tapers from base to apex: [x, y, z, t]."""
    x, y, z, t = np.meshgrid(range(40), range(40), range(slices), range(frames), indexing="ij")
    radius = (14 - z) * (1 - 0.3 * np.sin(np.pi * t / frames) ** 2)
    return (100 + 800 * np.clip(radius - np.hypot(x - 20, y - 20), 0, 1)).astype(np.int16)


def test_blank_slices_at_both_ends_of_half_a_cycle_are_no_exchange(scan, tmp_path):
    heart = beating()[..., :7]
    heart[:, :, [0, -1]] = 0
    assert read_cine_source(stored(tmp_path / "a.nii", heart, scan.affine), 0.1).frames.shape[:2] == (7, 7)


def test_frames_in_place_of_slices_are_refused(scan, tmp_path):
    heart = beating()
    assert read_cine_source(stored(tmp_path / "a.nii", heart, scan.affine), 0.1).frames.shape[:2] == (12, 7)
    path = stored(tmp_path / "b.nii", heart.transpose(0, 1, 3, 2), scan.affine)
    with pytest.raises(CofError, match="exchanged"):
        read_cine_source(path, 0.1)
    with pytest.raises(CofError, match="30 slices extend over"):
        read_cine_source(stored(tmp_path / "c.nii", beating(30).transpose(0, 1, 3, 2), scan.affine), 0.1)


@pytest.mark.parametrize(
    ("duration", "unit", "rr_ms", "said"),
    [
        (90, "sec", 900, "cannot be in that unit"),
        (0.09, "msec", 900, "cannot be in that unit"),
        (0.9, "sec", 900, "is not plausible"),
        (900, "msec", 900, "is not plausible"),
        (850, "unknown", 850, "is not plausible"),
        (-0.09, "sec", 900, "cannot be in that unit"),
        (np.nan, "sec", 1000, "no plausible"),
        (17, "hz", 1000, "no plausible"),
    ],
)
def test_a_duration_that_is_none_is_mended_and_said(scan, voxels, tmp_path, duration, unit, rr_ms, said):
    path = stored(tmp_path / "a.nii", voxels, scan.affine)
    image = nib.Nifti1Header(path.read_bytes()[:348])
    image.set_xyzt_units("mm", unit)
    fields = {"xyzt_units": image["xyzt_units"], "pixdim": [1, 1.7, 1.9, 10, duration, 1, 1, 1]}
    cine = read_cine_source(stored(path, voxels, scan.affine, fields), 0.1)
    assert cine.rr_ms == pytest.approx(rr_ms, abs=0.01)
    assert len(cine.repairs) == 1
    assert said in cine.repairs[0]


@pytest.mark.parametrize("slope", [np.nan, 0.0, np.inf, 1.0])
def test_a_scaling_that_is_none_leaves_the_intensities(scan, voxels, tmp_path, slope):
    cine = read_cine_source(stored(tmp_path / "a.nii", voxels, scan.affine, {"scl_slope": slope}), 0.1)
    np.testing.assert_array_equal(cine.frames, scan.frames)


def test_a_scaling_is_applied_and_half_of_one_is_refused(scan, voxels, tmp_path):
    path = stored(tmp_path / "a.nii", voxels, scan.affine, {"scl_slope": 2.0, "scl_inter": -5.0})
    np.testing.assert_array_equal(read_cine_source(path, 0.1).frames, 2 * scan.frames - 5)
    path = stored(tmp_path / "a.nii", voxels, scan.affine, {"scl_slope": 2.0, "scl_inter": np.nan})
    with pytest.raises(CofError, match="invalid intercept"):
        read_cine_source(path, 0.1)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.NII.GZ", "a", "a.zip", "a.img.nii"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_content_tells_a_nifti_and_its_compression_whatever_the_name(scan, voxels, tmp_path, name, packed, kind):
    content = kind(voxels, scan.affine).to_bytes()
    (tmp_path / name).write_bytes(gzip.compress(content) if packed else content)
    np.testing.assert_array_equal(read_cine_source(tmp_path / name, 0.1).frames, scan.frames)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_either_file_of_a_pair_will_do(scan, voxels, tmp_path, suffix):
    nib.save(nib.Nifti1Pair(voxels, scan.affine), tmp_path / f"a.img{suffix}")
    for end in ("img", "hdr"):
        np.testing.assert_array_equal(read_cine_source(tmp_path / f"a.{end}{suffix}", 0.1).frames, scan.frames)
    (tmp_path / f"a.hdr{suffix}").rename(tmp_path / f"b.hdr{suffix}")
    with pytest.raises(CofError, match=r"without its header \(\.hdr\)"):
        read_cine_source(tmp_path / f"a.img{suffix}", 0.1)
    (tmp_path / f"b.hdr{suffix}").rename(tmp_path / f"a.hdr{suffix}")
    (tmp_path / f"a.img{suffix}").unlink()
    with pytest.raises(CofError, match=r"\(\.img\) is missing"):
        read_cine_source(tmp_path / f"a.hdr{suffix}", 0.1)


def test_analyze_is_refused_by_name(voxels, tmp_path):
    nib.save(nib.AnalyzeImage(voxels, None), tmp_path / "a.img")
    with pytest.raises(CofError, match=r"Analyze 7\.5"):
        read_cine_source(tmp_path / "a.hdr", 0.1)


def test_either_order_of_bytes_is_read(scan, voxels, tmp_path):
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    image = nib.Nifti1Image(voxels.astype(">i2"), scan.affine, header)
    (tmp_path / "a.nii").write_bytes(image.to_bytes())
    np.testing.assert_array_equal(read_cine_source(tmp_path / "a.nii", 0.1).frames, scan.frames)


def test_a_compressed_file_whose_checksum_differs_is_damaged(tmp_path):
    path = tmp_path / "cine.nii.gz"
    voxels = np.arange(4 * 4 * 3 * 2, dtype=np.int16).reshape(4, 4, 3, 2)
    nib.Nifti1Image(voxels, np.diag([1.5, 1.5, 10, 1])).to_filename(path)
    content = bytearray(path.read_bytes())
    content[-6] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(CofError, match="damaged"):
        read_cine_source(path, 0.1)
