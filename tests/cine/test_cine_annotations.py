import itertools

import nibabel as nib
import numpy as np
import pytest

from cof.cine.annotations import read_annotation
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
