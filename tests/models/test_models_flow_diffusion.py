import math

import pytest
import torch

from cof.config.rivals import FlowDiffusionSettings
from cof.models.flow_diffusion import NOISE_LEVELS, FlowDiffusion, denoise, noising


@pytest.mark.parametrize("steps", [1, 4, 10, 18, 50])
def test_who_knows_the_motion_leads_noise_straight_to_it(steps):
    """Every call sees exactly the noise of the level that it is told."""
    generator = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(2, 3, 4, 2, 2, generator=generator) for _ in range(2))
    alphas, calls = noising().alphas_cumprod, []

    def knowing(sample, levels):
        alpha = alphas[levels[0]]
        # Starting from pure noise rather than from the last level's mixture is all that differs.
        torch.testing.assert_close(sample, alpha.sqrt() * clean + (1 - alpha).sqrt() * noise, atol=0.02, rtol=0)
        calls.append(int(levels[0]))
        return clean

    torch.testing.assert_close(denoise(knowing, noise, steps), clean, atol=1e-4, rtol=0)
    assert len(calls) == steps
    assert calls[0] == NOISE_LEVELS - 1


def test_noise_is_added_by_the_cosine_schedule():
    generator = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(4, 3, generator=generator) for _ in range(2))
    levels = torch.tensor([0, 300, 700, 998])
    angle = ((levels + 1) / NOISE_LEVELS + 0.008) / 1.008 * torch.pi / 2
    share = (angle.cos() / math.cos(0.008 / 1.008 * math.pi / 2))[:, None]
    noisy = noising().add_noise(clean, noise, levels)
    torch.testing.assert_close(noisy, share * clean + (1 - share.square()).sqrt() * noise, atol=2e-3, rtol=0)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = FlowDiffusion(FlowDiffusionSettings(channels=(8, 8), blocks=1, embedding=8, ecg_channels=(8, 8)), 4)
    for parameter in network.unet.parameters():
        if not parameter.any():  # MONAI begins with zeros where branches end
            torch.nn.init.normal_(parameter, std=0.1)
    return network.eval()


def test_scaling_goes_back_and_forth_and_keeps_visibility_a_share(network):
    network.scale.fill_(0.25)
    motion = torch.cat([torch.randn(2, 2, 4, 4, 4), torch.rand(2, 1, 4, 4, 4)], 1)
    sample = network.scaled(motion)
    torch.testing.assert_close(sample[:, :2], 4 * motion[:, :2])
    torch.testing.assert_close(sample[:, 2:], 2 * motion[:, 2:] - 1)
    torch.testing.assert_close(network.unscaled(sample), motion)
    assert network.unscaled(torch.full((1, 3, 1, 1, 1), 5.0))[0, 2] == 1


@torch.no_grad()
def test_anatomy_place_and_ecg_reach_the_motion_unless_the_ecg_was_dropped(network):
    generator = torch.Generator().manual_seed(3)

    def random(*shape):
        return torch.randn(shape, generator=generator)

    noisy, levels = random(2, 3, 4, 4, 4), torch.tensor([10, 900])
    given = {
        "anatomy": random(2, 4, 4, 4), "position": torch.tensor([0.1, 0.6]), "beat": random(2, 12, 64),
        "rr_ms": torch.tensor([800.0, 900.0]), "keep": torch.tensor([True, False]),
    }  # fmt: skip
    before = network(noisy, levels, network.encode(**given))
    assert before.shape == noisy.shape
    for name, other in (("anatomy", random(2, 4, 4, 4)), ("position", torch.tensor([0.9, 0.2]))):
        after = network(noisy, levels, network.encode(**given | {name: other}))
        assert ((after - before).abs().flatten(1).amax(1) > 1e-6).all()
    for name, other in (("beat", 3 * random(2, 12, 64)), ("rr_ms", torch.tensor([400.0, 400.0]))):
        after = network(noisy, levels, network.encode(**given | {name: other}))
        assert not torch.equal(after[0], before[0])
        assert torch.equal(after[1], before[1])
