"""Strain from a displacement on the motion grid, which pulls frames back, against closed forms of the map of tissue."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cof.cine.grid import Placement
from cof.heart.segments import NAMES
from cof.heart.strain import by_segment, engineering_pct, green_lagrange
from cof.metrics.strain import wall_stretch
from cof.truth.sampling import motion_voxels
from tube import CENTRE, FIRST, INNER_MM, LAST, OUTER_MM, SHAPE, SPACING_MM, Contraction, tube

PLACEMENT = Placement((0.0,) * 3, (1.0,) * 3, SHAPE, SPACING_MM, SHAPE, SPACING_MM, (0.0, 1.0), (True,) * SHAPE[0])
DIRECTIONS = ("circumferential", "radial", "longitudinal")
MIDDLE_MM = (INNER_MM + OUTER_MM) / 2
QUARTERS_MM = INNER_MM + np.array([0.25, 0.75]) * (OUTER_MM - INNER_MM)


def places(placement: Placement = PLACEMENT) -> np.ndarray:
    """Places [Z, Y/2, X/2, 3] of the motion grid in mm."""
    axes = [voxels * step for voxels, step in zip(motion_voxels(placement), placement.native_spacing_mm)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1)


def field(displacement: np.ndarray) -> np.ndarray:
    """A displacement [..., 3] as that of one frame, [1, 3, Z, Y/2, X/2]."""
    return np.moveaxis(displacement, -1, 0)[None].astype(np.float32)


def homogeneous(f: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """The displacement of X -> c + f (X - c) + shift, which is x -> c + f^-1 (x - c - shift) - x."""
    centre = np.array([(FIRST + LAST) / 2 * SPACING_MM[0], *CENTRE])
    back = (places() - centre - shift) @ np.linalg.inv(f).T + centre
    return field(back - places())


def strain(displacement: np.ndarray, labels: np.ndarray | None = None, mirrored: bool = False) -> np.ndarray:
    """Engineering strain [3, 16] in %, in the order of `DIRECTIONS`."""
    found = wall_stretch(tube() if labels is None else labels, displacement, PLACEMENT, mirrored)
    return np.stack([by_segment(engineering_pct(getattr(found, name)), found.segments)[0] for name in DIRECTIONS])


@pytest.mark.parametrize("twist", [0.0, 0.004])
def test_a_tube_that_contracts_and_twists(twist: float) -> None:
    motion = Contraction(twist_per_mm=twist)
    circumferential, radial, longitudinal = strain(field(motion.pull(places())))
    moved = motion.radius(np.array(MIDDLE_MM))
    np.testing.assert_allclose(circumferential, 100 * (moved / MIDDLE_MM - 1), atol=0.5)
    ends = np.diff(motion.radius(QUARTERS_MM)) / np.diff(QUARTERS_MM)
    np.testing.assert_allclose(radial, np.broadcast_to(100 * (ends - 1), 16), atol=2)
    np.testing.assert_allclose(longitudinal, 100 * (np.hypot(motion.along, moved * twist) - 1), atol=0.3)


def test_the_wrong_direction_is_told_apart() -> None:
    """The gradient of the displacement itself, without its inverse, lengthens where the wall shortens."""
    motion = Contraction()
    pull = field(motion.pull(places()))
    exact = 100 * (motion.radius(np.array(MIDDLE_MM)) / MIDDLE_MM - 1)
    at = places()
    distance = np.linalg.norm(at[..., 1:] - CENTRE, axis=-1)[..., None]
    pushed = np.where(distance < INNER_MM, 0, motion.carry(at) - at)
    assert strain(pull)[0].mean() == pytest.approx(exact, abs=0.5)
    assert strain(field(pushed))[0].mean() > 5
    assert exact < -10


def turned(degrees: float, tilt: float) -> np.ndarray:
    a, b = np.deg2rad([degrees, tilt])
    about_z = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    return about_z @ np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])


@pytest.mark.parametrize(("degrees", "tilt"), [(0, 0), (20, 0), (-12, 4)])
def test_a_heart_that_moves_as_a_whole_has_no_strain(degrees: float, tilt: float) -> None:
    np.testing.assert_allclose(strain(homogeneous(turned(degrees, tilt), np.array([2.0, -3.0, 4.0]))), 0, atol=0.05)


@settings(max_examples=10, deadline=None)
@given(arrays(float, (3, 3), elements=st.floats(-0.12, 0.12)))
def test_a_homogeneous_map_is_found_exactly(gradient: np.ndarray) -> None:
    """Stretch |F e| and Green-Lagrange strain e^T (F^T F - I) e / 2 along the directions of each ray."""
    f = np.eye(3) + gradient
    found = wall_stretch(tube(), homogeneous(f, np.zeros(3)), PLACEMENT, False)
    rad = np.deg2rad(np.arange(found.segments.shape[1]) * 360 / found.segments.shape[1])
    around = np.stack([0 * rad, -np.cos(rad), -np.sin(rad)], -1)
    outward = np.stack([0 * rad, -np.sin(rad), np.cos(rad)], -1)
    for values, unit, off in (
        (found.circumferential, around, 0.01),
        (found.radial, outward, 2e-3),
        (found.longitudinal, np.array([[1.0, 0, 0]]), 1e-3),
    ):
        expected = np.broadcast_to(np.linalg.norm(unit @ f.T, axis=-1), values.shape)
        np.testing.assert_allclose(values, expected, atol=off)
        lagrange = np.einsum("ri,ij,rj->r", unit, (f.T @ f - np.eye(3)) / 2, unit)
        np.testing.assert_allclose(green_lagrange(values), np.broadcast_to(lagrange, values.shape), atol=1.5 * off)


def weak(segment: int) -> np.ndarray:
    """A contraction that spares one segment, named by its number: its tissue rests."""
    level, index = (2, segment - 13) if segment > 12 else divmod(segment - 1, 6)
    angle = (90, 180, 270, 0)[index] if level == 2 else (90, 150, 210, 270, 330, 30)[index]
    at = places()
    degrees = np.rad2deg(np.arctan2(CENTRE[0] - at[..., 1], at[..., 2] - CENTRE[1]))
    off = np.abs((degrees - angle + 180) % 360 - 180) / (45 if level == 2 else 30)
    above = np.abs(at[..., 0] / SPACING_MM[0] - (FIRST + 0.5 + 2 * level)) / 1.5
    share = 1 - np.clip(2 - 2 * off, 0, 1) * np.clip(2 - 2 * above, 0, 1)
    return field(share[..., None] * Contraction(along=0.999, twist_per_mm=0).pull(at))


def test_the_segment_that_rests_is_told_by_its_number() -> None:
    for segment in range(1, 17):
        circumferential, radial, _ = strain(weak(segment))
        assert circumferential.argmax() + 1 == segment, NAMES[segment - 1]
        assert radial.argmin() + 1 == segment, NAMES[segment - 1]


def test_a_mirrored_stack_gives_the_same_segments() -> None:
    """Rows in the other order; the displacement along them changes its sign."""
    labels, moved = tube(), weak(8)
    flipped = np.ascontiguousarray(moved[..., ::-1, :] * np.array([1, -1, 1]).reshape(1, 3, 1, 1, 1))
    plain = strain(moved, labels)
    np.testing.assert_allclose(strain(flipped, labels[:, ::-1], mirrored=True), plain, atol=0.1)
    assert strain(flipped, labels[:, ::-1], mirrored=False)[0].argmax() + 1 == 9  # inferoseptal, not anteroseptal


def test_where_the_displacement_folds_there_is_no_strain() -> None:
    """Left and right change places in one half of the heart; the other half has its strain."""
    at = places()
    folded = np.zeros_like(at)
    right = np.clip(at[..., 2] - CENTRE[1], 0, None)
    folded[..., 2] = -2.5 * np.clip(right, 0, 12)
    found = strain(field(folded))
    known = {NAMES[k] for k in np.flatnonzero(np.isfinite(found[0]))}
    assert "mid anteroseptal" in known
    assert "mid anterolateral" not in known
    np.testing.assert_allclose(found[0][[1, 2, 7, 8]], 0, atol=1e-6)


def test_slices_outside_the_grid_do_not_count() -> None:
    """Slices outside the grid have no motion, which would count as zero strain."""
    inner = replace(PLACEMENT, offset=(2.0, 0.0, 0.0), shape=(5, *SHAPE[1:]), valid=(True,) * 5)
    motion = Contraction(twist_per_mm=0)
    motion.top = 4 * SPACING_MM[0]
    found = wall_stretch(tube(), field(motion.pull(places(inner))), inner, False)
    assert len(found.segments) == 5
    np.testing.assert_allclose(np.nanmean(found.circumferential, axis=(0, 2)), found.circumferential.mean(), atol=5e-3)
    np.testing.assert_allclose(found.longitudinal, motion.along, atol=3e-3)


def test_without_an_rv_nothing_is_known() -> None:
    labels = tube()
    labels[labels == 3] = 0
    assert np.isnan(strain(homogeneous(np.eye(3), np.zeros(3)), labels)).all()


def test_strain_is_found_for_every_frame_on_its_own() -> None:
    fields = [field(Contraction(inner_mm=inner).pull(places())) for inner in (11.0, 9.0, 7.0)]
    together = wall_stretch(tube(), np.concatenate(fields), PLACEMENT, False)
    for frame, alone in enumerate(fields):
        expected = wall_stretch(tube(), alone, PLACEMENT, False).circumferential[0]
        np.testing.assert_allclose(together.circumferential[frame], expected, atol=2e-3)
    assert (np.diff(together.circumferential.mean((1, 2))) < -0.02).all()
