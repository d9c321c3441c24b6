"""TOPPR, the topology-preserving physiological registration network: (V_s, V_t) -> u, eq (6) of the paper."""

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cof.config.base import Triple
from cof.config.motion import RegistrationSettings
from cof.motion.convolution import Conv3d
from cof.motion.integrate import exponential
from cof.motion.resolution import motion_spacing

# A heart has only 8 to 12 slices, so z is halved only once, at this level.
_LEVEL_HALVING_Z = 2


@dataclass(frozen=True)
class Registration:
    """Output of the network for a batch of pairs; both are [B, 3, Z, Y/2, X/2] in mm (z, y, x) on the motion grid.

    Attributes:
        displacement: u, from the target to the source.
        field: the field that the network predicts, a stationary velocity or u itself, after the max field.
    """

    displacement: Tensor
    field: Tensor

    def saturation(self, max_field_mm: float) -> float:
        """Return the share of field components beyond 90 % of the max field."""
        return float((self.field.detach().abs() > 0.9 * max_field_mm).float().mean())


class Toppr(nn.Module):
    """An anisotropic U-Net whose output, at half the in-plane resolution, is integrated to a displacement.

    Args:
        channels: number of features of each level, from half resolution downwards. Every level halves rows and columns;
            the third also halves the slices.
        spacing_mm: spacing of the canonical grid (z, y, x).
        parameterisation: "velocity" for a stationary velocity, integrated by scaling and squaring; "displacement" for u
            itself.
        max_field: `tanh` bounds every component of the output, and so of u, by `max_field_mm`; `hinge` only adds a
            penalty in training; `none` has no bound.
        max_field_mm: the bound in mm.
    """

    def __init__(
        self,
        channels: tuple[int, ...],
        spacing_mm: Triple,
        parameterisation: str = "velocity",
        max_field: str = "tanh",
        max_field_mm: float = 30.0,
    ) -> None:
        super().__init__()
        self.spacing_mm = spacing_mm
        self.parameterisation = parameterisation
        self.max_field = max_field
        self.max_field_mm = max_field_mm
        self.encoder = nn.ModuleList(
            _halving(inputs, outputs, also_z=level == _LEVEL_HALVING_Z)
            for level, (inputs, outputs) in enumerate(pairwise((2, *channels)))
        )
        self.bottleneck = Conv3d(channels[-1], channels[-1], 3, padding=1)
        self.decoder = nn.ModuleList(
            Conv3d(below + skip, skip, 3, padding=1) for below, skip in pairwise(reversed(channels))
        )
        self.head = Conv3d(channels[0], 3, 3, padding=1)
        nn.init.normal_(self.head.weight, std=1e-5)  # registration starts at the identity
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    @classmethod
    def of(cls, settings: RegistrationSettings, spacing_mm: Triple) -> "Toppr":
        """Build the network that the settings describe."""
        return cls(settings.channels, spacing_mm, settings.parameterisation, settings.max_field, settings.max_field_mm)

    def forward(self, source: Tensor, target: Tensor) -> Registration:
        """Register targets to sources, both [B, 1, Z, Y, X] with intensities in [0, 1] on the canonical grid."""
        return self.realise(self.unbounded(source, target))

    def unbounded(self, source: Tensor, target: Tensor) -> Tensor:
        """Predict the field [B, 3, Z, Y/2, X/2] in mm (z, y, x) before the max field: the input of `realise`."""
        # With channels last in memory, convolution and above all interpolation are faster.
        features = torch.cat([source, target], dim=1).contiguous(memory_format=torch.channels_last_3d)
        skips = []
        for level in self.encoder:
            features = _activate(level(features))
            skips.append(features)
        features = _activate(self.bottleneck(skips.pop()))
        for level in self.decoder:
            skip = skips.pop()
            features = _resized(features, skip.shape[2:])
            features = _activate(level(torch.cat([features, skip], dim=1)))
        return self.head(features).float()  # also under autocast, motion needs single precision

    def realise(self, field: Tensor) -> Registration:
        """Convert a field on the motion grid to a registration: bound it by the max field, and integrate it."""
        if self.max_field == "tanh":
            field = self.max_field_mm * torch.tanh(field / self.max_field_mm)
        if self.parameterisation == "displacement":
            return Registration(field, field)
        return Registration(exponential(field, motion_spacing(self.spacing_mm)), field)


def _resized(features: Tensor, shape: torch.Size) -> Tensor:
    """Interpolate features [B, C, z, y, x], channels last in memory, linearly to [B, C, Z, Y, X].

    First along z, then in planes: the interpolation of images is faster than that of volumes.
    """
    rows, columns = features.shape[3:]
    along_z = F.interpolate(features.flatten(3), size=(shape[0], rows * columns), mode="bilinear", align_corners=False)
    planes = along_z.unflatten(3, (rows, columns)).transpose(1, 2).flatten(0, 1)
    planes = F.interpolate(planes, size=shape[1:], mode="bilinear", align_corners=False)
    return planes.unflatten(0, (len(features), shape[0])).transpose(1, 2)


def _halving(inputs: int, outputs: int, also_z: bool) -> nn.Conv3d:
    """Return a strided convolution. Its even kernel keeps the centre of an output voxel at the centre of its block."""
    kernel, stride = ((4, 4, 4), (2, 2, 2)) if also_z else ((3, 4, 4), (1, 2, 2))
    return Conv3d(inputs, outputs, kernel, stride=stride, padding=1)


def _activate(features: Tensor) -> Tensor:
    # Training is several times faster with normalised features. One group per channel is the same as
    # `F.instance_norm`, which is slower and returns channels first.
    return F.leaky_relu(F.group_norm(features, features.shape[1]), 0.2)
