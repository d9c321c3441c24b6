"""The ECG as the context of cross-attention, with a null condition for a dropped ECG."""

import math

import torch
from torch import Tensor, nn

from cof.models.ecg_encoder import EcgEncoder

HARMONICS = 4


def harmonics(phase: Tensor) -> Tensor:
    """Map phases [N] to sines and cosines of whole harmonics of the cycle, [N, 2 HARMONICS]."""
    angle = 2 * math.pi * phase[:, None] * torch.arange(1, HARMONICS + 1, device=phase.device)
    return torch.cat([angle.sin(), angle.cos()], -1)


class EcgContext(nn.Module):
    """Context of an ECG: tokens around the cycle with their phase, and one token of the pooled code and RR interval.

    For a dropped ECG, all tokens are a learnt null condition; classifier-free guidance needs this in training.
    """

    def __init__(self, channels: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.encoder = EcgEncoder(channels, width)
        self.phase = nn.Linear(2 * HARMONICS, width)
        self.rate = nn.Linear(1, width)
        self.null = nn.Parameter(0.02 * torch.randn(width))

    def forward(self, beat: Tensor, rr_ms: Tensor, keep: Tensor) -> Tensor:
        """Return contexts [B, S + 1, W].

        Args:
            beat: [B, 12, L] mV.
            rr_ms: [B].
            keep: bool [B]; where false, the null condition replaces the ECG.
        """
        tokens, code = self.encoder(beat)
        count = tokens.shape[-1]
        tokens = tokens.transpose(1, 2) + self.phase(harmonics(torch.arange(count, device=tokens.device) / count))
        code = code + self.rate((rr_ms / 1000).log()[:, None])
        return torch.where(keep[:, None, None], torch.cat([tokens, code[:, None]], 1), self.null)
