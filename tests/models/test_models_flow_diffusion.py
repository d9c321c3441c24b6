import pytest
import torch

from cof.config.baselines import FlowDiffusionSettings
from cof.models.video.flow_diffusion import FlowDiffusion


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
