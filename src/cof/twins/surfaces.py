"""The moving surfaces of one heart: those of ED, carried along by its motion."""

import numpy as np
from torch import Tensor

from cof.cine.grid import Placement
from cof.heart.surfaces import Surface


def moving_surfaces(
    labels: np.ndarray, displacement: Tensor, placement: Placement, affine: np.ndarray, frames: int
) -> dict[str, Surface]:
    """Compute the surfaces of one heart over its cycle."""
    raise NotImplementedError
