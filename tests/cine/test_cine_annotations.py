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
    """An LV in its wall and an RV without any symmetry, in frames 0 and 4."""
    drawn = np.zeros(scan.frames.shape, np.uint8)
    for plane in range(drawn.shape[1]):
        drawn[0, plane, 3 : 14 - plane, 2:11], drawn[0, plane, 4 : 13 - plane, 4:9] = 2, 1
        drawn[0, plane, 1:4, 6 : 13 - plane] = 3
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


SIZE, SLICES = 64, 9
ACDC = {1: 3, 2: 2, 3: 1}


def discs(radii, centre=(32.0, 28.0)):
    """True within `radii[z]` voxels of the centre (y, x): bool [Z, Y, X]."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    distance = np.hypot(rows - centre[0], columns - centre[1])
    return distance < np.asarray(radii, float)[:, None, None]


def heart(lv=12.0, wall=6.0, rv=14.0):
    """Labels of a short-axis stack [Z, Y, X]: cavities that taper to the apex, the RV's crescent beside the wall."""
    taper = np.linspace(1, 0.3, SLICES)
    drawn = np.zeros((SLICES, SIZE, SIZE), np.uint8)
    drawn[discs(rv * taper, (32.0, 46.0))] = 3
    drawn[discs((lv + wall) * np.sqrt(taper))] = 2
    drawn[discs(lv * taper)] = 1
    return drawn


def read(tmp_path, *volumes, codes=None, frames=6):
    """Labels [Z, Y, X] as read from the first frames of a cine."""
    drawn = np.zeros((frames, *volumes[0].shape), volumes[0].dtype)
    drawn[: len(volumes)] = volumes
    affine = np.diag([1.5, 1.5, 9.0, 1.0])
    path = saved(tmp_path / "a.nii.gz", drawn, affine)
    cine = Cine(np.zeros(drawn.shape, np.int16), affine, np.arange(frames) * 90.0, 90.0 * frames)
    return read_annotation(path, cine, codes)


def said(tmp_path, *volumes, codes=None):
    with pytest.raises(CofError) as caught:
        read(tmp_path, *volumes, codes=codes)
    return caught.value.reason, str(caught.value)


def coded(labels, codes):
    """Our labels in the codes of a map from theirs to ours."""
    theirs = np.zeros(4, np.int16)
    for code, ours in codes.items():
        theirs[ours] = code
    return theirs[labels]


def open_at_the_base(labels):
    """The wall missing on one side of the first two slices, as at the outflow tract."""
    drawn = labels.copy()
    drawn[:2, :, :28][drawn[:2, :, :28] == 2] = 0
    return drawn


def gaps(labels):
    """A contour of the wall that does not touch the cavity's: a voxel of background between them."""
    drawn = labels.copy()
    around = sum(np.roll(labels == 1, step, axis) for axis in (1, 2) for step in (1, -1)) > 0
    drawn[around & (labels == 2)] = 0
    return drawn


def papillaries(labels):
    drawn = labels.copy()
    drawn[:, 28:36:2, 24:32:2][drawn[:, 28:36:2, 24:32:2] == 1] = 0
    return drawn


def cut_wall(labels):
    """A tenth of the ring that nobody drew."""
    drawn = labels.copy()
    drawn[:, 30:35, :28][drawn[:, 30:35, :28] == 2] = 0
    return drawn


HEALTHY = {
    "whole": heart(),
    "systole": heart(lv=3, wall=11, rv=9),
    "cavity of a few voxels": heart(lv=1.2, wall=12),
    "dilated, thin wall": heart(lv=20, wall=1.5),
    "no RV": np.where(heart() == 3, 0, heart()),
    "LV alone": np.where(heart() == 1, 1, 0).astype(np.uint8),
    "LV and RV": np.where(heart() == 2, 0, heart()),
    "open at the base": open_at_the_base(heart()),
    "gaps": gaps(heart()),
    "papillary muscles left out": papillaries(heart()),
    "a ring that does not close": cut_wall(heart()),
    "wall in two slices alone": np.where((heart() == 2) & (np.arange(SLICES) > 1)[:, None, None], 0, heart()),
    "apex to base": heart()[::-1],
}


@pytest.mark.parametrize("labels", HEALTHY.values(), ids=HEALTHY)
def test_hearts_in_our_codes_come_back_as_they_are(tmp_path, labels):
    np.testing.assert_array_equal(read(tmp_path, labels)[0], labels)


# Where there is no wall, or too little of the cavity, nobody can tell which of two cavities is which.
TOLD = {
    name: labels for name, labels in HEALTHY.items() if name not in ("LV alone", "LV and RV", "cavity of a few voxels")
}
CODES = {
    "ACDC": ACDC,
    "turned": {1: 2, 2: 3, 3: 1},
    "turned back": {1: 3, 2: 1, 3: 2},
    "wall and LV exchanged": {1: 2, 2: 1, 3: 3},
    "wall and RV exchanged": {1: 1, 2: 3, 3: 2},
}


