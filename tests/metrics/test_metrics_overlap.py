import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monai.metrics import compute_dice, compute_iou

from cof.metrics.overlap import about_structures, dice, iou


def test_shifted_boxes() -> None:
    a = np.zeros((1, 2, 8, 8), np.uint8)
    b = a.copy()
    a[:, :, :, 0:4], b[:, :, :, 1:5] = 1, 1  # 3 of 4 columns shared
    assert dice(a, b, 1) == pytest.approx([0.75])
    assert iou(a, b, 1) == pytest.approx([0.6])


def test_frames_are_scored_apart_and_slices_together() -> None:
    a = np.zeros((2, 2, 4, 4), np.uint8)
    b = a.copy()
    a[0, 0], b[0] = 2, 2  # one slice of two
    a[1], b[1] = 2, 2
    assert dice(a, b, 2) == pytest.approx([2 / 3, 1])


def test_an_absent_structure_is_undefined_and_a_missed_one_scores_zero() -> None:
    a = np.zeros((1, 1, 3, 3), np.uint8)
    b = a.copy()
    assert np.isnan(dice(a, b, 3)).all()
    assert np.isnan(iou(a, b, 3)).all()
    b[:] = 3
    assert dice(a, b, 3) == [0]
    assert iou(b, a, 3) == [0]


def test_maps_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="different shapes"):
        dice(np.zeros((1, 1, 3, 3)), np.zeros((1, 1, 3, 4)), 1)


LABELS = arrays(np.uint8, (2, 2, 3, 3), elements=st.integers(0, 3))


@given(LABELS, LABELS, st.integers(1, 3))
def test_symmetric_and_tied_to_each_other(a: np.ndarray, b: np.ndarray, label: int) -> None:
    np.testing.assert_array_equal(dice(a, b, label), dice(b, a, label))
    share = iou(a, b, label)
    np.testing.assert_allclose(dice(a, b, label), 2 * share / (1 + share))


def test_the_box_about_all_structures_changes_no_overlap() -> None:
    a, b = np.zeros((4, 3, 20, 30), np.uint8), np.zeros((4, 3, 20, 30), np.uint8)
    a[:, 1:, 5:9, 10:14], b[:, :, 7:12, 3:12] = 1, 1
    small = about_structures(a, b)
    assert small[0].shape == small[1].shape == (4, 3, 7, 11)
    for measure in (dice, iou):
        np.testing.assert_array_equal(measure(*small, 1), measure(a, b, 1))
    nothing = about_structures(np.zeros_like(a), np.zeros_like(a))
    assert np.isnan(dice(*nothing, 1)).all()


@given(LABELS, LABELS, st.integers(1, 3))
def test_monai_finds_the_same_in_single_precision(a: np.ndarray, b: np.ndarray, label: int) -> None:
    """MONAI calls a structure that is in neither map perfect, or undefined wherever the second map has none."""
    both = [torch.from_numpy(labels == label)[:, None] for labels in (a, b)]
    somewhere = torch.stack(both).any(0).flatten(1).any(1).numpy()
    for ours, theirs in ((dice, compute_dice), (iou, compute_iou)):
        expected = np.where(somewhere, theirs(*both, ignore_empty=False)[:, 0].numpy(), np.nan)
        np.testing.assert_allclose(ours(a, b, label), expected, atol=1e-6, rtol=0)
