"""Which part of a NIfTI's header counts, on headers whose truth is known."""

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from cof.cine.affine import place_voxels
from cof.cine.geometry import MAX_SHEAR_DEGREES, check_spacing, shear_degrees, slice_axis, spacing_of
from cof.cine.nifti import read_nifti
from cof.errors import CofError, Reason

SHAPE = (5, 4, 6)
SPACING = np.array([1.7, 1.9, 8.0])
OBLIQUE = Rotation.from_rotvec([0.4, -0.7, 0.3]).as_matrix()
ORIGIN = np.array([12.0, -40.0, 66.0])

angles = st.tuples(*[st.floats(-3, 3)] * 3)
spacings = st.tuples(st.floats(0.5, 3.5), st.floats(0.5, 3.5), st.floats(6.0, 20.0))


def affine_of(directions, spacing, origin=ORIGIN):
    affine = np.eye(4)
    affine[:3, :3] = directions * np.asarray(spacing)
    affine[:3, 3] = origin
    return affine


REAL = affine_of(OBLIQUE, SPACING)


def header(sform=None, qform=None, pixdim=SPACING, unit="mm"):
    """A header whose parts are set one by one, whatever they make of one another."""
    made = nib.Nifti1Header()
    made.set_data_shape(SHAPE)
    if qform is not None:
        made.set_qform(qform, 1)
    if sform is not None:
        made.set_sform(sform, 2)
    made["pixdim"][1:4] = pixdim
    made.set_xyzt_units(unit, "sec")
    return made


def placed(*args, **more):
    made = header(*args, **more)
    return place_voxels(made, made["pixdim"][1:4].astype(float), SHAPE)


@given(angles, spacings, st.sampled_from([1, -1]), st.sampled_from(["sform", "qform"]))
def test_what_a_sound_header_says_is_what_nibabel_reads(turn, spacing, side, part):
    """Either form alone gives nibabel's affine bit for bit, and nothing to say."""
    affine = affine_of(Rotation.from_rotvec(turn).as_matrix() * [1, 1, side], spacing)
    made = header(**{part: affine}, pixdim=spacing)
    found = place_voxels(made, made["pixdim"][1:4].astype(float), SHAPE)
    np.testing.assert_array_equal(found.affine, made.get_best_affine())
    np.testing.assert_allclose(found.affine, affine, atol=1e-3)
    assert found.repairs == ()


@given(angles, spacings, st.sampled_from([("meter", 1e-3), ("micron", 1e3), ("unknown", 1.0)]))
def test_units_become_millimetres(turn, spacing, unit):
    name, factor = unit
    affine = affine_of(Rotation.from_rotvec(turn).as_matrix(), spacing)
    stored = np.diag([factor, factor, factor, 1]) @ affine
    found = placed(stored, pixdim=np.array(spacing) * factor, unit=name)
    np.testing.assert_allclose(found.affine, affine, rtol=1e-5, atol=1e-3)
    assert found.repairs == ()


@pytest.mark.parametrize(("factor", "unit"), [(1e-3, "mm"), (1e-3, "unknown"), (1.0, "meter"), (1.0, "micron")])
def test_a_unit_that_cannot_be_is_mended_and_said(factor, unit):
    found = placed(np.diag([factor, factor, factor, 1]) @ REAL, pixdim=SPACING * factor, unit=unit)
    np.testing.assert_allclose(found.affine, REAL, rtol=1e-5)
    assert "cannot be in" in found.repairs[0]


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1)])
def test_a_unit_sform_beside_real_pixdim_gives_the_spacing_and_no_orientation(signs):
    found = placed(np.diag([*signs, 1.0]), unit="unknown")
    np.testing.assert_allclose(spacing_of(found.affine), SPACING, rtol=1e-6)
    assert not found.oriented
    assert "pixdim is used, spacing 1.7 x 1.9 x 8 mm" in found.repairs[0]


def test_the_directions_of_a_unit_sform_are_kept_where_they_say_something():
    found = placed(affine_of(OBLIQUE, (1, 1, 1)))
    np.testing.assert_allclose(found.affine, REAL, rtol=1e-5)
    assert found.oriented
    assert "pixdim is used" in found.repairs[0]


def test_a_real_qform_counts_before_a_unit_sform():
    found = placed(np.eye(4), REAL)
    np.testing.assert_allclose(found.affine, REAL, rtol=1e-4)
    assert found.oriented
    assert "qform is used" in found.repairs[0]


def test_forms_that_differ_are_said_and_the_sform_counts():
    found = placed(REAL, affine_of(OBLIQUE, SPACING, ORIGIN + np.array([0, 7, 0])))
    np.testing.assert_allclose(found.affine, REAL, rtol=1e-5)
    assert found.repairs == ("sform and qform of the header differ by up to 7.0 mm: the sform is used",)


def test_an_oblique_qform_counts_before_an_sform_along_the_scanner():
    found = placed(np.diag([*SPACING, 1]), REAL)
    np.testing.assert_allclose(found.affine, REAL, rtol=1e-4)
    assert "along the scanner axes: qform is used" in found.repairs[0]


@pytest.mark.parametrize("pixdim", [(1.4, 1.4, 8.0), (1.0, 1.0, 1.0), (1.7, 1.9, 4.0)])
def test_a_pixdim_that_contradicts_the_sform_is_said(pixdim):
    found = placed(REAL, pixdim=pixdim)
    np.testing.assert_allclose(found.affine, REAL, rtol=1e-5)
    assert "contradicts its sform" in found.repairs[0]


@pytest.mark.parametrize("pixdim", [(0, 0, 0), (np.nan, np.nan, np.nan)])
def test_a_pixdim_that_says_nothing_contradicts_nothing(pixdim):
    assert placed(REAL, pixdim=pixdim).repairs == ()


