"""Convolution of volumes, as fast for one volume as for several."""

from typing import TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


class Conv3d(nn.Conv3d):
    """`torch.nn.Conv3d`, which on a CPU hands every single volume to oneDNN, too.

    ATen leaves a batch of one whose channels, slices and rows number at most 20,480 to a kernel of its own that takes
    about ten times as long (`use_mkldnn` in aten/src/ATen/native/Convolution.cpp), and that is a heart to be generated.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        alone = len(input) == 1 and input.device.type == "cpu" and input.dtype == torch.float32
        plain = self.padding_mode == "zeros" and not isinstance(self.padding, str)
        if not (alone and plain and torch.backends.mkldnn.is_available()):
            return super()._conv_forward(input, weight, bias)
        return torch.mkldnn_convolution(input, weight, bias, self.padding, self.stride, self.dilation, self.groups)  # type: ignore[arg-type]


def with_fast_volumes(network: Network) -> Network:
    """A network of another library with every `torch.nn.Conv3d` in it a `Conv3d`; weights and their names stay."""
    for module in network.modules():
        if type(module) is nn.Conv3d:
            module.__class__ = Conv3d
    return network
