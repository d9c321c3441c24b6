"""Segments and lines of the wall of shapes whose borders are known."""

import numpy as np
import pytest

from cof.heart.segments import NAMES, SEGMENTS, WIDTHS_RAD, aha_segments, degrees, offsets, segment_at
from cof.heart.wall import CENTRE as MIDDLE
from cof.heart.wall import DEPTHS, RAYS, Wall
from tube import CENTRE, FIRST, INNER_MM, LAST, OUTER_MM, SHAPE, SPACING_MM, tube

WHOLE = range(SHAPE[0])
VALID = (True,) * SHAPE[0]


def test_segments_have_the_names_and_places_of_the_heart_association() -> None:
    assert len(NAMES) == len(WIDTHS_RAD) == SEGMENTS
    found = {NAMES[segment_at(np.array(angle), level) - 1] for level in range(3) for angle in np.arange(0, 360, 10.0)}
    assert found == set(NAMES)
    compass = {0: "lateral", 90: "anterior", 180: "septal", 270: "inferior"}
    for angle, wall in compass.items():
        assert NAMES[segment_at(np.array(float(angle)), 2) - 1] == f"apical {wall}"
    sides = {179: "mid anteroseptal", 181: "mid inferoseptal", 90: "mid anterior", 271: "mid inferior"}
    for angle, name in sides.items():
        assert NAMES[segment_at(np.array(float(angle)), 1) - 1] == name
    assert WIDTHS_RAD.reshape(-1)[:6].sum() == pytest.approx(2 * np.pi)
    assert WIDTHS_RAD[12:].sum() == pytest.approx(2 * np.pi)


@pytest.mark.parametrize("mirrored", [False, True])
def test_offsets_are_the_inverse_of_degrees(mirrored: bool) -> None:
    angles = np.arange(-170.0, 180, 10)
    np.testing.assert_allclose(degrees(*offsets(angles, mirrored), mirrored), angles, atol=1e-9)


@pytest.mark.parametrize("rv_degrees", [180.0, 135.0, -60.0])
def test_the_septum_faces_the_rv_wherever_it_lies(rv_degrees: float) -> None:
    segments = aha_segments(tube(rv_degrees), SPACING_MM, VALID, mirrored=False)
    for turn, expected in ((-10, 2), (10, 3), (-90, 1), (90, 4), (150, 5), (-150, 6)):
        down, across = offsets(np.array(rv_degrees + turn), False)
        y, x = (CENTRE + 17 * np.array([down, across])) / SPACING_MM[1:]
        assert segments[FIRST, round(y), round(x)] == expected
    assert [set(np.unique(segments[z])) for z in (FIRST, 3, LAST)] == [
        set(range(1, 7)), set(range(7, 13)), set(range(13, 17)),
    ]  # fmt: skip
    assert not segments[0].any()


def test_lines_lie_at_the_radii_of_the_wall_in_slices_with_a_cavity() -> None:
    wall = Wall.of(tube(), SPACING_MM, WHOLE, mirrored=False)
    assert wall.points_mm.shape == (LAST - FIRST + 1, RAYS, len(DEPTHS), 3)
    np.testing.assert_array_equal(wall.points_mm[:, 0, 0, 0], np.arange(FIRST, LAST + 1) * SPACING_MM[0])
    radii = np.linalg.norm(wall.points_mm[..., 1:] - CENTRE, axis=-1)
    expected = INNER_MM + np.array(DEPTHS) * (OUTER_MM - INNER_MM)
    np.testing.assert_allclose(radii, np.broadcast_to(expected, radii.shape), atol=SPACING_MM[1] / 4)
    assert np.bincount(wall.segments[0])[1:].tolist() == [RAYS // 6] * 6
    assert np.bincount(wall.segments[-1])[13:].tolist() == [RAYS // 4] * 4


def test_a_line_is_in_the_segment_of_its_voxel() -> None:
    labels = tube(150.0)
    wall = Wall.of(labels, SPACING_MM, WHOLE, mirrored=False)
    voxels = np.rint(wall.points_mm[..., MIDDLE, :] / SPACING_MM).astype(int)
    segments = aha_segments(labels, SPACING_MM, VALID, mirrored=False)
    assert (segments[tuple(np.moveaxis(voxels, -1, 0))] == wall.segments).mean() > 0.97  # a voxel may lie on a border


def test_rays_through_a_gap_of_the_wall_have_no_line() -> None:
    labels = tube()
    labels[labels == 2] *= np.broadcast_to(np.arange(SHAPE[2]) * SPACING_MM[2] < CENTRE[1] + 8, SHAPE)[labels == 2]
    wall = Wall.of(labels, SPACING_MM, WHOLE, mirrored=False)
    known = np.isfinite(wall.points_mm).all((-1, -2))[0]
    angles = np.abs((np.arange(RAYS) * 360 / RAYS + 180) % 360 - 180)
    assert known[angles > 90].all()
    assert not known[angles < 30].any()


def test_only_the_given_slices_count_and_without_an_rv_none() -> None:
    assert len(Wall.of(tube(), SPACING_MM, range(2, 5), mirrored=False).points_mm) == 3
    labels = tube()
    labels[labels == 3] = 0
    assert len(Wall.of(labels, SPACING_MM, WHOLE, mirrored=False).points_mm) == 0
    assert not aha_segments(labels, SPACING_MM, VALID, mirrored=False).any()