def test_without_forms_pixdim_gives_the_spacing_whatever_its_sign():
    found = placed(pixdim=SPACING)
    np.testing.assert_allclose(spacing_of(found.affine), SPACING, rtol=1e-6)
    assert (found.oriented, found.repairs) == (False, ())
    made = header()
    found = place_voxels(made, -SPACING, SHAPE)
    assert "its sign is ignored" in found.repairs[0]


def test_a_pixdim_of_zero_is_not_taken_for_the_one_that_nibabel_makes_of_it():
    made = header(pixdim=(1, 1, 8.0))  # as nibabel mends (0, 0, 8)
    with pytest.raises(CofError, match="0 x 0 x 8 mm"):
        check_spacing(place_voxels(made, np.array([0, 0, 8.0]), SHAPE).affine)


@pytest.mark.parametrize("sform", [np.zeros((4, 4)), np.full((4, 4), np.nan), np.diag([1.7, 0, 8, 1])])
def test_a_damaged_sform_is_refused_whatever_else_is_there(sform):
    with pytest.raises(CofError) as caught:
        check_spacing(placed(sform, REAL).affine)
    assert caught.value.reason is Reason.CINE_GEOMETRY


def test_a_quaternion_that_is_none_is_no_qform():
    made = header()
    made["qform_code"], made["quatern_b"] = 1, 5.0
    with pytest.raises(CofError):
        check_spacing(place_voxels(made, SPACING, SHAPE).affine)
    made.set_sform(REAL, 1)
    np.testing.assert_allclose(place_voxels(made, SPACING, SHAPE).affine, REAL, rtol=1e-5)


@given(angles, st.floats(0, 60), st.sampled_from([(2, 0), (2, 1), (1, 0), (0, 1)]))
def test_a_shear_is_refused_or_the_volume_is_right(turn, degrees, axes):
    """Spacings multiply to the voxel's volume within .05 %, or the stack is refused with its angle."""
    moved, along = axes
    shear = np.eye(3)
    shear[along, moved] = np.tan(np.radians(degrees)) * SPACING[moved] / SPACING[along]
    affine = affine_of(Rotation.from_rotvec(turn).as_matrix(), SPACING)
    affine[:3, :3] = affine[:3, :3] @ shear
    found = placed(affine, pixdim=spacing_of(affine)).affine
    assert shear_degrees(affine) == pytest.approx(degrees, abs=1e-3)
    if degrees > MAX_SHEAR_DEGREES + 1e-3:
        with pytest.raises(CofError, match=f"{shear_degrees(found):.1f} degrees from right angles"):
            check_spacing(found)
    elif degrees < MAX_SHEAR_DEGREES - 1e-3:
        check_spacing(found)
        assert np.prod(spacing_of(found)) == pytest.approx(abs(np.linalg.det(affine[:3, :3])), rel=5e-4)


def test_a_rounded_header_is_no_shear():
    check_spacing(np.round(REAL, 2))


@pytest.mark.parametrize("spacing", [(1, 1, 1), (0.18, 0.18, 1), (18, 18, 100), (1.8, 1.8, 0), (1.8, 1.8, 40)])
def test_a_spacing_that_no_stack_has_is_named_with_what_is_allowed(spacing):
    with pytest.raises(CofError, match=r"mm \(x, y, z\).*0\.3 to 5 mm.*2 to 25 mm.*correct the header"):
        check_spacing(np.diag([*spacing, 1.0]))


@pytest.mark.parametrize(("spacing", "axis"), [((1.8, 1.8, 10), 2), ((1.8, 5, 1.8), 1), ((8, 2, 2), 0), ((3, 3, 2), 2)])
def test_the_coarsest_axis_is_that_of_the_slices(spacing, axis):
    assert slice_axis(np.array(spacing)) == axis


@settings(max_examples=25, deadline=None)
@given(angles, spacings, st.sampled_from([1, -1]), st.sampled_from(["sform", "qform", "both"]))
def test_points_lie_where_simpleitk_sees_them(tmp_path_factory, turn, spacing, side, part):
    """Read, ordered from base to apex, every voxel keeps its value and its place in the patient."""
    simpleitk = pytest.importorskip("SimpleITK")
    path = tmp_path_factory.mktemp("itk") / "a.nii.gz"
    values = np.random.default_rng(0).integers(0, 9999, SHAPE).astype(np.int16)
    image = nib.Nifti1Image(values, None)
    affine = affine_of(Rotation.from_rotvec(turn).as_matrix() * [1, 1, side], spacing)
    if part != "sform":
        image.set_qform(affine, 1)
    if part != "qform":
        image.set_sform(affine, 1)
        image.header["pixdim"][1:4] = spacing
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, path)
    seen, cine = simpleitk.ReadImage(str(path)), read_nifti(path)
    index = np.array(np.meshgrid(*map(range, SHAPE), indexing="ij")).reshape(3, -1)
    # A voxel of ours, wherever its slice was put, is the voxel that they find at its place.
    places = (cine.affine @ np.vstack([index, np.ones(index.shape[1])]))[:3] * [[-1], [-1], [1]]
    if cine.oriented:
        for (x, y, z), place in zip(index.T[::7], places.T[::7]):
            there = seen.TransformPhysicalPointToContinuousIndex(place)
            np.testing.assert_allclose(there, np.rint(there), atol=0.02)
            assert seen[tuple(int(value) for value in np.rint(there))] == cine.frames[0, z, y, x]
    assert np.prod(cine.spacing_mm) == pytest.approx(np.prod(seen.GetSpacing()), rel=1e-4)
