"""Composition and inversion of displacements, and the exponential of a stationary velocity: the paper's eq (3)."""

import torch
from torch import Tensor

from cof.config.base import Triple
from cof.motion.warp import warp

# The velocity is divided by 2 to this power, and the step composed with itself as often.
SQUARINGS = 7
# Of the fixed point of an inversion: half of every step, which also converges where space is stretched up to threefold.
RELAXATION = 0.5
INVERSION_STEPS = 100
# They may end where the largest component of x - phi(x + w(x)) is below it.
TOLERANCE_MM = 1e-3


def compose(first_mm: Tensor, then_mm: Tensor, spacing_mm: Triple) -> Tensor:
    """The displacement of x -> first(then(x)): then(x) + first(x + then(x)).

    For pull-back warps this is the displacement that warps by `first_mm` and its result by `then_mm`.

    Args:
        first_mm: [B, 3, Z, Y, X] in mm, channels (z, y, x).
        then_mm: the same shape.
        spacing_mm: voxel spacing (z, y, x).
    """
    return then_mm + warp(first_mm, then_mm, spacing_mm)


def invert(displacement_mm: Tensor, spacing_mm: Triple) -> Tensor:
    """The displacement w of the inverse map: with phi = id + u, phi^-1 = id + w.

    From phi(x + w(x)) = x follows w(x) = -u(x + w(x)), a fixed point (Chen et al., Med Phys 35:81, 2008), approached by
    half steps: w <- w - (w + u(x + w)) / 2. Where the eigenvalues of Du are real and in (-1, 3) they converge: above -1
    is all that a map without folding asks for. Where u folds there is no inverse, and the last step stands.

    Args:
        displacement_mm: u, [B, 3, Z, Y, X] in mm, channels (z, y, x); beyond the edges it keeps its border values.
        spacing_mm: voxel spacing (z, y, x).
    """
    inverse = -displacement_mm
    for _ in range(INVERSION_STEPS):
        residual = compose(displacement_mm, inverse, spacing_mm)
        if float(residual.abs().max()) < TOLERANCE_MM:
            break
        inverse = torch.add(inverse, residual, alpha=-RELAXATION)
    return inverse


def exponential(velocity_mm: Tensor, spacing_mm: Triple) -> Tensor:
    """exp(v) - id by scaling and squaring (Arsigny et al. 2006; Dalca et al. 2019), in mm.

    Every squaring at most doubles the largest component, so that |exp(v) - id| <= max |v| holds for each component.

    Args:
        velocity_mm: [B, 3, Z, Y, X], a stationary velocity in mm per unit of pseudo-time, channels (z, y, x).
        spacing_mm: voxel spacing (z, y, x).
    """
    displacement = velocity_mm / 2**SQUARINGS
    for _ in range(SQUARINGS):
        displacement = compose(displacement, displacement, spacing_mm)
    return displacement
