"""Latent flow autoencoder: it encodes a frame as flow and visibility of the anchor, at a quarter of the resolution."""

import math

import torch
from monai.losses.ssim_loss import SSIMLoss
from monai.networks.nets.unet import UNet
from torch import Tensor, nn
from torch.nn import functional

from cof.config.baselines import FlowAutoencoderSettings
from cof.models.video.slices import NEIGHBOURS
from cof.motion.warp import warp
from cof.training.run import Loss

# Channels of an encoded frame: flow along y and x, and visibility.
FLOW = 2
MOTION = FLOW + 1
# Width in pixels of a voxel of flow and visibility.
QUARTER = 4
# Rows and columns must be multiples of this, because the flow network halves the quarter resolution twice more.
MULTIPLE = 4 * QUARTER
PYRAMID = (1, 2, 4)


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(8, channels), channels)


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, padding=1), _norm(outputs), nn.SiLU())


class ResidualBlock(nn.Module):
    """Residual block of two pre-activated convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers = [(_norm(channels), nn.SiLU(), nn.Conv2d(channels, channels, 3, padding=1)) for _ in range(2)]
        self.body = nn.Sequential(*(module for layer in layers for module in layer))

    def forward(self, features: Tensor) -> Tensor:
        """Map features [N, C, Y, X] to the same shape."""
        return features + self.body(features)


def pulled(features: Tensor, flow: Tensor) -> Tensor:
    """Warp features by a flow: out(x) = features(x + flow(x)).

    Args:
        features: [N, C, Y, X], at any resolution.
        flow: [N, 2, h, w] along y and x, in quarter voxels; interpolated if the features have a higher resolution.
    """
    size = (features.shape[2], features.shape[3])
    finer = size[0] / flow.shape[2]
    if finer != 1:
        flow = finer * functional.interpolate(flow, size, mode="bilinear", align_corners=False)
    still = torch.zeros_like(flow[:, :1])
    return warp(features[:, :, None], torch.cat([still, flow], 1)[:, :, None], (1.0, 1.0, 1.0))[:, :, 0]


def shown(seen: Tensor, invented: Tensor, motion: Tensor) -> Tensor:
    """Blend the anchor, warped by the flow, with generated content, by the visibility.

    Args:
        seen: [N, C, Y, X], features or image of the anchor.
        invented: [N, C, Y, X], generated features or image, for what the anchor does not show.
        motion: [N, 3, h, w], flow and visibility in [0, 1].
    """
    visible = motion[:, FLOW:]
    if visible.shape[2:] != seen.shape[2:]:
        visible = functional.interpolate(visible, seen.shape[2:], mode="bilinear", align_corners=False)
    return visible * pulled(seen, motion[:, :FLOW]) + (1 - visible) * invented


class FlowAutoencoder(nn.Module):
    """Encoder from anchor and frame to flow and visibility, and decoder from anchor, flow and visibility to the frame.

    Attributes:
        bottleneck: number of channels of the anchor's features at a quarter of the resolution.
    """

    def __init__(self, settings: FlowAutoencoderSettings) -> None:
        super().__init__()
        full, half, quarter = settings.channels
        self.bottleneck = quarter
        self.look = nn.Sequential(_block(NEIGHBOURS + 1, full, 2), _block(full, half, 2))
        self.match = UNet(
            spatial_dims=2, in_channels=half, out_channels=half, channels=(half, quarter, quarter), strides=(2, 2),
            num_res_units=1, norm=("group", {"num_groups": math.gcd(8, half, quarter)}),
        )  # fmt: skip
        self.motion_head = nn.Conv2d(half, MOTION, 3, padding=1)
        # At the start of a training, the flow is almost zero and the visibility about one half.
        nn.init.normal_(self.motion_head.weight, std=1e-3)
        nn.init.zeros_(self.motion_head.bias)  # type: ignore[arg-type]
        self.encoder = nn.ModuleList([_block(NEIGHBOURS, full), _block(full, half, 2), _block(half, quarter, 2)])
        self.body = nn.Sequential(*(ResidualBlock(quarter) for _ in range(settings.blocks)))
        self.decoder = nn.ModuleList([_block(quarter, half), _block(half, full)])
        self.last = nn.Conv2d(full, 1, 3, padding=1)

    def motion(self, anchor: Tensor, frames: Tensor) -> Tensor:
        """Encode frames as flow and visibility.

        Args:
            anchor: [B, 3, Y, X], slices z - 1, z, z + 1.
            frames: [B, F, Y, X], frames of slice z.

        Returns:
            [B, 3, F, Y/4, X/4]: flow along y and x from the frames to the anchor, in voxels of this grid; and
            visibility in [0, 1].
        """
        count = frames.shape[1]
        pairs = torch.cat([anchor.repeat_interleave(count, 0), frames.flatten(0, 1)[:, None]], 1)
        found = self.motion_head(functional.silu(self.match(self.look(pairs)))).float()
        found = torch.cat([found[:, :FLOW], torch.sigmoid(found[:, FLOW:])], 1)
        return found.unflatten(0, (-1, count)).transpose(1, 2)

    def features(self, anchor: Tensor) -> list[Tensor]:
        """Compute features [B, C, Y / s, X / s] of anchors [B, 3, Y, X] at full, half and quarter resolution."""
        maps, features = [], anchor
        for level in self.encoder:
            features = level(features)
            maps.append(features)
        return maps

    def draw(self, anchor: Tensor, features: list[Tensor], motion: Tensor) -> Tensor:
        """Decode frames [B, F, Y, X] from anchors, their features, and flow and visibility [B, 3, F, Y/4, X/4].

        At every level, the anchor's features are warped by the flow and weighted by the visibility v; the output of the
        decoder at the coarser level has the weight 1 - v. With zero flow and full visibility, the result is the anchor.
        """
        count = motion.shape[2]
        full, half, quarter = (level.repeat_interleave(count, 0) for level in features)
        middle = anchor[:, NEIGHBOURS // 2, None].repeat_interleave(count, 0)
        motion = motion.transpose(1, 2).flatten(0, 1)
        made = self.body(shown(quarter, torch.zeros_like(quarter), motion))
        for level, seen in zip(self.decoder, (half, full)):
            made = shown(seen, level(functional.interpolate(made, scale_factor=2, mode="nearest")), motion)
        made = shown(middle, torch.sigmoid(self.last(made)).float(), motion)
        return made.unflatten(0, (-1, count))[:, :, 0]

    def forward(self, anchor: Tensor, frames: Tensor) -> Tensor:
        """Reconstruct frames [B, F, Y, X] from their own flow and visibility and anchors [B, 3, Y, X]."""
        return self.draw(anchor, self.features(anchor), self.motion(anchor, frames))


def autoencoder_loss(network: FlowAutoencoder, anchor: Tensor, frames: Tensor) -> Loss:
    """Compute the reconstruction loss of frames [B, F, Y, X]: L1 on a pyramid of resolutions, and 1 - SSIM."""
    made = network(anchor, frames).float()
    pyramid = torch.stack(
        [(functional.avg_pool2d(made, step) - functional.avg_pool2d(frames, step)).abs().mean() for step in PYRAMID]
    ).sum()
    ssim = SSIMLoss(spatial_dims=2)(made.flatten(0, 1)[:, None], frames.flatten(0, 1)[:, None])
    return Loss(pyramid + ssim, len(frames), {"pyramid": pyramid, "ssim": ssim})
