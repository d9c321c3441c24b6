"""Convolution of volumes that is also fast for a batch of one on a CPU."""

from typing import TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


class Conv3d(nn.Conv3d):
    """`torch.nn.Conv3d` that uses oneDNN on a CPU also for a batch of one.

    For a batch of one in which channels x slices x rows is at most 20,480, ATen uses its own kernel, which takes about
    ten times as long (`use_mkldnn` in aten/src/ATen/native/Convolution.cpp). The generation of a heart is such a case.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        alone = len(input) == 1 and input.device.type == "cpu" and input.dtype == torch.float32
        plain = self.padding_mode == "zeros" and not isinstance(self.padding, str)
        if not (alone and plain and torch.backends.mkldnn.is_available()):
            return super()._conv_forward(input, weight, bias)
        return torch.mkldnn_convolution(input, weight, bias, self.padding, self.stride, self.dilation, self.groups)  # type: ignore[arg-type]


def with_fast_volumes(network: Network) -> Network:
    """Replace every `torch.nn.Conv3d` of a network by `Conv3d`, in place; weights and their names stay."""
    for module in network.modules():
        if type(module) is nn.Conv3d:
            module.__class__ = Conv3d
    return network
