"""One volume through `cof.motion.convolution.Conv3d`: the same sums as torch's own, by another kernel."""

import pytest
import torch
from torch import nn

from cof.motion.convolution import Conv3d


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
