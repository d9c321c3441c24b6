import pytest
import torch

from cof.config.baselines import MaskedTransformerSettings
from cof.models.video.token_transformer import MaskedTransformer

CODES = 12


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    settings = MaskedTransformerSettings(width=16, layers=2, heads=2, ecg_channels=(8, 8))
    return MaskedTransformer(settings, CODES).eval()


def condition(network, keep=(True, True), **changes):
    torch.manual_seed(1)
    inputs = {
        "anchor": torch.randint(CODES, (2, 3, 3, 4)),
        "position": torch.tensor([0.1, 0.8]),
        "beat": torch.randn(2, 12, 64),
        "rr_ms": torch.tensor([800.0, 1000.0]),
    }
    return network.encode(**inputs | changes, keep=torch.tensor(keep))


def video():
    torch.manual_seed(2)
    return torch.randint(CODES, (2, 2, 3, 4)).masked_fill(torch.rand(2, 2, 3, 4) < 0.5, CODES)


def test_every_place_sees_every_other_one_before_and_after(network):
    tokens, given = video().requires_grad_(False), condition(network)
    with torch.no_grad():
        before = network(tokens, given)
        assert before.shape == (2, 2, 3, 4, CODES)
        for place in ((0, 0, 0), (1, 2, 3)):
            changed = tokens.clone()
            changed[(0, *place)] = (tokens[(0, *place)] + 1) % CODES
            moved = (network(changed, given) - before).abs().amax(-1)
            assert (moved[0] > 0).all()
            assert (moved[1] == 0).all()


@torch.no_grad()
def test_prefix_channels_and_place_in_the_stack_reach_the_video(network):
    tokens = video()
    before = network(tokens, condition(network))
    torch.manual_seed(1)
    anchor = torch.randint(CODES, (2, 3, 3, 4))
    assert torch.equal(before, network(tokens, condition(network, anchor=anchor)))
    for channel in range(3):
        other = anchor.clone()
        other[:, channel] = (other[:, channel] + 1) % CODES
        assert not torch.equal(before, network(tokens, condition(network, anchor=other)))
    swapped = anchor[:, [2, 1, 0]]  # the neighbours are not interchangeable
    assert not torch.allclose(before, network(tokens, condition(network, anchor=swapped)))
    assert not torch.equal(before, network(tokens, condition(network, position=torch.tensor([0.1, 0.5]))))


@torch.no_grad()
def test_a_dropped_ecg_leaves_no_trace(network):
    tokens, other = video(), torch.randn(2, 12, 64)
    for change in ({"beat": other}, {"rr_ms": torch.tensor([500.0, 600.0])}):
        kept = [network(tokens, condition(network, (True, False), **changes)) for changes in ({}, change)]
        assert not torch.equal(kept[0][0], kept[1][0])
        assert torch.equal(kept[0][1], kept[1][1])


@torch.no_grad()
def test_the_anchor_tells_most_about_the_video_at_its_own_place(network):
    tokens = torch.full((2, 2, 3, 4), CODES)
    torch.manual_seed(1)
    anchor = torch.randint(CODES, (2, 3, 3, 4))
    other = anchor.clone()
    other[:, :, 1, 2] = (other[:, :, 1, 2] + 1) % CODES
    moved = network(tokens, condition(network, anchor=other)) - network(tokens, condition(network, anchor=anchor))
    size = moved.norm(dim=-1).mean((0, 1))
    assert size.argmax() == 1 * 4 + 2
    assert size[1, 2] > 3 * size.flatten().sort().values[-2]
