import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cof.config.baselines import FlowAutoencoderSettings
from cof.models.video.flow_autoencoder import FlowAutoencoder, autoencoder_loss, pulled, shown

SETTINGS = FlowAutoencoderSettings(channels=(4, 8, 16), blocks=1)


def made(seed=0):
    torch.manual_seed(seed)
    return FlowAutoencoder(SETTINGS)


def wave(y, x):
    return torch.sin(y / 5) + torch.cos(x / 7)


@given(dy=st.floats(-2, 2), dx=st.floats(-2, 2))
@settings(max_examples=20, deadline=None)
def test_a_known_flow_shifts_features_by_itself(dy, dx):
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(12.0), indexing="ij")
    flow = torch.tensor([dy, dx])[None, :, None, None].expand(1, 2, 16, 12)
    found = pulled(wave(y, x)[None, None], flow)[0, 0]
    inside = found[2:-2, 2:-2]
    torch.testing.assert_close(inside, wave(y + dy, x + dx)[2:-2, 2:-2], atol=0.01, rtol=0)


def test_a_flow_in_quarter_voxels_is_four_times_as_many_pixels():
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    ramp = torch.stack([y, x])[None]
    flow = torch.tensor([0.5, -0.25])[None, :, None, None].expand(1, 2, 8, 8)
    inside = (slice(None), slice(None), slice(4, -4), slice(4, -4))
    torch.testing.assert_close((pulled(ramp, flow) - ramp)[inside][0, :, 5, 5], torch.tensor([2.0, -1.0]))
    halves = torch.nn.functional.avg_pool2d(ramp, 2)
    torch.testing.assert_close((pulled(halves, flow) - halves)[0, :, 8, 8], torch.tensor([2.0, -1.0]))


def test_a_flow_that_varies_pulls_every_place_by_its_own():
    generator = torch.Generator().manual_seed(0)
    features, flow = torch.rand(2, 3, 8, 8, generator=generator), torch.zeros(2, 2, 8, 8)
    flow[0, 1, 2, 3], flow[1, 0, 5, 5] = 2.0, -3.0
    found = pulled(features, flow)
    expected = features.clone()
    expected[0, :, 2, 3], expected[1, :, 5, 5] = features[0, :, 2, 5], features[1, :, 2, 5]
    torch.testing.assert_close(found, expected)


def test_no_flow_and_full_visibility_give_the_anchor_and_its_features():
    network, anchor = made(), torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(1))
    features = network.features(anchor)
    assert [tuple(level.shape) for level in features] == [(2, 4, 32, 48), (2, 8, 16, 24), (2, 16, 8, 12)]
    motion = torch.zeros(2, 3, 5, 8, 12)
    motion[:, 2] = 1
    for level in features:
        torch.testing.assert_close(shown(level, torch.full_like(level, 7.0), motion[:, :, 0]), level)
    frames = network.draw(anchor, features, motion)
    torch.testing.assert_close(frames, anchor[:, 1:2].expand(-1, 5, -1, -1))
    # What is not visible is not taken from the anchor, at no level.
    motion[:, 2] = 0
    torch.testing.assert_close(
        shown(features[0], torch.full_like(features[0], 7.0), motion[:, :, 0]).mean(), torch.tensor(7.0)
    )
    hidden = network.draw(anchor, features, motion)
    assert hidden.std() < 0.05  # of a constant, nothing but the borders of the convolutions
    torch.testing.assert_close(hidden, network.draw(anchor.flip(0), [level.flip(0) for level in features], motion))


def test_a_known_shift_of_the_anchor_comes_out_of_the_generator():
    network, anchor = made(), torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    motion = torch.zeros(1, 3, 2, 8, 8)
    motion[:, 2] = 1
    motion[:, 0, 1] = 0.75  # quarter voxels: three rows
    frames = network.draw(anchor, network.features(anchor), motion)
    torch.testing.assert_close(frames[0, 0], anchor[0, 1])
    torch.testing.assert_close(frames[0, 1, :-3], anchor[0, 1, 3:], atol=1e-5, rtol=0)


def test_it_learns_to_give_back_a_beating_heart_and_finds_its_motion(beating_hearts):
    heart = beating_hearts(1, frames=8, amplitude=8.0, end_systole=0.5)[0]
    anchor = torch.from_numpy(heart.anchor[[0, 1, 2]])[None]
    frames = torch.from_numpy(heart.cine[:, 1])[None]
    network = made().train()
    optimiser = torch.optim.Adam(network.parameters(), 5e-3)
    losses = []
    for _ in range(50):
        optimiser.zero_grad()
        found = autoencoder_loss(network, anchor, frames)
        found.value.backward()
        optimiser.step()
        losses.append(float(found.value.detach()))
    print(losses[0], losses[-1])
    assert losses[-1] < 0.5 * losses[0]
    with torch.no_grad():
        flow = network.eval().motion(anchor, frames)[0, :2].numpy()
    true = heart.displacement[:, 1:, 1].astype(np.float32).reshape(8, 2, 8, 2, 8, 2).mean((3, 5)).swapaxes(0, 1) / 16
    moving = np.abs(true).max((0, 1)) > 0.1
    correlation = np.corrcoef(flow[:, 4, moving].ravel(), true[:, 4, moving].ravel())[0, 1]
    print(correlation, np.abs(flow[:, 0]).max(), np.abs(flow[:, 4]).max())
    assert correlation > 0.5
    assert np.abs(flow[:, 0]).mean() < 0.3 * np.abs(flow[:, 4]).mean()


@pytest.mark.parametrize("rows", [16, 48])
def test_motion_is_at_a_quarter_and_visibility_a_share(rows):
    motion = made().motion(torch.rand(2, 3, rows, 32), torch.rand(2, 5, rows, 32))
    assert motion.shape == (2, 3, 5, rows // 4, 8)
    assert motion[:, :2].abs().max() < 0.1  # untrained: hardly moved
    assert (motion[:, 2] - 0.5).abs().max() < 0.1
