"""Blur, ghosts, an open cycle and lost signal, put into a synthetic scan in known strength."""

import math

import numpy as np
import pytest
from scanned_phantom import Phantom
from scipy.ndimage import gaussian_filter

from cof.quality.coverage import outline
from cof.quality.image import Box, blur, box_about, closure, dropout, ghost


@pytest.fixture(scope="module")
def ventricle(phantom: Phantom) -> Box:
    return box_about(outline(phantom.labels[0]), phantom.spacing_mm)


@pytest.fixture(scope="module")
def heart(phantom: Phantom) -> Box:
    return box_about(phantom.labels[0] > 0, phantom.spacing_mm)


def test_box_has_its_margin_and_stays_inside() -> None:
    mask = np.zeros((2, 40, 40), bool)
    mask[1, 20:24, 2:5] = True
    assert box_about(mask, (10, 2, 2)) == (slice(15, 29), slice(0, 10))


def test_blur_rises_with_every_blurring(phantom: Phantom, ventricle: Box) -> None:
    anchor = phantom.frames[0].astype(float)
    found = [blur(gaussian_filter(anchor, (0, sigma, sigma)), ventricle) for sigma in (0, 0.5, 1, 2, 4)]
    assert all(np.diff(found) > 0.01)
    assert 0 < found[0] < found[-1] < 1


def test_blur_of_nothing_is_unknown() -> None:
    assert math.isnan(blur(np.ones((3, 40, 40)), (slice(0, 40), slice(0, 40))))
    assert math.isnan(blur(np.ones((3, 40, 40)), (slice(0, 8), slice(0, 40))))


@pytest.mark.parametrize("axis", [2, 3])
def test_ghost_measures_the_copy_that_was_put_in(phantom: Phantom, ventricle: Box, heart: Box, axis: int) -> None:
    frames = phantom.frames[:, 2:5].astype(np.float32)
    copy = np.roll(frames, frames.shape[axis] // 2, axis=axis)
    strengths = (0, 0.05, 0.1, 0.2, 0.4)
    found = [ghost(frames + strength * copy, ventricle, heart) for strength in strengths]
    assert found[0] < 0.01
    assert found == pytest.approx(strengths, abs=0.03)
    assert all(np.diff(found) > 0)


def test_ghost_out_of_phase_is_weaker_but_still_monotone(phantom: Phantom, ventricle: Box, heart: Box) -> None:
    frames = phantom.frames[:, 2:5].astype(np.float32)
    copy = np.roll(frames, frames.shape[2] // 2, axis=2) * np.exp(1j)
    found = [ghost(np.abs(frames + strength * copy), ventricle, heart) for strength in (0, 0.1, 0.2, 0.4)]
    assert all(np.diff(found) > 0.02)


def test_noise_and_still_tissue_make_no_ghost(phantom: Phantom, ventricle: Box, heart: Box) -> None:
    frames = phantom.frames[:, 2:5] + 50 * np.random.default_rng(0).standard_normal(phantom.frames[:, 2:5].shape)
    bright = np.roll(phantom.frames[0, 2:5], 72, axis=1)
    assert ghost((frames + bright).astype(np.float32), ventricle, heart) < 0.03


def test_ghost_without_room_or_motion_is_unknown(phantom: Phantom) -> None:
    everything = (slice(0, 144), slice(0, 144))
    assert math.isnan(ghost(phantom.frames[:, 2:5], everything, everything))
    assert math.isnan(ghost(phantom.frames[:2, 2:5], everything, everything))
    assert math.isnan(ghost(np.ones((5, 1, 60, 60)), (slice(20, 30),) * 2, (slice(20, 30),) * 2))


def test_closure_of_a_known_motion() -> None:
    """A pixel that rises by 1 a frame: the way back is as long as all steps together."""
    frames = np.broadcast_to(np.arange(6.0)[:, None, None, None], (6, 2, 4, 4))
    box = (slice(0, 4), slice(0, 4))
    assert closure(frames, box) == pytest.approx(5)
    assert closure(np.concatenate([frames, frames[-2:0:-1]]), box) == pytest.approx(1)
    assert math.isnan(closure(np.ones((6, 2, 4, 4)), box))
    assert math.isnan(closure(frames[:2], box))


def test_a_cycle_cut_in_systole_does_not_close(phantom: Phantom, ventricle: Box) -> None:
    cut = [closure(phantom.frames[:kept], ventricle) for kept in (4, 5, 6)]
    assert closure(phantom.frames, ventricle) < 1 < min(cut)


def test_dropout_measures_the_lost_share(phantom: Phantom) -> None:
    assert dropout(phantom.frames) < 0.1
    for lost in (0.3, 0.6, 1.0):
        frames = phantom.frames.astype(float)
        frames[3, 4] *= 1 - lost
        assert dropout(frames) == pytest.approx(lost, abs=0.06)


def test_a_dark_slice_is_a_dropout(phantom: Phantom) -> None:
    frames = phantom.frames.astype(float)
    frames[:, 4] *= 0.5
    assert dropout(frames) == pytest.approx(0.5, abs=0.06)
    frames[:, 4] = 0
    assert dropout(frames) == pytest.approx(1)


def test_even_intensities_have_no_dropout() -> None:
    assert dropout(np.full((4, 5, 6, 6), 7)) == 0
