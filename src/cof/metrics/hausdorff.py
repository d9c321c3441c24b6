"""Hausdorff distance of two segmentations, at the 95th percentile (HD95).

The surface of a mask is the set of its voxels with a neighbour across a face that is not in the mask; beyond the array
lies background. Distances are those between voxel centres, in mm. MONAI's `compute_hausdorff_distance` has the same
definition, in single precision and with infinity where a mask is empty.
"""

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import distance_transform_edt, find_objects

PERCENTILE = 95


def hd95(a: np.ndarray, b: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Return the HD95 in mm of each pair of masks, [N].

    It is the larger one of the two directed percentiles: of the distances from each surface voxel of a to the nearest
    surface voxel of b, and the reverse (with linear interpolation between ranks).

    Args:
        a: bool [N, Z, Y, X] for the distance of volumes, [N, Y, X] for that of images.
        b: as `a`.
        spacing_mm: distance of neighbouring voxels along the axes after the first.

    Returns:
        NaN where a mask is empty: no distance is defined.

    Raises:
        ValueError: the shapes differ, or `spacing_mm` has another number of axes.
    """
    if a.shape != b.shape or len(spacing_mm) != a.ndim - 1:
        raise ValueError(f"masks of shapes {a.shape} and {b.shape} with {len(spacing_mm)} distances of voxels")
    result = np.full(len(a), np.nan)
    for index, (on_a, on_b) in enumerate(zip(surface(a), surface(b))):
        if on_a.any() and on_b.any():
            (box,) = find_objects((on_a | on_b).astype(np.uint8))  # in which every nearest voxel lies
            on_a, on_b = on_a[box], on_b[box]
            to_a, to_b = (distance_transform_edt(~voxels, sampling=spacing_mm) for voxels in (on_a, on_b))
            result[index] = max(np.percentile(to_b[on_a], PERCENTILE), np.percentile(to_a[on_b], PERCENTILE))
    return result


def surface(masks: np.ndarray) -> np.ndarray:
    """Return the surface voxels of each mask of bool [N, ...]: those with a face neighbour outside their mask."""
    axes = range(1, masks.ndim)
    padded = np.pad(masks, [(0, 0), *((1, 1) for _ in axes)])
    inner = tuple(slice(None) if axis == 0 else slice(1, -1) for axis in range(masks.ndim))
    within = masks.copy()
    for axis in axes:
        for step in (-1, 1):
            within &= np.roll(padded, step, axis)[inner]
    return masks & ~within


def one_empty(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return for each pair of masks in a and b [N, ...] whether exactly one of them is empty, bool [N]."""
    axes = tuple(range(1, a.ndim))
    return a.any(axis=axes) != b.any(axis=axes)
