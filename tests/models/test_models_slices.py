from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cof.cine.grid import INTENSITY_UNIT
from cof.config.baselines import SliceVideoSettings
from cof.config.training import AffineSettings
from cof.models.video.slices import PositionEmbedding, SliceBatch, Slices, slice_videos, stacked

VALID = (False, True, True, True, False)
SETTINGS = SliceVideoSettings(batch=3, video_frames=8, augmentation=None)


def numbered(heart, valid=VALID, frames=4):
    """A heart whose voxels are z / 10 in the anchor and beat by a cosine of the phase."""
    depth = np.arange(heart.anchor.shape[0], dtype=np.float32)[:, None, None] / 10
    anchor = np.broadcast_to(depth, heart.anchor.shape).copy()
    wave = 0.1 * np.cos(2 * np.pi * np.arange(frames, dtype=np.float32) / frames)[:, None, None, None]
    return replace(heart, anchor=anchor, cine=anchor + wave, placement=replace(heart.placement, valid=valid), ef_pct=55)


def test_a_stack_knows_its_places_and_neighbours_and_repeats_its_ends(toy_hearts):
    batch = SliceBatch.of_stack(numbered(toy_hearts(1)[0]))
    assert batch.anchor.shape == (3, 3, 32, 32)
    np.testing.assert_allclose(batch.position, [0.2, 0.4, 0.6])
    np.testing.assert_allclose(batch.anchor[:, :, 0, 0], [[0.1, 0.1, 0.2], [0.1, 0.2, 0.3], [0.2, 0.3, 0.3]])
    assert batch.video is None
    assert batch.beat.shape == (3, 12, 128)
    assert batch.ef_pct.tolist() == [55] * 3


def test_a_slice_has_its_own_video_at_the_phases_asked_for(toy_hearts):
    heart = numbered(toy_hearts(1)[0])
    for share, z in ((0.0, 1), (0.34, 2), (0.99, 3)):
        batch = SliceBatch.of_slice(heart, share, 8)
        expected = z / 10 + 0.1 * np.array([1, 0.5, 0, -0.5, -1, -0.5, 0, 0.5])  # linear between the four knots
        np.testing.assert_allclose(batch.video[0, 0, :, 5, 7], expected, atol=1e-6)
        np.testing.assert_allclose(batch.anchor[0, 1], z / 10, atol=1e-6)


def test_stored_integers_are_intensities(toy_hearts):
    heart = numbered(toy_hearts(1)[0])
    stored = replace(heart, cine=np.rint(heart.cine / INTENSITY_UNIT).astype(np.int16))
    chosen = np.array([1, 3])
    np.testing.assert_allclose(slice_videos(stored, chosen, 8), slice_videos(heart, chosen, 8), atol=INTENSITY_UNIT)
    with pytest.raises(ValueError, match="no cine"):
        slice_videos(replace(heart, cine=None), chosen, 8)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.booleans(), min_size=5, max_size=5).filter(any), st.sampled_from([4, 8, 16]))
def test_cutting_and_stacking_is_a_round_trip(toy_hearts, valid, frames):
    heart = numbered(toy_hearts(1)[0], tuple(valid))
    videos = slice_videos(heart, np.flatnonzero(valid), frames)
    cine = stacked(videos, heart, 4)
    expected = np.where(np.array(valid)[:, None, None], heart.cine.clip(0, 1), heart.anchor)
    np.testing.assert_allclose(cine, expected, atol=1e-6)


def test_what_leaves_the_range_of_intensities_is_clipped(toy_hearts):
    heart = numbered(toy_hearts(1)[0])
    cine = stacked(torch.full((3, 1, 8, 32, 32), 1.7), heart, 4)
    assert cine[:, 1:4].unique().tolist() == [1.0]


def test_an_iteration_decides_its_slices_and_every_valid_slice_is_drawn(toy_hearts):
    hearts = [numbered(heart) for heart in toy_hearts(4)]
    source, again = Slices(hearts, hearts[:2], SETTINGS, 7), Slices(hearts, hearts[:2], SETTINGS, 7)
    drawn = [source.draw(iteration) for iteration in range(1, 41)]
    assert again.draw(25) == drawn[24]
    assert all(len({item.example for item in items}) == 3 for items in drawn)
    assert len({item.seed for items in drawn for item in items}) == 120
    places = torch.cat([source.load(items).position for items in drawn])
    counts = torch.bincount((places * 5).round().long(), minlength=5).tolist()
    assert counts[0] == counts[4] == 0
    assert min(counts[1:4]) > 25
    assert len(source.held_out) == 6
    np.testing.assert_allclose(source.load(source.held_out[:3]).position, [0.2, 0.4, 0.6])


def test_anchor_and_video_move_together(toy_hearts):
    hearts = toy_hearts(3)  # their cines are still
    augmented = SETTINGS.model_copy(update={"augmentation": AffineSettings()})
    source = Slices(hearts, [], augmented, 0)
    batch, plain = source.load(source.draw(1)), Slices(hearts, [], SETTINGS, 0)
    for frame in range(8):
        torch.testing.assert_close(batch.video[:, 0, frame], batch.anchor[:, 1])
    assert (batch.anchor - plain.load(plain.draw(1)).anchor).abs().max() > 0.1


def test_base_and_apex_are_different_places():
    torch.manual_seed(0)
    embedding = PositionEmbedding(16)(torch.tensor([0.0, 0.999, 0.5]))
    assert embedding.shape == (3, 16)
    assert torch.pdist(embedding).min() > 0.05
