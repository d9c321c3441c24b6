"""Diffusion model of flow and visibility over a whole cycle, conditioned on the anchor's features and the ECG."""

import math
from dataclasses import dataclass

import torch
from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet
from torch import Tensor, nn

from cof.config.baselines import FlowDiffusionSettings
from cof.models.ecg_encoder import tokens_at
from cof.models.video.ecg_context import HARMONICS, EcgContext, harmonics
from cof.models.video.flow_autoencoder import FLOW, MOTION
from cof.models.video.slices import PositionEmbedding
from cof.motion.convolution import with_fast_volumes

# Channels of a frame for the ECG at its phase.
LOCAL = 16


@dataclass(frozen=True)
class MotionCondition:
    """The condition of the generated motion.

    Attributes:
        anatomy: [B, C, h, w], features of the anchor.
        context: [B, S + 2, W], tokens of the ECG or the null condition, and of the position of the slice in the stack.
    """

    anatomy: Tensor
    context: Tensor


class FlowDiffusion(nn.Module):
    """MONAI's diffusion U-Net over motion [B, 3, F, h, w]: flow in units of its RMS, visibility m as 2 m - 1.

    For every frame, the input has the noisy motion, the anchor's features, the phase, and the ECG at that phase. The
    whole ECG and the position of the slice enter by cross-attention at the coarsest level.
    """

    scale: Tensor

    def __init__(self, settings: FlowDiffusionSettings, features: int) -> None:
        super().__init__()
        levels, width = len(settings.channels), settings.embedding
        self.register_buffer("scale", torch.ones(()))
        self.ecg = EcgContext(settings.ecg_channels, width)
        self.local = nn.Linear(width, LOCAL)
        self.position = PositionEmbedding(width)
        self.unet = with_fast_volumes(
            DiffusionModelUNet(
                spatial_dims=3,
                in_channels=MOTION + features + 2 * HARMONICS + LOCAL,
                out_channels=MOTION,
                num_res_blocks=settings.blocks,
                channels=settings.channels,
                attention_levels=[level == levels - 1 for level in range(levels)],
                norm_num_groups=math.gcd(8, *settings.channels),
                num_head_channels=math.gcd(32, settings.channels[-1]),
                with_conditioning=True,
                cross_attention_dim=width,
            )
        )

    def scaled(self, motion: Tensor) -> Tensor:
        """Scale flow and visibility to the units of the diffusion model."""
        return torch.cat([motion[:, :FLOW] / self.scale, 2 * motion[:, FLOW:] - 1], 1)

    def unscaled(self, sample: Tensor) -> Tensor:
        """Invert `scaled`, and clip the visibility to [0, 1]."""
        return torch.cat([sample[:, :FLOW] * self.scale, ((sample[:, FLOW:] + 1) / 2).clamp(0, 1)], 1)

    def encode(self, anatomy: Tensor, position: Tensor, beat: Tensor, rr_ms: Tensor, keep: Tensor) -> MotionCondition:
        """Encode the condition, which is the same at all noise levels.

        Args:
            anatomy: [B, C, h, w], features of the anchor.
            position: [B], position of the slice in the stack, z / Z.
            beat: [B, 12, L] mV.
            rr_ms: [B].
            keep: bool [B]; where false, the null condition replaces the ECG.
        """
        return MotionCondition(anatomy, torch.cat([self.ecg(beat, rr_ms, keep), self.position(position)[:, None]], 1))

    def forward(self, noisy: Tensor, levels: Tensor, condition: MotionCondition) -> Tensor:
        """Predict the clean motion from noisy motion [B, 3, F, h, w] at noise levels [B]."""
        count, _, frames, h, w = noisy.shape
        anatomy = condition.anatomy[:, :, None].expand(-1, -1, frames, -1, -1)
        phase = torch.arange(frames, device=noisy.device) / frames
        tokens, code = condition.context[:, :-2], condition.context[:, -2:-1]
        local = self.local(tokens_at(tokens.transpose(1, 2), phase.expand(count, -1)) + code)
        course = torch.cat([harmonics(phase).expand(count, -1, -1), local], -1).transpose(1, 2)
        course = course[..., None, None].expand(-1, -1, -1, h, w)
        return self.unet(torch.cat([noisy, anatomy, course], 1), levels, context=condition.context)
