"""Bidirectional transformer that predicts masked video tokens from the anchor's tokens and the ECG."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cof.config.baselines import MaskedTransformerSettings
from cof.models.video.ecg_context import HARMONICS, EcgContext, harmonics
from cof.models.video.slices import NEIGHBOURS, PositionEmbedding

# Half waves along rows and columns in the embedding of a token's position.
WAVES = 12


@dataclass(frozen=True)
class Condition:
    """The encoded condition of the masked tokens.

    Attributes:
        prefix: [B, P, W], embedded tokens of the anchor.
        memory: [B, S + 1, W], context of the ECG, for cross-attention.
    """

    prefix: Tensor
    memory: Tensor


class MaskedTransformer(nn.Module):
    """A bidirectional transformer over tokens of anchor and video, some masked, with cross-attention to the ECG.

    The three slices of the anchor are three channels of one prefix: each has its own table of embeddings, and their sum
    is put before the video. The sum is also added to the video's tokens at the same rows and columns: without this, the
    transformer would need a longer training than ours to find by attention that most tokens equal those of the anchor.
    Positions on the token grid are embedded by half waves along rows and columns, and by whole harmonics of the phase,
    which are periodic; ECG tokens have the same harmonics of their phase.

    Attributes:
        mask: number of the mask token, equal to the number of codes.
    """

    def __init__(self, settings: MaskedTransformerSettings, codes: int) -> None:
        super().__init__()
        width = settings.width
        self.mask = codes
        self.embed = nn.Embedding(codes + 1, width)
        self.embed_anchor = nn.ModuleList(nn.Embedding(codes, width) for _ in range(NEIGHBOURS))
        for table in (self.embed, *self.embed_anchor):
            nn.init.normal_(table.weight, std=0.02)  # type: ignore[arg-type]
        self.place = nn.Linear(2 * WAVES + 2 * HARMONICS, width)
        self.place_anchor = nn.Linear(2 * WAVES, width)
        self.position = PositionEmbedding(width)
        self.ecg = EcgContext(settings.ecg_channels, width)
        self.layers = nn.ModuleList(
            nn.TransformerDecoderLayer(
                width, settings.heads, 4 * width, dropout=0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(settings.layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, codes)

    def encode(self, anchor: Tensor, position: Tensor, beat: Tensor, rr_ms: Tensor, keep: Tensor) -> Condition:
        """Encode the condition, which is the same in all decoding steps.

        Args:
            anchor: [B, 3, h, w], tokens of the anchor's slices z - 1, z, z + 1.
            position: [B], position of the slice in the stack, z / Z.
            beat: [B, 12, L] mV.
            rr_ms: [B].
            keep: bool [B]; where false, the null condition replaces the ECG.
        """
        _, channels, h, w = anchor.shape
        embedded = torch.stack([self.embed_anchor[index](anchor[:, index]) for index in range(channels)]).sum(0)
        prefix = embedded + self.place_anchor(_plane(h, w, anchor.device)) + self.position(position)[:, None, None]
        return Condition(prefix.flatten(1, 2), self.ecg(beat, rr_ms, keep))

    def forward(self, tokens: Tensor, condition: Condition) -> Tensor:
        """Compute logits [B, t, h, w, codes] for tokens [B, t, h, w], of which some are `mask`."""
        _, t, h, w = tokens.shape
        middle = (torch.arange(t, device=tokens.device) + 0.5) / t
        phases = harmonics(middle)[:, None, None].expand(-1, h, w, -1)
        places = torch.cat([phases, _plane(h, w, tokens.device).expand(t, -1, -1, -1)], -1)
        anchor = condition.prefix.unflatten(1, (1, h, w))
        video = (self.embed(tokens) + self.place(places) + anchor).flatten(1, 3)
        sequence = torch.cat([condition.prefix, video], 1)
        for layer in self.layers:
            sequence = layer(sequence, condition.memory)
        found = sequence[:, condition.prefix.shape[1] :]
        return self.head(self.norm(found)).unflatten(1, (t, h, w))


def _plane(h: int, w: int, device: torch.device) -> Tensor:
    """Return half waves along rows and columns at the voxels of a plane: [h, w, 2 WAVES]."""

    def waves(size: int) -> Tensor:
        middle = (torch.arange(size, device=device) + 0.5) / size
        return torch.cos(math.pi * middle[:, None] * torch.arange(1, WAVES + 1, device=device))

    return torch.cat([waves(h)[:, None].expand(-1, w, -1), waves(w)[None].expand(h, -1, -1)], -1)
