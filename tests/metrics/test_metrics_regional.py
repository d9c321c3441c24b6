"""A ring of muscle whose every segment moves by its own rule."""

import numpy as np
import pytest

from cof.cine.grid import Placement
from cof.heart.segments import SEGMENTS, aha_segments
from cof.metrics.regional import regional_function

SHAPE, SPACING, FRAMES, RR = (6, 64, 64), (10.0, 2.0, 2.0), 24, 900.0
PLACEMENT = Placement((0.0,) * 3, (1.0,) * 3, SHAPE, SPACING, SHAPE, SPACING, (0.0, 1.0), (True,) * 6)
CENTRE = np.array([63.0, 63.0])  # mm, y and x


def polar(spacing, size):
    """Distance from the LV's centre in mm, and degrees from lateral over anterior (up), of an image's pixels."""
    offset = (spacing - SPACING[1]) / 2
    y, x = np.meshgrid(*[np.arange(size) * spacing + offset] * 2, indexing="ij")
    return np.hypot(y - CENTRE[0], x - CENTRE[1]), np.rad2deg(np.arctan2(CENTRE[0] - y, x - CENTRE[1])) % 360


@pytest.fixture(scope="module")
def labels():
    """LV of 20 mm, wall of 10 mm, RV to the left, which is septal."""
    distance, angle = polar(SPACING[1], SHAPE[1])
    plane = np.zeros(SHAPE[1:], np.uint8)
    plane[(distance < 45) & (np.abs(angle - 180) < 40)] = 3
    plane[distance < 30] = 2
    plane[distance < 20] = 1
    return np.repeat(plane[None], SHAPE[0], 0)


def beating(amplitude, delay):
    """Displacement [T, 3, Z, Y/2, X/2]: the endocardium comes in by amplitude(angle) mm, delay(angle) later."""
    distance, angle = polar(2 * SPACING[1], SHAPE[1] // 2)
    outward = np.clip(1 - np.where(distance < 20, (20 - distance) / 14, (distance - 20) / 10), 0, 1)
    phase = np.arange(FRAMES)[:, None, None] / FRAMES
    over_time = np.sin(np.pi * np.clip((phase - delay(angle)) / 0.8, 0, 1)) ** 2
    length = amplitude(angle) * over_time * outward
    rad = np.deg2rad(angle)
    plane = np.stack([0 * length, -np.sin(rad) * length, np.cos(rad) * length], 1)
    return np.repeat(plane[:, :, None], SHAPE[0], 2)


def test_segments_lie_where_the_heart_association_puts_them(labels):
    segments = aha_segments(labels, SPACING, PLACEMENT.valid, mirrored=False)
    centre = SHAPE[1] // 2
    at = {"anterior": (10, centre), "inferior": (53, centre), "lateral": (centre, 56), "septal": (centre, 8)}
    assert [segments[0][at[name]] for name in ("anterior", "inferior")] == [1, 4]
    assert [segments[5][at[name]] for name in at] == [13, 15, 16, 14]
    # Above the horizontal: anteroseptal, anterolateral; below it: inferoseptal, inferolateral.
    places = [(centre - 9, 12), (centre + 9, 12), (centre + 9, 50), (centre - 9, 50)]
    assert [segments[2][place] for place in places] == [8, 9, 11, 12]
    assert set(np.unique(segments)) == set(range(1, SEGMENTS + 1))
    mirrored = aha_segments(labels[:, ::-1], SPACING, PLACEMENT.valid, mirrored=True)
    assert (mirrored[:, ::-1] == segments).mean() > 0.98


def test_a_heart_that_moves_as_one_has_no_dyssynchrony(labels):
    made = regional_function(labels, beating(lambda a: 6 + 0 * a, lambda a: 0 * a), PLACEMENT, RR, False)
    assert made.peak_sd_ms < 6
    assert np.ptp(made.thickening_pct) < 0.25 * made.thickening_pct.mean()
    assert made.thickening_pct.min() > 20


def test_a_late_lateral_wall_is_late(labels):
    lateral = lambda angle: np.cos(np.deg2rad(angle)) > 0  # noqa: E731
    made = regional_function(labels, beating(lambda a: 6 + 0 * a, lambda a: 0.15 * lateral(a)), PLACEMENT, RR, False)
    late = made.peak_ms[[4, 5, 10, 11, 15]].mean() - made.peak_ms[[1, 2, 7, 8, 13]].mean()
    assert late == pytest.approx(0.15 * RR, abs=25)
    assert made.peak_sd_ms > 35


def test_a_scar_does_not_thicken(labels):
    anterior = lambda angle: np.abs(angle - 90) < 35  # noqa: E731
    made = regional_function(labels, beating(lambda a: 6.0 * ~anterior(a), lambda a: 0 * a), PLACEMENT, RR, False)
    scar, rest = made.thickening_pct[[0, 6, 12]], np.delete(made.thickening_pct, [0, 6, 12])
    assert np.abs(scar).max() < 15
    assert rest.mean() > 25
    still = regional_function(labels, np.zeros((FRAMES, 3, 6, 32, 32)), PLACEMENT, RR, False)
    assert np.isnan(still.peak_sd_ms)
    assert np.abs(still.thickening_pct).max() < 1e-3


def test_a_segment_without_a_wall_has_no_thickness(labels):
    """The anterior and anteroseptal wall of the two most basal slices is not labelled."""
    angle = polar(SPACING[1], SHAPE[1])[1]
    open_ring = labels.copy()
    open_ring[:2][(labels[:2] == 2) & (angle > 55) & (angle < 185)] = 0
    made = regional_function(open_ring, beating(lambda a: 6 + 0 * a, lambda a: 0 * a), PLACEMENT, RR, False)
    gone = np.isin(np.arange(SEGMENTS), [0, 1])
    assert np.isnan(made.thickness_mm[:, gone]).all()
    assert np.isnan(made.thickening_pct[gone]).all()
    assert np.isfinite(made.thickness_mm[:, ~gone]).all()
