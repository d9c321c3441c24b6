"""Composition and inversion of displacements, and the exponential of a stationary velocity (eq (3) of the paper)."""

import torch
from torch import Tensor

from cof.config.base import Triple
from cof.motion.warp import warp

# Scaling and squaring: the velocity is divided by 2 to this power, and composed with itself this many times.
SQUARINGS = 7
# Share of every step of the fixed-point iteration that is taken. Half steps also converge where space is stretched by
# a factor of up to three.
RELAXATION = 0.5
INVERSION_STEPS = 100
# The iteration ends when the largest component of x - phi(x + w(x)) is smaller.
TOLERANCE_MM = 1e-3


def compose(first_mm: Tensor, then_mm: Tensor, spacing_mm: Triple) -> Tensor:
    """Compose two displacements to that of x -> first(then(x)): then(x) + first(x + then(x)).

    A warp by the result is a warp by `first_mm`, followed by a warp by `then_mm`.

    Args:
        first_mm: [B, 3, Z, Y, X] in mm, channels (z, y, x).
        then_mm: the same shape.
        spacing_mm: voxel spacing (z, y, x).
    """
    return then_mm + warp(first_mm, then_mm, spacing_mm)


def invert(displacement_mm: Tensor, spacing_mm: Triple) -> Tensor:
    """Invert a displacement: find w with phi = id + u and phi^-1 = id + w.

    From phi(x + w(x)) = x follows w(x) = -u(x + w(x)), a fixed-point equation (Chen et al., Med Phys 35:81, 2008). It
    is solved by half steps: w <- w - (w + u(x + w)) / 2. They converge where the eigenvalues of Du are real and in
    (-1, 3). A map with real eigenvalues and without folding satisfies the lower bound. Where u folds there is no
    inverse, and the result is that of the last step.

    Args:
        displacement_mm: u, [B, 3, Z, Y, X] in mm, channels (z, y, x); beyond the edges its border values continue.
        spacing_mm: voxel spacing (z, y, x).

    Returns:
        w, with the shape and units of u.
    """
    inverse = -displacement_mm
    for _ in range(INVERSION_STEPS):
        residual = compose(displacement_mm, inverse, spacing_mm)
        if float(residual.abs().max()) < TOLERANCE_MM:
            break
        inverse = torch.add(inverse, residual, alpha=-RELAXATION)
    return inverse


def exponential(velocity_mm: Tensor, spacing_mm: Triple) -> Tensor:
    """Compute the displacement exp(v) - id in mm by scaling and squaring (Arsigny et al. 2006; Dalca et al. 2019).

    Every squaring at most doubles the largest component, so |exp(v) - id| <= max |v| holds for each component.

    Args:
        velocity_mm: [B, 3, Z, Y, X], a stationary velocity in mm per unit of pseudo-time, channels (z, y, x).
        spacing_mm: voxel spacing (z, y, x).
    """
    displacement = velocity_mm / 2**SQUARINGS
    for _ in range(SQUARINGS):
        displacement = compose(displacement, displacement, spacing_mm)
    return displacement
