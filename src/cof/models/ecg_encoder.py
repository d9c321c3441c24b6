"""ECG encoder: from one R-R cycle of twelve leads to tokens around the cycle and one global code."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from cof.ecg.features import FEATURES

LEADS = 12


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(8, channels), channels)


class CircularBlock(nn.Module):
    """Pre-activation residual block of 1-D convolutions, with circular padding, because the cycle is periodic.

    The residual stream itself is never normalised, so the code still depends on the amplitudes in millivolts.
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
        """Map a signal [B, inputs, L] to [B, outputs, L / stride]."""
        shortcut = functional.avg_pool1d(signal, self.stride) if self.stride > 1 else signal
        return self.skip(shortcut) + self.body(signal)


class EcgEncoder(nn.Module):
    """1-D residual network over the R-R cycle, with attention pooling.

    The stem and every stage after the first halve the number of samples, so a cycle of L samples becomes
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
        """Encode R-R cycles.

        Args:
            beat: [B, 12, L] mV, one R-R cycle.

        Returns:
            Tokens [B, E, S] around the cycle, and their attention-pooled sum [B, E].
        """
        tokens = self.project(functional.silu(self.stages(self.stem(beat))))
        weight = torch.softmax(self.score(torch.tanh(tokens)), -1)
        return tokens, (weight * tokens).sum(-1)


class FeatureEncoder(nn.Module):
    """Small network on scalar features of an ECG, each normalised by its mean and SD in the training data.

    A feature that could not be measured gets the mean of the training data.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, embedding: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(len(FEATURES)))
        self.register_buffer("sd", torch.ones(len(FEATURES)))
        self.body = nn.Sequential(nn.Linear(len(FEATURES), embedding), nn.SiLU(), nn.Linear(embedding, embedding))

    def learn_scale(self, features: Tensor) -> None:
        """Set mean and SD from training features [N, 12]; ignore features that are never measured or constant."""
        measured = features.isfinite()
        count = measured.sum(0)
        self.mean.copy_(features.nan_to_num().sum(0) / count.clamp(min=1))
        square = torch.where(measured, features - self.mean, 0.0).square().sum(0) / count.clamp(min=1)
        self.sd.copy_(torch.where(square > 0, square.sqrt(), torch.inf))

    def forward(self, features: Tensor) -> Tensor:
        """Map features [B, 12] to a code [B, E]."""
        return self.body(((features - self.mean) / self.sd).nan_to_num())


def tokens_at(tokens: Tensor, phase: Tensor) -> Tensor:
    """Interpolate tokens at given phases, linearly and periodically.

    Args:
        tokens: [B, E, S]; token s represents the samples of the cycle around phase s / S.
        phase: [B, P]; 1 is a whole cycle.

    Returns:
        [B, P, E].
    """
    count = tokens.shape[-1]
    place = torch.remainder(phase, 1.0) * count
    left = place.floor()
    share = (place - left)[:, None]
    left_index = left.long().remainder(count)[:, None].expand(-1, tokens.shape[1], -1)
    right_index = (left_index + 1).remainder(count)
    tokens = tokens.to(share)  # under autocast they are in half precision
    return torch.lerp(tokens.gather(-1, left_index), tokens.gather(-1, right_index), share).transpose(1, 2)
