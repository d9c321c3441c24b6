"""The ECG encoder: one R-R cycle of twelve leads to tokens around the cycle and one global code."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

LEADS = 12


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(8, channels), channels)


class CircularBlock(nn.Module):
    """A pre-activation residual block of 1-D convolutions; the cycle has no ends, so padding is circular.

    The residual stream itself is never normalised, so that amplitudes in millivolts survive to the code.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _norm(inputs),
            nn.SiLU(),
            nn.Conv1d(inputs, outputs, 3, stride=stride, padding=1, padding_mode="circular"),
            _norm(outputs),
            nn.SiLU(),
            nn.Conv1d(outputs, outputs, 3, padding=1, padding_mode="circular"),
        )
        self.skip = nn.Conv1d(inputs, outputs, 1)
        self.stride = stride

    def forward(self, signal: Tensor) -> Tensor:
        """[B, inputs, L] to [B, outputs, L / stride]."""
        shortcut = functional.avg_pool1d(signal, self.stride) if self.stride > 1 else signal
        return self.skip(shortcut) + self.body(signal)


class EcgEncoder(nn.Module):
    """A 1-D residual network over the R-R cycle with attention pooling.

    The stem and every stage after the first halve the sampling, so a cycle of L samples becomes
    S = L / 2^len(channels) tokens.
    """

    def __init__(self, channels: tuple[int, ...], embedding: int) -> None:
        super().__init__()
        self.stem = nn.Conv1d(LEADS, channels[0], 7, stride=2, padding=3, padding_mode="circular")
        widths = zip((channels[0], *channels[:-1]), channels)
        self.stages = nn.Sequential(*(CircularBlock(a, b, 1 if i == 0 else 2) for i, (a, b) in enumerate(widths)))
        self.project = nn.Conv1d(channels[-1], embedding, 1)
        self.score = nn.Conv1d(embedding, 1, 1)

    def forward(self, beat: Tensor) -> tuple[Tensor, Tensor]:
        """Encode cycles.

        Args:
            beat: [B, 12, L] mV, one R-R cycle.

        Returns:
            tokens [B, E, S] around the cycle, and their attention-pooled sum [B, E].
        """
        tokens = self.project(functional.silu(self.stages(self.stem(beat))))
        weight = torch.softmax(self.score(torch.tanh(tokens)), -1)
        return tokens, (weight * tokens).sum(-1)


def tokens_at(tokens: Tensor, phase: Tensor) -> Tensor:
    """Tokens at given phases by periodic linear interpolation.

    Args:
        tokens: [B, E, S]; token s covers the samples of the cycle around phase s / S.
        phase: [B, P], 1 is a whole cycle.

    Returns:
        [B, P, E].
    """
    count = tokens.shape[-1]
    place = torch.remainder(phase, 1.0) * count
    left = place.floor()
    share = (place - left)[:, None]
    left_index = left.long().remainder(count)[:, None].expand(-1, tokens.shape[1], -1)
    right_index = (left_index + 1).remainder(count)
    tokens = tokens.to(share)  # autocast leaves them in half precision
    return torch.lerp(tokens.gather(-1, left_index), tokens.gather(-1, right_index), share).transpose(1, 2)
