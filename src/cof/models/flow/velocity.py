"""The conditional velocity field v_theta(x, t, c) of eq (8) of the paper, on the grid of the displacement."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from cof.config.flow import VelocitySettings
from cof.models.ecg_encoder import EcgEncoder, FeatureEncoder, tokens_at
from cof.models.flow.embedding import PhaseEmbedding
from cof.motion.convolution import Conv3d
from cof.motion.resolution import IN_PLANE

AXES = 3


def level_strides(levels: int) -> list[tuple[int, int, int]]:
    """Return the strides (z, y, x) between levels. A short-axis stack has few slices, so z is halved at most once."""
    return [(2, 2, 2) if level == 2 else (1, 2, 2) for level in range(levels - 1)]


def _conv(inputs: int, outputs: int, stride: tuple[int, int, int] = (1, 1, 1)) -> nn.Conv3d:
    return Conv3d(inputs, outputs, 3, stride=stride, padding=1)


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(8, channels), channels)


class FilmBlock(nn.Module):
    """Residual block whose second normalisation is scaled and shifted by the embedding of phase and ECG (FiLM)."""

    def __init__(self, inputs: int, outputs: int, embedding: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(_norm(inputs), nn.SiLU(), _conv(inputs, outputs))
        self.norm = _norm(outputs)
        self.film = nn.Linear(embedding, 2 * outputs)
        self.leave = nn.Sequential(nn.SiLU(), _conv(outputs, outputs))
        self.skip = Conv3d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, features: Tensor, embedding: Tensor) -> Tensor:
        """Map features [N, inputs, Z, Y, X] and embeddings [N, embedding] to [N, outputs, Z, Y, X]."""
        scale, shift = self.film(functional.silu(embedding))[:, :, None, None, None].chunk(2, 1)
        return self.skip(features) + self.leave(self.norm(self.enter(features)) * (1 + scale) + shift)


class FilmHead(nn.Module):
    """Last layer, also scaled and shifted by the embedding (FiLM).

    The speed of a heart varies a hundredfold over the cycle; without FiLM, the normalisation would remove this
    difference.
    """

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__()
        self.norm = _norm(channels)
        self.film = nn.Linear(embedding, 2 * channels)
        self.last = _conv(channels, AXES)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor, embedding: Tensor) -> Tensor:
        """Map features [N, channels, Z, Y, X] and embeddings [N, embedding] to [N, 3, Z, Y, X]."""
        scale, shift = self.film(functional.silu(embedding))[:, :, None, None, None].chunk(2, 1)
        return self.last(functional.silu(self.norm(features) * (1 + scale) + shift))


class Modes(nn.Module):
    """Last layer of a field of modes: the velocity is the sum over modes k of map m_k(x) times course a_k(t).

    Only the courses depend on the phase, and they are one number per mode and phase, so further phases of the same
    heart cost almost nothing.
    """

    def __init__(self, channels: int, embedding: int, modes: int) -> None:
        super().__init__()
        self.norm = _norm(channels)
        self.maps = _conv(channels, modes * AXES)
        self.courses = nn.Sequential(nn.SiLU(), nn.Linear(embedding, embedding), nn.SiLU(), nn.Linear(embedding, modes))
        nn.init.zeros_(self.maps.weight)
        nn.init.zeros_(self.maps.bias)  # type: ignore[arg-type]

    def spread(self, features: Tensor) -> Tensor:
        """Map features [B, channels, Z, Y, X] to the modes' maps [B, modes, 3, Z, Y, X]."""
        return self.maps(functional.silu(self.norm(features))).unflatten(1, (-1, AXES))

    def forward(self, embedding: Tensor) -> Tensor:
        """Map embeddings of phases [B, P, E] to the modes' courses [B, P, modes]."""
        return self.courses(embedding)


