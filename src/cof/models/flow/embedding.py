"""The embedding of the cardiac phase."""

import math

import torch
from torch import Tensor, nn


class PhaseEmbedding(nn.Module):
    """Embedding of the phase: sines and cosines of whole harmonics of the cycle, through a two-layer perceptron.

    Because only whole harmonics enter, everything computed from this embedding is periodic: v(x, 1) = v(x, 0).
    """

    order: Tensor

    def __init__(self, harmonics: int, channels: int) -> None:
        super().__init__()
        self.register_buffer("order", torch.arange(1, harmonics + 1, dtype=torch.float32), persistent=False)
        self.layers = nn.Sequential(nn.Linear(2 * harmonics, channels), nn.SiLU(), nn.Linear(channels, channels))

    def forward(self, phase: Tensor) -> Tensor:
        """Map phases [...] (1 is a whole cycle) to embeddings [..., channels]."""
        angle = 2 * math.pi * torch.remainder(phase, 1.0)[..., None] * self.order
        return self.layers(torch.cat([angle.sin(), angle.cos()], -1))
