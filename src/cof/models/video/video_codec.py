"""Discrete video codec: a VQ-VAE between slice videos and tokens (van den Oord et al., NeurIPS 2017)."""

import torch
from monai.networks.nets.vqvae import VQVAE
from torch import Tensor, distributed, nn
from torch.nn import functional

from cof.config.baselines import VideoCodecSettings
from cof.motion.convolution import with_fast_volumes
from cof.training.run import Loss

# Weight of the L1 losses of images and gradients relative to the commitment loss, as in ECHOPulse.
RECONSTRUCTION = 10.0
# A code counts as dead if it is used less often than this share of the average use of a code.
DEAD = 0.03
# Kernel and padding of MONAI's halving convolutions (stride, kernel, dilation, padding) and of their transposes.
_DOWN, _UP = (2, 4, 1, 1), (2, 4, 1, 1, 0)


class VideoCodec(nn.Module):
    """MONAI's VQ-VAE on videos [B, 1, T, Y, X] with intensities in [0, 1].

    Frames, rows and columns are halved `len(channels)` times. Each voxel of that coarse grid is one token, the number
    of the nearest code. A code is the moving average of the encodings that it represents.

    Attributes:
        stride: number of frames, rows and columns that one token covers.
    """

    def __init__(self, settings: VideoCodecSettings) -> None:
        super().__init__()
        levels = len(settings.channels)
        self.stride = 2**levels
        self.vqvae = with_fast_volumes(
            VQVAE(
                spatial_dims=3,
                in_channels=1,
                out_channels=1,
                channels=settings.channels,
                num_res_layers=settings.blocks,
                num_res_channels=settings.channels,
                downsample_parameters=(_DOWN,) * levels,
                upsample_parameters=(_UP,) * levels,
                num_embeddings=settings.codes,
                embedding_dim=settings.code_channels,
                commitment_cost=settings.commitment,
                decay=settings.decay,
            )
        )

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruct videos [B, 1, T, Y, X] through the codes; also return the commitment loss.

        In training mode, the codes are updated.
        """
        encodings = self.encode(clips)
        with torch.autocast(
            clips.device.type, enabled=False
        ):  # keep the moving averages of the codes in single precision
            quantized, commitment = self.vqvae.quantize(encodings)
            if self.training:
                self.revive(encodings)
        return self.vqvae.decode(quantized), commitment

    def encode(self, clips: Tensor) -> Tensor:
        """Map videos [B, 1, T, Y, X] to encodings [B, D, T / stride, Y / stride, X / stride] with the norm sqrt(D).

        With a fixed norm, the nearest code is the one at the smallest angle. Without it, encodings collapse to a code.
        """
        encodings = self.vqvae.encode(clips).float()
        return functional.normalize(encodings, dim=1) * encodings.shape[1] ** 0.5

    @property
    def perplexity(self) -> Tensor:
        """Exponential of the entropy of the codes in the last call: the effective number of codes in use."""
        return self.vqvae.quantizer.perplexity

    @torch.no_grad()
    def tokens(self, clips: Tensor) -> Tensor:
        """Encode videos [B, 1, T, Y, X] as tokens, integers [B, T / stride, Y / stride, X / stride]."""
        return self.vqvae.quantizer.quantizer.quantize(self.encode(clips))[2]

    def still_tokens(self, images: Tensor) -> Tensor:
        """Encode images [B, C, Y, X] as tokens [B, C, Y / stride, X / stride]: the middle tokens of a still video.

        Tokens at the ends of a video are different, because the convolutions are padded there.
        """
        clips = images.flatten(0, 1)[:, None, None].expand(-1, -1, 3 * self.stride, -1, -1)
        return self.tokens(clips)[:, 1].unflatten(0, images.shape[:2])

    @torch.no_grad()
    def decode(self, tokens: Tensor) -> Tensor:
        """Decode tokens [B, T / stride, Y / stride, X / stride] to videos [B, 1, T, Y, X], clipped to [0, 1]."""
        return self.vqvae.decode_samples(tokens).clamp(0, 1)

    @torch.no_grad()
    def revive(self, encodings: Tensor) -> None:
        """Replace dead codes by some of the encodings [B, D, t, y, x], evenly chosen.

        A code that is far from all encodings would otherwise never be used again (random restarts of Jukebox,
        arXiv:2005.00341). Processes that train together share the codes; the first process chooses.
        """
        quantizer = self.vqvae.quantizer.quantizer
        flat = encodings.detach().movedim(1, -1).flatten(0, -2)
        processes = distributed.get_world_size() if distributed.is_initialized() else 1
        mean_use = processes * len(flat) / quantizer.num_embeddings
        dead = torch.nonzero(quantizer.ema_cluster_size < DEAD * mean_use)[:, 0]
        chosen = flat[torch.linspace(0, len(flat) - 1, len(dead), device=flat.device).long()]
        if processes > 1:
            distributed.broadcast(chosen, 0)
        self._begin(dead, chosen, mean_use)

    @torch.no_grad()
    def start(self, clips: Tensor, generator: torch.Generator) -> None:
        """Initialise by videos [B, 1, T, Y, X]: standardise the encoder's channels, and take encodings as the codes.

        Otherwise all encodings lie close together, far from codes drawn from a normal distribution, and only the few
        codes that the first batch hits by chance would ever be used.
        """
        last = next(module for module in reversed(list(self.vqvae.encoder.modules())) if isinstance(module, nn.Conv3d))
        assert last.bias is not None
        raw = self.vqvae.encode(clips)
        mean, scale = raw.mean((0, 2, 3, 4)), raw.std((0, 2, 3, 4)) + 1e-6
        last.weight.div_(scale[:, None, None, None, None])
        last.bias.sub_(mean).div_(scale)
        encodings = self.encode(clips).movedim(1, -1).flatten(0, -2)
        quantizer = self.vqvae.quantizer.quantizer
        codes = encodings[torch.randint(len(encodings), (quantizer.num_embeddings,), generator=generator)]
        self._begin(slice(None), codes, 1)  # each code is the mean of one encoding

    def _begin(self, which: Tensor | slice, codes: Tensor, use: float) -> None:
        """Set the codes `which` to `codes`, each as the mean of `use` encodings."""
        quantizer = self.vqvae.quantizer.quantizer
        quantizer.embedding.weight[which] = codes
        quantizer.ema_w[which] = codes * use
        quantizer.ema_cluster_size[which] = use


def gradient_l1(made: Tensor, real: Tensor) -> Tensor:
    """Compute the mean absolute difference of the forward differences of two videos [..., T, Y, X] along all axes."""
    return sum((made.diff(dim=axis) - real.diff(dim=axis)).abs().mean() for axis in (-3, -2, -1)) / 3  # type: ignore[return-value]


def codec_loss(codec: VideoCodec, clips: Tensor) -> Loss:
    """Compute the loss: L1 of videos [B, 1, T, Y, X] and of their gradients, plus the commitment loss."""
    made, commitment = codec(clips)
    made = made.float()
    image, edges = (made - clips).abs().mean(), gradient_l1(made, clips)
    terms = {"image": image, "edges": edges, "commitment": commitment, "perplexity": codec.perplexity}
    return Loss(RECONSTRUCTION * (image + edges) + commitment, len(clips), terms)
