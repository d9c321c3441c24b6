"""One volume through `cof.motion.convolution.Conv3d`: the same sums as torch's own, by another kernel."""

import pytest
import torch
from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet
from torch import nn

from cof.motion.convolution import Conv3d, with_fast_volumes


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("stride", [(1, 1, 1), (1, 2, 2)])
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients_are_those_of_torch(form: torch.memory_format, stride: tuple, bias: bool) -> None:
    torch.manual_seed(0)
    ours = Conv3d(4, 6, (3, 4, 4), stride=stride, padding=1, bias=bias).to(memory_format=form)  # type: ignore[call-overload]
    theirs = nn.Conv3d(4, 6, (3, 4, 4), stride=stride, padding=1, bias=bias)
    theirs.load_state_dict(ours.state_dict())
    found, wanted = [], []
    for layer, kept in ((ours, found), (theirs, wanted)):
        volume = torch.linspace(-1, 1, 4 * 5 * 8 * 8).sin().reshape(1, 4, 5, 8, 8).requires_grad_()
        made = layer(volume)
        made.square().sum().backward()
        kept += [made, volume.grad, *(parameter.grad for parameter in layer.parameters())]
    for one, other in zip(found, wanted):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_it_takes_the_kernel_of_onednn_for_one_volume() -> None:
    volume = torch.zeros(1, 4, 5, 8, 8)
    with torch.profiler.profile() as profile, torch.no_grad():
        Conv3d(4, 4, 3)(volume)
    called = {event.key for event in profile.key_averages()}
    assert "aten::mkldnn_convolution" in called
    assert "aten::slow_conv3d_forward" not in called


def test_another_librarys_network_keeps_weights_and_results() -> None:
    torch.manual_seed(0)
    network = DiffusionModelUNet(
        spatial_dims=3,
        in_channels=2,
        out_channels=1,
        channels=(8, 16),
        attention_levels=(False, True),
        norm_num_groups=8,
        num_head_channels=8,
        num_res_blocks=1,
    )
    nn.init.normal_(network.out[-1].conv.weight)  # type: ignore[arg-type]
    volume, level = torch.randn(1, 2, 8, 16, 16), torch.tensor([3])
    state, before = {name: value.clone() for name, value in network.state_dict().items()}, network(volume, level)
    assert with_fast_volumes(network) is network
    assert {type(layer) for layer in network.modules() if isinstance(layer, nn.Conv3d)} == {Conv3d}
    assert network.state_dict().keys() == state.keys()
    torch.testing.assert_close(network(volume, level), before, rtol=1e-4, atol=1e-4)
    with torch.profiler.profile() as profile, torch.no_grad():
        network(volume, level)
    assert "aten::slow_conv3d_forward" not in {event.key for event in profile.key_averages()}
