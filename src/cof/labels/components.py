"""Connected components of label volumes."""

import cc3d
import numpy as np


def largest_components(labels: np.ndarray) -> np.ndarray:
    """Keep the largest 26-connected component of every structure and set the rest to background.

    Args:
        labels: unsigned integers [Z, Y, X], 0 is background.

    Returns:
        The cleaned labels, same shape and type. Of two equally large components, the one met first in memory order
        stays.
    """
    components = cc3d.connected_components(np.ascontiguousarray(labels), connectivity=26)
    sizes = np.bincount(components.ravel())
    # Every component lies within one structure, so any of its voxels tells which.
    structure_of = np.zeros(len(sizes), labels.dtype)
    structure_of[components.ravel()] = labels.ravel()
    kept = np.zeros(len(sizes), labels.dtype)
    for structure in np.unique(structure_of[1:]):
        candidates = np.flatnonzero(structure_of == structure)
        kept[candidates[np.argmax(sizes[candidates])]] = structure
    return kept[components]
