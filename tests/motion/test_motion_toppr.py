import pytest
import torch

from cof.motion.integrate import exponential
from cof.motion.resolution import motion_spacing
from cof.motion.toppr import Toppr, _resized

SPACING = (10.0, 3.6, 3.6)


def _loud(network: Toppr) -> Toppr:
    """The network with a head whose output is far beyond any max field."""
    torch.nn.init.normal_(network.head.weight, std=1e3)
    return network


@pytest.mark.parametrize("shape", [(8, 48, 48), (10, 64, 64), (12, 96, 96), (7, 34, 50)])
def test_output_lies_on_the_motion_grid_of_any_even_canonical_grid(shape):
    found = Toppr((4, 8, 8, 8), SPACING)(torch.rand(2, 1, *shape), torch.rand(2, 1, *shape))
    assert found.displacement.shape == (2, 3, shape[0], shape[1] // 2, shape[2] // 2)


@pytest.mark.parametrize("shape", [(10, 16, 16), (5, 16, 16), (9, 17, 25)])
@pytest.mark.parametrize("batch", [1, 3])
def test_features_are_interpolated_as_volumes_are(shape, batch):
    features = torch.rand(batch, 4, 5, 8, 8).contiguous(memory_format=torch.channels_last_3d)
    expected = torch.nn.functional.interpolate(features, size=shape, mode="trilinear", align_corners=False)
    torch.testing.assert_close(_resized(features, torch.Size(shape)), expected)


def test_an_untrained_network_finds_no_motion():
    found = Toppr((8, 16, 16), SPACING)(torch.rand(1, 1, 8, 48, 48), torch.rand(1, 1, 8, 48, 48))
    assert found.displacement.abs().max() < 1e-3
    assert found.saturation(30.0) == 0


@pytest.mark.parametrize("parameterisation", ["velocity", "displacement"])
def test_tanh_bounds_every_component_of_the_displacement(parameterisation):
    network = _loud(Toppr((4, 8), SPACING, parameterisation, "tanh", 12.0))
    found = network(torch.rand(2, 1, 6, 16, 16), torch.rand(2, 1, 6, 16, 16))
    assert 6 < found.displacement.abs().max() <= 12 * (1 + 1e-5)
    assert found.saturation(12.0) > 0.5


@pytest.mark.parametrize("max_field", ["hinge", "none"])
def test_without_tanh_the_field_is_free(max_field):
    network = _loud(Toppr((4, 8), SPACING, "displacement", max_field, 12.0))
    assert network(torch.rand(1, 1, 6, 16, 16), torch.rand(1, 1, 6, 16, 16)).displacement.abs().max() > 12


def test_velocity_is_integrated_on_the_motion_grid_and_displacement_is_not():
    images = torch.rand(2, 1, 1, 6, 16, 16)
    for parameterisation, integrated in (("velocity", True), ("displacement", False)):
        torch.manual_seed(0)
        network = _loud(Toppr((4, 8), SPACING, parameterisation))
        found = network(*images)
        expected = exponential(found.field, motion_spacing(SPACING)) if integrated else found.field
        assert torch.equal(found.displacement, expected)


def test_motion_is_in_single_precision_under_autocast():
    torch.manual_seed(0)
    network = Toppr((4, 8), SPACING)
    torch.nn.init.normal_(network.head.weight, std=0.1)
    images = torch.rand(2, 2, 1, 6, 16, 16)
    exact = network(*images).displacement
    with torch.autocast("cpu", torch.bfloat16):
        rounded = network(*images).displacement
    assert rounded.dtype == torch.float32
    assert 0 < (rounded - exact).norm() < 0.05 * exact.norm()