class AnatomyEncoder(nn.Module):
    """Encoder of the anchor volume to reference-anatomy features (REA), one feature map per level of the U-Net."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        # The displacement has half the in-plane resolution of the anchor, so the first level halves the anchor.
        strides = [(1, 2, 2), *level_strides(len(channels))]
        widths = zip((1, *channels[:-1]), channels, strides)
        self.levels = nn.ModuleList(
            nn.Sequential(_conv(a, b, stride), _norm(b), nn.SiLU(), _conv(b, b), _norm(b), nn.SiLU())
            for a, b, stride in widths
        )

    def forward(self, anchor: Tensor) -> list[Tensor]:
        """Map anchors [B, Z, Y, X] in [0, 1] to features [B, C_l, Z_l, Y_l, X_l] of every level l, finest first."""
        features, maps = anchor[:, None], []
        for level in self.levels:
            features = level(features)
            maps.append(features)
        return maps


class Fusion(nn.Module):
    """Fusion h + Conv1x1(cat(h, r)) of the features h of every phase with the reference features r of the subject.

    The convolution of the concatenation is written as the sum of two convolutions, so that the one of r is computed
    once for all phases of a subject.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.own = Conv3d(channels, channels, 1)
        self.reference = Conv3d(channels, channels, 1, bias=False)

    def forward(self, features: Tensor, reference: Tensor) -> Tensor:
        """Fuse features [B * P, C, Z, Y, X] with reference features [B, C, Z, Y, X] to [B * P, C, Z, Y, X]."""
        phases = len(features) // len(reference)
        return features + self.own(features) + per_phase(self.reference(reference), phases)


def per_phase(values: Tensor, phases: int) -> Tensor:
    """Repeat a subject's values [B, ...] for each of its phases: [B * P, ...]."""
    return values.repeat_interleave(phases, 0)


class BottleneckAttention(nn.Module):
    """Self-attention over the voxels of the coarsest level."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _norm(channels)
        self.attend = nn.MultiheadAttention(channels, math.gcd(4, channels), batch_first=True)

    def forward(self, features: Tensor) -> Tensor:
        """Map features [N, C, Z, Y, X] to the same shape."""
        sequence = self.norm(features).flatten(2).transpose(1, 2)
        attended, _ = self.attend(sequence, sequence, sequence, need_weights=False)
        return features + attended.transpose(1, 2).reshape(features.shape)


class AbsentEcg(nn.Module):
    """Learnt replacements of the tokens and the code of an absent ECG, the same at every phase."""

    def __init__(self, embedding: int) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.zeros(embedding))
        self.code = nn.Parameter(torch.zeros(embedding))

    def forward(self, tokens: Tensor, code: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Replace tokens [B, E, S] and codes [B, E] of the subjects whose `known` [B] is false."""
        return (
            torch.where(known[:, None, None], tokens, self.tokens[None, :, None]),
            torch.where(known[:, None], code, self.code),
        )


@dataclass(frozen=True)
class Condition:
    """The encoded condition of B subjects, which does not change over the cycle.

    Attributes:
        position: [B, C_0, Z, Y/2, X/2], features of coordinates and valid slices.
        reference: [B, C_l, Z_l, Y_l, X_l] of every level l, fused with the features of that level; an empty list
            without fusion.
        tokens: [B, E, S], ECG tokens around the cycle; None if the field does not use them.
        code: [B, E], added to the embedding of every phase; None if there is none.
        maps: [B, modes, 3, Z, Y/2, X/2], maps of a field of modes; None if the phase enters every block.
    """

    position: Tensor
    reference: list[Tensor]
    tokens: Tensor | None
    code: Tensor | None
    maps: Tensor | None = None