@pytest.mark.parametrize("codes", CODES.values(), ids=CODES)
@pytest.mark.parametrize("labels", TOLD.values(), ids=TOLD)
def test_the_same_hearts_in_other_codes_are_refused_with_the_map_that_fits(tmp_path, labels, codes):
    theirs = coded(labels, codes)
    reason, message = said(tmp_path, theirs)
    assert reason is Reason.ANNOTATION_CODES
    fit = ",".join(f"{code}:{ours}" for code, ours in codes.items() if (theirs == code).any())
    assert f'set labels_map "{fit}" (' in message
    np.testing.assert_array_equal(read(tmp_path, theirs, codes=codes)[0], labels)


def test_one_frame_in_other_codes_is_found_among_others(tmp_path):
    assert said(tmp_path, heart(), coded(heart(lv=6, wall=9), ACDC))[1].startswith("in the middle slices of frame 1 ")
    assert read(tmp_path, heart(), np.where(heart() == 2, 0, heart())).any()


def test_the_message_says_what_it_looks_like(tmp_path):
    _, message = said(tmp_path, coded(heart(), ACDC))
    assert 'labels look like 3 = LV, 2 = myocardium, 1 = RV: set labels_map "1:3,2:2,3:1" (' in message
    # As in Sunnybrook's volumes: the wall at ED, the cavity alone at ES.
    cavity = np.where(heart() == 1, 3, 0).astype(np.uint8)
    reason, message = said(tmp_path, cavity, np.where(heart() == 2, 2, cavity).astype(np.uint8))
    assert reason is Reason.ANNOTATION_CODES
    assert "frame 1 label 2 encloses label 3" in message
    assert 'labels look like 3 = LV, 2 = myocardium: set labels_map "2:2,3:1" (' in message


def test_a_map_that_is_wrong_is_refused_with_the_right_one_for_the_file(tmp_path):
    _, message = said(tmp_path, heart(), codes=ACDC)
    assert 'set labels_map "1:1,2:2,3:3" (' in message
    far = {85: 3, 170: 2, 255: 1}
    assert (
        'set labels_map "85:3,170:2,255:1" (' in said(tmp_path, coded(heart(), far), codes={85: 1, 170: 2, 255: 3})[1]
    )


@pytest.mark.parametrize("codes", [{85: 3, 170: 2, 255: 1}, {200: 2, 500: 1, 600: 3}, {4: 1, 2: 2, 3: 3}])
def test_unknown_codes_are_named_with_the_map_that_fits(tmp_path, codes):
    theirs = coded(heart(), codes)
    reason, message = said(tmp_path, theirs)
    assert reason is Reason.ANNOTATION_UNREADABLE
    assert (
        f"values other than 0 to 3, such as {', '.join(str(code) for code in sorted(codes) if code > 3)}: " in message
    )
    fit = ",".join(f"{code}:{codes[code]}" for code in sorted(codes))
    assert f'set labels_map "{fit}" (' in message
    np.testing.assert_array_equal(read(tmp_path, theirs, codes=codes)[0], heart())


def test_codes_that_a_map_does_not_name_are_refused(tmp_path):
    reason, message = said(tmp_path, coded(heart(), ACDC), codes={2: 2, 3: 1})
    assert reason is Reason.ANNOTATION_UNREADABLE
    assert "values other than those of the map 2:2,3:1, such as 1: labels look like 3 = LV" in message


def test_several_codes_can_become_one_or_background(tmp_path):
    theirs = heart().astype(np.int16)
    theirs[:, 30:34, 26:30][theirs[:, 30:34, 26:30] == 1] = 9  # papillary muscles
    theirs[:, :3, :3] = 7
    np.testing.assert_array_equal(read(tmp_path, theirs, codes={1: 1, 2: 2, 3: 3, 9: 1, 7: 0})[0], heart())


def test_labels_without_an_lv_are_refused(tmp_path):
    reason, message = said(tmp_path, np.where(heart() == 3, 3, 0).astype(np.uint8))
    assert reason is Reason.ANNOTATION_CODES
    assert "no voxel has the label 1 of the LV" in message


def test_an_image_given_as_labels_is_refused_in_one_short_line(tmp_path):
    reason, message = said(tmp_path, np.random.default_rng(0).integers(0, 900, (5, 40, 40)).astype(np.int16))
    assert reason is Reason.ANNOTATION_UNREADABLE
    assert len(message) < 200


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
    assert "a label is nan" in message(saved(tmp_path / "a.nii", values, cine.affine), cine)


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
