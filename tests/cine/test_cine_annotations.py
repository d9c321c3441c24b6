import itertools
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from cof.cine.annotations import read_annotation, towards_apex
from cof.cine.volume import Cine
from cof.errors import CofError, Reason


@pytest.fixture(scope="module")
def cine(scan):
    return Cine(scan.frames, scan.affine, np.arange(len(scan.frames)) * 90.0, 900.0)


@pytest.fixture(scope="module")
def labels(scan):
    """Labels without any symmetry, in frames 0 and 4."""
    drawn = np.zeros(scan.frames.shape, np.uint8)
    drawn[0] = np.random.default_rng(0).integers(0, 4, drawn.shape[1:])
    drawn[4, 1, 2, 3] = 3
    return drawn


def saved(path, labels, affine, axes=(0, 1, 2), flips=(1, 1, 1)):
    """A NIfTI of the same labels at the same places, with its axes (x, y, z) permuted and flipped."""
    data = labels.transpose(3, 2, 1, 0)
    order = np.zeros((4, 4))
    order[3, 3] = 1
    for own, (axis, sign) in enumerate(zip(axes, flips)):
        order[axis, own] = sign
        order[axis, 3] = 0 if sign > 0 else data.shape[axis] - 1
    moved = data.transpose(*axes, 3)[tuple(slice(None, None, sign) for sign in flips)]
    nib.save(nib.Nifti1Image(np.ascontiguousarray(moved), affine @ order), path)
    return path


def refused(path, cine) -> Reason:
    with pytest.raises(CofError) as caught:
        read_annotation(path, cine)
    return caught.value.reason


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (1, -1, -1), (-1, -1, -1)])
def test_axes_may_come_in_any_order_and_direction(tmp_path, cine, labels, axes, flips):
    path = saved(tmp_path / "a.nii.gz", labels, cine.affine, axes, flips)
    np.testing.assert_array_equal(read_annotation(path, cine), labels)


def shifted(affine):
    moved = affine.copy()
    moved[:3, 3] += affine[:3, 0] * 0.6
    return moved


def coarser(affine):
    return affine @ np.diag([1.1, 1.0, 1.0, 1.0])


def turned(affine):
    turn = np.eye(4)
    turn[:2, :2] = [[0.98, -0.2], [0.2, 0.98]]
    return affine @ turn


@pytest.mark.parametrize("change", [shifted, coarser, turned])
def test_another_geometry_is_a_mismatch(tmp_path, cine, labels, change):
    path = saved(tmp_path / "a.nii", labels, change(cine.affine))
    assert refused(path, cine) is Reason.ANNOTATION_MISMATCH


def test_another_shape_is_a_mismatch(tmp_path, cine, labels):
    assert refused(saved(tmp_path / "a.nii", labels[:, :, :-1], cine.affine), cine) is Reason.ANNOTATION_MISMATCH
    assert refused(saved(tmp_path / "b.nii", labels[:-1], cine.affine), cine) is Reason.ANNOTATION_MISMATCH


def test_rounded_headers_still_match(tmp_path, cine, labels):
    path = saved(tmp_path / "a.nii", labels, np.round(cine.affine, 2))
    np.testing.assert_array_equal(read_annotation(path, cine), labels)


@pytest.mark.parametrize("value", [4, 255])
def test_other_values_are_unreadable(tmp_path, cine, labels, value):
    path = saved(tmp_path / "a.nii", np.where(labels == 3, value, labels).astype(np.uint8), cine.affine)
    assert refused(path, cine) is Reason.ANNOTATION_UNREADABLE


def test_fractions_nothing_and_no_file_are_unreadable(tmp_path, cine, labels):
    blurred = saved(tmp_path / "a.nii", labels.astype(np.float32) * 0.5, cine.affine)
    empty = saved(tmp_path / "b.nii", np.zeros_like(labels), cine.affine)
    for path in (blurred, empty, tmp_path / "none.nii"):
        assert refused(path, cine) is Reason.ANNOTATION_UNREADABLE


def message(path, cine) -> str:
    with pytest.raises(CofError) as caught:
        read_annotation(path, cine)
    return str(caught.value)


