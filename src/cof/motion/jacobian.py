"""Jacobian determinant of a deformation x -> x + u(x), and measures of its folding."""

from dataclasses import dataclass

import torch
from torch import Tensor

from cof.config.base import Triple


@dataclass(frozen=True)
class Regularity:
    """Measures of the regularity of a deformation, from its Jacobian determinants.

    Attributes:
        folded_share: share of voxels with a determinant of zero or less, from 0 to 1.
        min_jacobian: smallest determinant.
        sd_log_jacobian: SD of the logarithm of the positive determinants; NaN if there are none.
    """

    folded_share: float
    min_jacobian: float
    sd_log_jacobian: float


def jacobian_determinant(displacement_mm: Tensor, spacing_mm: Triple) -> Tensor:
    """Compute det(I + du/dx) [B, Z, Y, X] of a displacement [B, 3, Z, Y, X] in mm, channels (z, y, x).

    Derivatives are central differences (one-sided at the edges) with the spacing in mm (z, y, x). This is exact for
    linear maps.
    """
    by_z, by_y, by_x = torch.gradient(displacement_mm, spacing=list(spacing_mm), dim=(2, 3, 4))
    (a, d, g), (b, e, h), (c, f, i) = (derivative.unbind(1) for derivative in (by_z, by_y, by_x))
    a, e, i = a + 1, e + 1, i + 1
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


def regularity(determinant: Tensor, mask: Tensor | None = None) -> Regularity:
    """Summarise determinants [B, Z, Y, X]: all of them, or those where `mask` (broadcastable) is true."""
    values = determinant.flatten() if mask is None else determinant[mask.expand_as(determinant)]
    smallest = float(values.min())
    positive = values if smallest > 0 else values[values > 0]
    return Regularity(
        folded_share=1 - len(positive) / len(values),
        min_jacobian=smallest,
        sd_log_jacobian=float(positive.log().std(correction=0)) if len(positive) else float("nan"),
    )