class VelocityField(nn.Module):
    """A U-Net over position that predicts the velocity, the derivative in phase of the displacement, in mm per cycle.

    The input is the position: normalised coordinates and the mask of valid slices. Phase and ECG scale and shift every
    residual block and the last layer. The anchor enters only by its features, which are fused at every level of encoder
    and decoder, so a field with `anatomy: false` or `anatomy: zeros` has no information about the anatomy. With
    `anchor: any`, the velocity is that of the displacement to the anchor, whichever frame this is.
    """

    sigma: Tensor

    def __init__(self, settings: VelocitySettings) -> None:
        super().__init__()
        channels, embedding = settings.channels, settings.embedding
        self.settings = settings
        self.strides = level_strides(len(channels))
        self.register_buffer("sigma", torch.ones(AXES))
        self.phase = PhaseEmbedding(settings.time_harmonics, embedding)
        cycle = settings.ecg in ("temporal", "spatial")
        if cycle:
            self.ecg = EcgEncoder(settings.ecg_channels, embedding)
            self.pooled = nn.Linear(embedding, embedding)
        if settings.ecg == "rate" or (cycle and settings.rr_scalar):
            self.rate = nn.Linear(1, embedding)
        if settings.ecg == "features" or (cycle and settings.ecg_features):
            self.features = FeatureEncoder(embedding)
        if settings.ecg == "temporal" and settings.ecg_local:
            self.local = nn.Linear(embedding, embedding)
        if settings.ecg == "spatial":
            self.broadcast = nn.ModuleList(nn.Linear(embedding, width) for width in channels)
        if settings.anatomy is True:
            self.anatomy = AnatomyEncoder(channels)
        if settings.ecg_dropout:
            self.absent = AbsentEcg(embedding)
        self.fused = bool(settings.anatomy) or settings.ecg == "spatial"

        def blocks(width: int) -> nn.ModuleList:
            return nn.ModuleList(FilmBlock(width, width, embedding) for _ in range(settings.blocks))

        self.stem = _conv(AXES + 1, channels[0])
        self.down = nn.ModuleList(blocks(width) for width in channels)
        self.shrink = nn.ModuleList(_conv(a, b, s) for a, b, s in zip(channels, channels[1:], self.strides))
        self.widen = nn.ModuleList(Conv3d(b, a, 1) for a, b in pairwise(channels))
        self.up = nn.ModuleList(blocks(width) for width in channels[:-1])
        if self.fused:
            self.fuse_down = nn.ModuleList(Fusion(width) for width in channels)
            self.fuse_up = nn.ModuleList(Fusion(width) for width in channels[:-1])
        self.attention = BottleneckAttention(channels[-1]) if settings.attention else nn.Identity()
        if settings.modes:
            self.still = nn.Parameter(torch.zeros(embedding))
            self.modes = Modes(channels[0], embedding, settings.modes)
        else:
            self.head = FilmHead(channels[0], embedding)
        if settings.anchor == "any":
            self.anchored = PhaseEmbedding(settings.time_harmonics, embedding)

    def encode(
        self,
        anchor: Tensor,
        valid: Tensor,
        beat: Tensor,
        rr_ms: Tensor,
        features: Tensor,
        anchor_phase: Tensor | None = None,
    ) -> Condition:
        """Encode everything that does not change over the cycle; for a field of modes, all but the courses.

        Args:
            anchor: [B, Z, Y, X] on the canonical grid, intensities in [0, 1].
            valid: [B, Z], 1 where the native stack has a slice, else 0.
            beat: [B, 12, L] mV, one R-R cycle; NaN for an absent ECG, which only a field with `ecg_dropout` takes.
            rr_ms: [B], RR interval; NaN for an absent ECG.
            features: [B, 12], features of the ECG cycle; NaN where not measurable.
            anchor_phase: [B], phases of the frames that the anchors show; None for end diastole. A field with
                `anchor: ed` ignores it.
        """
        condition = self._inputs(anchor, valid, beat, rr_ms, features)
        if self.settings.anchor == "any":
            told = self.anchored(torch.zeros_like(valid[:, 0]) if anchor_phase is None else anchor_phase)
            condition = replace(condition, code=told if condition.code is None else condition.code + told)
        if not self.settings.modes:
            return condition
        embedding = self.still.expand(len(anchor), -1)
        if condition.code is not None:
            embedding = embedding + condition.code
        return replace(condition, maps=self.modes.spread(self._unet(condition, embedding)))

    def _inputs(self, anchor: Tensor, valid: Tensor, beat: Tensor, rr_ms: Tensor, features: Tensor) -> Condition:
        """Encode position, anatomy and ECG independently."""
        depth, rows, columns = anchor.shape[1:]
        shape = depth, rows // IN_PLANE, columns // IN_PLANE
        position = self.stem(position_channels(valid, shape).to(anchor))
        reference = self._reference(anchor, shape)
        if self.settings.ecg == "none":
            return Condition(position, reference, None, None)
        if self.settings.ecg == "features":
            return Condition(position, reference, None, self.features(features))
        known = rr_ms.isfinite()
        if self.settings.ecg_dropout:
            beat, rr_ms = beat.nan_to_num(), torch.where(known, rr_ms, 1000.0)
        log_rr = torch.log(rr_ms[:, None] / 1000.0)
        if self.settings.ecg == "rate":
            return Condition(position, reference, None, self.rate(log_rr))
        tokens, pooled = self.ecg(beat)
        code = self.pooled(pooled)
        if self.settings.rr_scalar:
            # The resampled cycle of L samples has lost its duration, so the logarithm of the RR interval is added.
            code = code + self.rate(log_rr)
        if self.settings.ecg_features:
            code = code + self.features(features)
        if self.settings.ecg_dropout:
            tokens, code = self.absent(tokens, code, known)
        if self.settings.ecg == "spatial":
            spread = [layer(code)[:, :, None, None, None] for layer in self.broadcast]
            reference = [features + added for features, added in zip(reference, spread)]
            return Condition(position, reference, None, None)
        return Condition(position, reference, tokens if self.settings.ecg_local else None, code)

    def _reference(self, anchor: Tensor, shape: tuple[int, int, int]) -> list[Tensor]:
        """Return the features of the anchor at every level; zeros without anatomy, and none without fusion."""
        if self.settings.anatomy is True:
            return self.anatomy(anchor)
        levels = zip(self.settings.channels, level_shapes(shape, self.strides)) if self.fused else ()
        return [anchor.new_zeros(len(anchor), width, *size) for width, size in levels]

    def forward(self, phase: Tensor, condition: Condition) -> Tensor:
        """Predict velocities [B, P, 3, Z, Y/2, X/2] in mm per cycle (z, y, x) at phases [B, P] of B subjects."""
        if condition.maps is not None:
            return self.combine(condition.maps, self.courses(phase, condition))
        every = self._embedding(phase, condition).flatten(0, 1)
        velocity = self.head(self._unet(condition, every), every).unflatten(0, phase.shape)
        return velocity.float() * self.sigma[:, None, None, None]

    def courses(self, phase: Tensor, condition: Condition) -> Tensor:
        """Return the courses [B, P, modes] of a field of modes at phases [B, P]."""
        return self.modes(self._embedding(phase, condition))

    def combine(self, maps: Tensor, courses: Tensor) -> Tensor:
        """Sum the modes' maps, weighted by their courses or by the integrals of the courses.

        Args:
            maps: [B, modes, 3, Z, Y/2, X/2].
            courses: [B, P, modes], courses or their integrals over the phase.

        Returns:
            [B, P, 3, Z, Y/2, X/2]: velocity in mm per cycle from courses, displacement in mm from integrals.
        """
        return torch.einsum("bkczyx,bpk->bpczyx", maps, courses).float() * self.sigma[:, None, None, None]

    def _embedding(self, phase: Tensor, condition: Condition) -> Tensor:
        """Return embeddings [B, P, E] of phases [B, P] and of the ECG."""
        embedding = self.phase(phase)
        if condition.code is not None:
            embedding = embedding + condition.code[:, None]
        if condition.tokens is not None:
            embedding = embedding + self.local(tokens_at(condition.tokens, phase))
        return embedding

    def _unet(self, condition: Condition, embedding: Tensor) -> Tensor:
        """Return features [N, C_0, Z, Y/2, X/2] at embeddings [N, E]; N is a multiple of the number of subjects."""

        def through(blocks: nn.Module, features: Tensor) -> Tensor:
            for block in blocks:  # type: ignore[attr-defined]
                features = block(features, embedding)
            return features

        features = per_phase(condition.position, len(embedding) // len(condition.position))
        skips: list[Tensor] = []
        for level, blocks in enumerate(self.down):
            if level:
                features = self.shrink[level - 1](features)
            features = through(blocks, features)
            if self.fused:
                features = self.fuse_down[level](features, condition.reference[level])
            skips.append(features)
        features = self.attention(skips.pop())
        for level in reversed(range(len(self.up))):
            skip = skips.pop()
            features = functional.interpolate(self.widen[level](features), size=skip.shape[2:], mode="nearest") + skip
            features = through(self.up[level], features)
            if self.fused:
                features = self.fuse_up[level](features, condition.reference[level])
        return features


def position_channels(valid: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Return channels with the coordinates z, y, x in [-1, 1] and the mask of valid slices.

    Args:
        valid: [B, Z], 1 for valid slices.
        shape: voxels of the field (z, y, x).

    Returns:
        [B, 4, *shape].
    """
    axes = [torch.linspace(-1, 1, size, device=valid.device) for size in shape]
    coordinates = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    mask = valid[:, None, :, None, None].to(coordinates).expand(-1, 1, *shape)
    return torch.cat([coordinates.expand(len(valid), -1, -1, -1, -1), mask], 1)


def level_shapes(shape: Sequence[int], strides: Sequence[tuple[int, int, int]]) -> list[tuple[int, ...]]:
    """Return the shape (z, y, x) of every level of the U-Net, finest first."""
    shapes = [tuple(shape)]
    for stride in strides:
        shapes.append(tuple(-(-size // step) for size, step in zip(shapes[-1], stride)))
    return shapes
