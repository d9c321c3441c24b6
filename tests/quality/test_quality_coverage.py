"""Slices out of line and cut-off ends, against the true places of a synthetic scan's slices."""

import math

import numpy as np
import pytest
from scanned_phantom import Phantom

from cof.quality.coverage import end_cuts, misalignment_mm, outline, slice_shift_mm


def discs(centres: list[tuple[int, int]], radius: int = 12) -> np.ndarray:
    rows, columns = np.meshgrid(np.arange(80), np.arange(80), indexing="ij")
    return np.stack([(np.hypot(rows - y, columns - x) <= radius).astype(np.uint8) for y, x in centres])


def test_one_shifted_slice_has_a_closed_form() -> None:
    """Of six aligned slices one is off by 3 pixels of 2 mm; the line that the fit takes off is known."""
    centres = np.array([(40, 40), (40, 40), (40, 43), (40, 40), (40, 40), (40, 40)])
    deviation = np.array([0, 0, 6.0, 0, 0, 0])
    position = np.arange(6) - 2.5
    residual = deviation - deviation.mean() - position * (position @ deviation) / (position @ position)
    expected = math.sqrt(np.mean(np.diff(residual) ** 2))
    assert slice_shift_mm(discs([tuple(c) for c in centres]), (10, 2, 2)) == pytest.approx(expected, rel=1e-6)


def test_a_tilted_heart_is_not_misaligned() -> None:
    assert slice_shift_mm(discs([(30 + 3 * z, 45 - 2 * z) for z in range(6)]), (10, 2, 2)) == pytest.approx(0, abs=1e-9)


def test_too_few_slices_say_nothing() -> None:
    assert math.isnan(slice_shift_mm(discs([(40, 40)] * 3), (10, 2, 2)))
    assert math.isnan(slice_shift_mm(np.zeros((6, 9, 9), np.uint8), (10, 2, 2)))


def test_true_shifts_of_the_phantom_are_found(anchors: list[Phantom]) -> None:
    true, found = [], []
    for anchor in anchors:
        area = outline(anchor.labels[0]).sum(axis=(1, 2))
        used = np.flatnonzero(area > 0.4 * area.max())
        true.append(misalignment_mm(anchor.shift_mm[used], used))
        found.append(slice_shift_mm(anchor.labels[0], anchor.spacing_mm))
    assert np.corrcoef(true, found)[0, 1] > 0.95
    assert np.abs(np.subtract(true, found)).mean() < 0.25
    assert np.ptp(true) > 1


def test_ends_of_a_cone() -> None:
    radii = [0, 16, 12, 8]
    labels = np.concatenate(
        [discs([(40, 40)], radius) if radius else np.zeros((1, 80, 80), np.uint8) for radius in radii]
    )
    base, apex = end_cuts(labels)
    assert base == 0
    assert apex == pytest.approx(0.25, abs=0.03)
    assert all(math.isnan(cut) for cut in end_cuts(np.zeros((4, 8, 8), np.uint8)))


def test_the_base_is_cut_exactly_where_the_first_slice_lies_below_it(anchors: list[Phantom]) -> None:
    *level, oblique = anchors
    above = [anchor.height_mm[0] > anchor.length_mm for anchor in level]
    assert [end_cuts(anchor.labels[0])[0] == 0 for anchor in level] == above
    assert 0 < end_cuts(oblique.labels[0])[0] < 0.5
    assert len(set(above)) == 2


def test_fewer_slices_cut_off_more_apex(anchors: list[Phantom]) -> None:
    cuts = [end_cuts(anchors[0].labels[0][: 8 - missing])[1] for missing in range(4)]
    assert cuts == sorted(cuts)
    assert cuts[-1] > cuts[0] + 0.2
