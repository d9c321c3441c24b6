"""Strain of a tube that contracts without a change of its volume, against its closed form."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cof.heart.strain import Stretch, by_segment, engineering_pct, green_lagrange, mean_of_segments
from cof.heart.wall import CENTRE as MIDDLE
from cof.heart.wall import INNER, OUTER, Wall
from tube import CENTRE, FIRST, LAST, SHAPE, SPACING_MM, Contraction, tube

WALL = Wall.of(tube(), SPACING_MM, range(SHAPE[0]), mirrored=False)
RADII = np.linalg.norm(WALL.points_mm[..., 1:] - CENTRE, axis=-1)
EVERYWHERE = (-np.inf, np.inf)


def stretch_of(moved: np.ndarray) -> Stretch:
    return Stretch.of(WALL, moved[None], *EVERYWHERE)


@pytest.mark.parametrize("twist", [0.0, 0.004])
def test_a_tube_that_contracts_and_twists(twist: float) -> None:
    """F = diag(R / (r l), r / R, l) in r, angle, z, and a shear r twist of the angle with z."""
    motion = Contraction(twist_per_mm=twist)
    found = stretch_of(motion.carry(WALL.points_mm))
    rest = RADII[..., MIDDLE]
    moved = motion.radius(rest)
    np.testing.assert_allclose(found.circumferential[0], moved / rest, atol=4e-3)
    # Through the middle half of the wall; at its centre the closed form is R / (r l).
    ends = motion.radius(RADII[..., OUTER]) - motion.radius(RADII[..., INNER])
    np.testing.assert_allclose(found.radial[0], ends / (RADII[..., OUTER] - RADII[..., INNER]), atol=1e-4)
    np.testing.assert_allclose(found.radial[0], rest / (moved * motion.along), atol=0.02)
    np.testing.assert_allclose(found.longitudinal[0], np.hypot(motion.along, moved * twist), atol=2e-4)
    assert 1 - found.circumferential.mean() > 0.1
    assert found.radial.mean() - 1 > 0.2


def test_twist_changes_the_longitudinal_strain_alone() -> None:
    plain, twisted = (stretch_of(Contraction(twist_per_mm=twist).carry(WALL.points_mm)) for twist in (0.0, 0.01))
    np.testing.assert_allclose(twisted.circumferential, plain.circumferential, atol=1e-9)
    np.testing.assert_allclose(twisted.radial, plain.radial, atol=1e-9)
    assert (twisted.longitudinal > plain.longitudinal + 5e-3).all()


@pytest.mark.parametrize("along", [0.8, 1.0, 1.3])
def test_a_stretched_cylinder(along: float) -> None:
    found = stretch_of(WALL.points_mm * (along, 1, 1))
    np.testing.assert_allclose(engineering_pct(found.longitudinal), 100 * (along - 1), atol=1e-9)
    np.testing.assert_allclose(green_lagrange(found.longitudinal), (along**2 - 1) / 2, atol=1e-9)
    np.testing.assert_allclose(engineering_pct(found.circumferential), 0, atol=1e-9)
    np.testing.assert_allclose(engineering_pct(found.radial), 0, atol=1e-9)


entries = st.floats(-0.2, 0.2)


@settings(max_examples=40, deadline=None)
@given(arrays(float, (3, 3), elements=entries), arrays(float, 3, elements=st.floats(-50, 50)), st.floats(-3, 3))
def test_stretch_is_the_length_of_f_e_in_any_pose(gradient: np.ndarray, shift: np.ndarray, angle: float) -> None:
    """Under a homogeneous F; and a rotation and a shift after it change nothing."""
    f = np.eye(3) + gradient
    turn = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])
    found = stretch_of(WALL.points_mm @ (turn @ f).T + shift)
    line = WALL.points_mm[..., MIDDLE, :]
    along = np.roll(line, -1, 1) - np.roll(line, 1, 1)
    through = WALL.points_mm[..., OUTER, :] - WALL.points_mm[..., INNER, :]
    for values, direction in ((found.circumferential, along), (found.radial, through)):
        unit = direction / np.linalg.norm(direction, axis=-1, keepdims=True)
        np.testing.assert_allclose(values[0], np.linalg.norm(unit @ f.T, axis=-1), atol=1e-9)
        lagrange = np.einsum("...i,ij,...j->...", unit, (f.T @ f - np.eye(3)) / 2, unit)
        np.testing.assert_allclose(green_lagrange(values[0]), lagrange, atol=1e-9)
    np.testing.assert_allclose(found.longitudinal, np.linalg.norm(f[:, 0]), atol=1e-9)


def test_what_leaves_the_stack_has_no_longitudinal_strain() -> None:
    moved = WALL.points_mm + np.array([3.0, 0, 0])
    found = Stretch.of(WALL, moved[None], 0.0, LAST * SPACING_MM[0] + 1)
    assert np.isnan(found.longitudinal[0, -1]).all()
    np.testing.assert_allclose(found.longitudinal[0, :-1], 1, atol=1e-9)
    np.testing.assert_allclose(found.circumferential, 1, atol=1e-9)


def test_a_wall_of_one_slice_or_none_has_no_longitudinal_strain() -> None:
    one = Wall(WALL.points_mm[:1], WALL.segments[:1])
    assert np.isnan(Stretch.of(one, one.points_mm[None], *EVERYWHERE).longitudinal).all()
    none = Wall(WALL.points_mm[:0], WALL.segments[:0])
    found = Stretch.of(none, none.points_mm[None], *EVERYWHERE)
    assert np.isnan(by_segment(found.longitudinal, none.segments)).all()


def test_a_segment_needs_half_of_its_rays_and_a_global_strain_half_of_the_segments() -> None:
    values = np.broadcast_to(WALL.segments.astype(float), (2, *WALL.segments.shape)).copy()
    np.testing.assert_allclose(by_segment(values, WALL.segments), np.tile(np.arange(1, 17), (2, 1)))
    inside = np.argwhere(WALL.segments == 5)
    for slice_, ray in inside[: len(inside) // 2]:
        values[0, slice_, ray] = np.nan
    assert by_segment(values, WALL.segments)[0, 4] == 5
    slice_, ray = inside[-1]
    values[0, slice_, ray] = np.nan
    found = by_segment(values, WALL.segments)
    assert np.isnan(found[0, 4])
    assert np.isfinite(found[1]).all()
    assert mean_of_segments(found[0]) == pytest.approx((136 - 5) / 15)
    assert np.isnan(mean_of_segments(np.r_[np.ones(7), np.full(9, np.nan)]))
    assert FIRST + len(WALL.segments) - 1 == LAST
