"""How well two segmentations agree, structure by structure."""

import numpy as np


def _counts(a: np.ndarray, b: np.ndarray, label: int) -> tuple[np.ndarray, np.ndarray]:
    """Voxels in both and the sum of the voxels in each, [T], of one label in a and b [T, Z, Y, X]."""
    if a.shape != b.shape:
        raise ValueError(f"label maps of different shapes: {a.shape} and {b.shape}")
    in_a, in_b = a == label, b == label
    axes = (1, 2, 3)
    return (in_a & in_b).sum(axis=axes), in_a.sum(axis=axes) + in_b.sum(axis=axes)


def dice(a: np.ndarray, b: np.ndarray, label: int) -> np.ndarray:
    """Three-dimensional Dice coefficient 2 |A n B| / (|A| + |B|) of every frame, [T].

    Args:
        a: labels [T, Z, Y, X].
        b: labels [T, Z, Y, X].
        label: the structure's label.

    Returns:
        0 where the structure is in one map only, NaN where it is in neither.
    """
    both, total = _counts(a, b, label)
    return np.where(total > 0, 2 * both / np.maximum(total, 1), np.nan)


def iou(a: np.ndarray, b: np.ndarray, label: int) -> np.ndarray:
    """Three-dimensional intersection over union |A n B| / |A u B| of every frame, [T]; else as `dice`."""
    both, total = _counts(a, b, label)
    return np.where(total > 0, both / np.maximum(total - both, 1), np.nan)