@pytest.mark.parametrize("slope", [1.0000153, 0.9999, 0.0039215688])
def test_labels_come_back_from_a_scaling(tmp_path, cine, labels, slope):
    codes = np.rint(labels / slope).astype(np.int16)
    image = nib.Nifti1Image(codes.transpose(3, 2, 1, 0), cine.affine)
    image.header.set_slope_inter(slope, 0)
    (tmp_path / "a.nii").write_bytes(image.to_bytes())
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[112:120] = np.array([slope, 0], "<f4").tobytes()  # nibabel would write none
    (tmp_path / "a.nii").write_bytes(content)
    assert not np.issubdtype(nib.load(tmp_path / "a.nii").get_fdata().dtype, np.integer)
    np.testing.assert_array_equal(read_annotation(tmp_path / "a.nii", cine), labels)


@pytest.mark.parametrize(("error", "kept"), [(0.0, True), (9e-4, True), (-9e-4, True), (2e-3, False), (0.4, False)])
def test_labels_stored_as_fractions_are_rounded_within_a_thousandth(tmp_path, cine, labels, error, kept):
    path = saved(tmp_path / "a.nii", labels.astype(np.float32) + np.float32(error) * (labels > 0), cine.affine)
    if kept:
        np.testing.assert_array_equal(read_annotation(path, cine), labels)
    else:
        assert "labels are whole numbers" in message(path, cine)


def test_a_label_that_is_no_number_is_refused(tmp_path, cine, labels):
    values = labels.astype(np.float32)
    values[0, 0, 0, 0] = np.nan
    assert "a label of nan" in message(saved(tmp_path / "a.nii", values, cine.affine), cine)


def test_other_values_are_named(tmp_path, cine, labels):
    assert "such as 85, 170, 255" in message(saved(tmp_path / "a.nii", labels * 85, cine.affine), cine)


@pytest.mark.parametrize("form", ["qform", "metres", "another unit", "unit vectors"])
def test_headers_that_mean_the_same_voxels_match(tmp_path, cine, labels, form):
    image = nib.Nifti1Image(labels.transpose(3, 2, 1, 0), cine.affine)
    header = image.header
    if form == "qform":
        image.set_sform(None, 0)
        image.set_qform(cine.affine, 1)
    elif form == "unit vectors":
        affine = cine.affine.copy()
        affine[:3, :3] /= np.linalg.norm(affine[:3, :3], axis=0)
        image.set_sform(affine, 2)
        header["pixdim"][1:4] = cine.spacing_mm[::-1]
    else:
        factor = {"metres": 1e-3, "another unit": 1e3}[form]
        image.set_sform(np.diag([factor] * 3 + [1]) @ cine.affine, 1)
        header.set_xyzt_units("meter" if form == "metres" else "mm")
    (tmp_path / "a.nii").write_bytes(image.to_bytes())
    np.testing.assert_array_equal(read_annotation(tmp_path / "a.nii", cine), labels)


@pytest.fixture(scope="module")
def unplaced(cine):
    """The cine of a file whose header tells nothing but spacing."""
    return replace(cine, affine=np.diag([-1.7, -1.9, 10.0, 1.0]), oriented=False)


@pytest.mark.parametrize("affine", [np.diag([-1.0, -1, 1, 1]), np.diag([-1.7, -1.9, 10, 1])])
def test_without_any_place_equal_matrices_are_the_same_voxels(tmp_path, unplaced, labels, affine):
    moved = affine.copy()
    moved[:3, 3] = 5, 6, 7
    np.testing.assert_array_equal(read_annotation(saved(tmp_path / "a.nii", labels, moved), unplaced), labels)


@pytest.mark.parametrize(
    "affine", [np.diag([1.0, -1, 1, 1]), np.diag([-1.7, -1.9, 8, 1]), np.diag([-1.5, -1.9, 10, 1])]
)
def test_without_any_place_another_spacing_or_direction_is_a_mismatch(tmp_path, unplaced, labels, affine):
    affine[:3, 3] = 5, 6, 7
    assert refused(saved(tmp_path / "a.nii", labels, affine), unplaced) is Reason.ANNOTATION_MISMATCH


def test_an_annotation_without_a_place_does_not_fit_a_placed_cine(tmp_path, cine, labels):
    assert refused(saved(tmp_path / "a.nii", labels, np.eye(4)), cine) is Reason.ANNOTATION_MISMATCH


def test_the_smaller_end_of_the_heart_is_the_apex():
    labels = np.zeros((2, 6, 9, 9), np.uint8)
    for z in range(1, 6):
        labels[0, z, : 9 - z, : 9 - z] = 1
    assert towards_apex(labels) is True
    assert towards_apex(labels[:, ::-1]) is False
    assert towards_apex(labels[:, :3]) is None
    assert towards_apex(np.ones((1, 5, 4, 4), np.uint8)) is None
