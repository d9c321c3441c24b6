"""Composition of displacements, and the exponential of a stationary velocity field: equation (3) of the paper."""

from torch import Tensor

from cof.config import Triple
from cof.motion.warp import warp

SQUARINGS = 7


def compose(first_mm: Tensor, then_mm: Tensor, spacing_mm: Triple) -> Tensor:
    """The displacement of x -> first(then(x)): then(x) + first(x + then(x)).

    For pull-back warps this is the displacement that warps by `first_mm` and its result by `then_mm`.

    Args:
        first_mm: [B, 3, Z, Y, X] in mm, channels (z, y, x).
        then_mm: the same shape.
        spacing_mm: voxel spacing (z, y, x).
    """
    return then_mm + warp(first_mm, then_mm, spacing_mm)


def exponential(velocity_mm: Tensor, spacing_mm: Triple, squarings: int = SQUARINGS) -> Tensor:
    """exp(v) - id by scaling and squaring (Arsigny et al. 2006; Dalca et al. 2019), in mm.

    Every squaring at most doubles the largest component, so that |exp(v) - id| <= max |v| holds for each component.

    Args:
        velocity_mm: [B, 3, Z, Y, X], a stationary velocity in mm per unit of pseudo-time, channels (z, y, x).
        spacing_mm: voxel spacing (z, y, x).
        squarings: the velocity is divided by 2 to this power, and the step composed with itself as often.
    """
    displacement = velocity_mm / 2**squarings
    for _ in range(squarings):
        displacement = compose(displacement, displacement, spacing_mm)
    return displacement
