"""The bidirectional transformer that finds masked video tokens from the anchor's tokens and the ECG."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cof.config.baselines import MaskedTransformerSettings
from cof.models.video.ecg_context import HARMONICS, EcgContext, harmonics
from cof.models.video.slices import NEIGHBOURS, PositionEmbedding

# Half waves along rows and columns in the embedding of a token's place.
WAVES = 12


@dataclass(frozen=True)
class Condition:
    """What sequences are filled in against.

    Attributes:
        prefix: [B, P, W], the anchor's tokens, embedded.
        memory: [B, S + 1, W], the context that the ECG is.
    """

    prefix: Tensor
    memory: Tensor


class MaskedTransformer(nn.Module):
    """A bidirectional transformer over the anchor's tokens and a video's, some masked, with cross-attention to the ECG.

    The anchor's three neighbouring slices are three channels of one prefix: each has a table of embeddings, and their
    sum stands before the video. It is added to the video's tokens at the same rows and columns, too: to find there by
    attention what hardly differs from the anchor takes a training longer than ours. Places on the token grid are
    embedded as half waves along rows and columns and as whole harmonics of the phase, so that the cycle closes; ECG
    tokens have the same harmonics of theirs.

    Attributes:
        mask: the number of the mask token, one beyond the codes.
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
        """Encode what does not change while tokens are filled in.

        Args:
            anchor: tokens [B, 3, h, w] of the anchor's slices z - 1, z, z + 1.
            position: [B], the slice's place in the stack.
            beat: [B, 12, L] mV.
            rr_ms: [B].
            keep: bools [B]; where false, the null condition stands in the ECG's place.
        """
        _, channels, h, w = anchor.shape
        embedded = torch.stack([self.embed_anchor[index](anchor[:, index]) for index in range(channels)]).sum(0)
        prefix = embedded + self.place_anchor(_plane(h, w, anchor.device)) + self.position(position)[:, None, None]
        return Condition(prefix.flatten(1, 2), self.ecg(beat, rr_ms, keep))

    def forward(self, tokens: Tensor, condition: Condition) -> Tensor:
        """Logits [B, t, h, w, codes] at the places of tokens [B, t, h, w], of which some are `mask`."""
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
    """Half waves along rows and columns at the voxels of a plane, [h, w, 2 WAVES]."""

    def waves(size: int) -> Tensor:
        middle = (torch.arange(size, device=device) + 0.5) / size
        return torch.cos(math.pi * middle[:, None] * torch.arange(1, WAVES + 1, device=device))

    return torch.cat([waves(h)[:, None].expand(-1, w, -1), waves(w)[None].expand(h, -1, -1)], -1)
