"""Sampling of arrays on the native grid at the voxels of the motion grid, and at another number of phases."""

import numpy as np

from cof.cine.grid import Placement
from cof.motion.resolution import IN_PLANE, motion_shape


def motion_voxels(placement: Placement) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the native indices (fractional, possibly outside the stack) of the motion voxels along z, y and x."""
    z, y, x = (np.arange(size, dtype=float) for size in motion_shape(placement.shape))
    middle = (IN_PLANE - 1) / 2
    canonical = (z, IN_PLANE * y + middle, IN_PLANE * x + middle)
    along_z, along_y, along_x = (o + s * c for o, s, c in zip(placement.offset, placement.scale, canonical))
    return along_z, along_y, along_x


def labels_on_motion_grid(labels: np.ndarray, placement: Placement) -> np.ndarray:
    """Sample native labels [T, Z, Y, X] at the voxels of the motion grid by nearest neighbour; 0 beyond the stack."""
    nearest = [np.rint(index).astype(int) for index in motion_voxels(placement)]
    z, y, x = ((index >= 0) & (index < size) for index, size in zip(nearest, labels.shape[1:]))
    clipped = [np.clip(index, 0, size - 1) for index, size in zip(nearest, labels.shape[1:])]
    sampled = labels[np.ix_(np.arange(len(labels)), *clipped)]
    return np.where(z[:, None, None] & y[:, None] & x, sampled, np.uint8(0))


def frames_at_phases(available: int, wanted: int) -> np.ndarray:
    """Return, for each phase k / wanted, the nearest of `available` frames of the same cycle."""
    return np.rint(np.arange(wanted) * available / wanted).astype(int) % available
