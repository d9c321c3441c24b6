"""Connected components of label volumes."""

import cc3d
import numpy as np

from cof.heart.structures import STRUCTURES


def largest_components(labels: np.ndarray) -> np.ndarray:
    """Keep one 26-connected component of every structure and set the rest to background.

    This is the largest component. For the LV it is the component with the longest border to the myocardium, and the
    largest among equals: where a network labels part of the RV as LV, that part can be larger than the true cavity.

    Args:
        labels: unsigned integers [Z, Y, X], 0 is background.

    Returns:
        The cleaned labels, with the same shape and type. Of two equal components, the first in memory order is kept.
    """
    components = cc3d.connected_components(np.ascontiguousarray(labels), connectivity=26)
    sizes = np.bincount(components.ravel())
    # Every component lies within one structure, so any of its voxels gives the structure.
    structure_of = np.zeros(len(sizes), labels.dtype)
    structure_of[components.ravel()] = labels.ravel()
    ringed = _borders(components, labels == STRUCTURES["myocardium"]) * (components.size + 1) + sizes
    kept = np.zeros(len(sizes), labels.dtype)
    for structure in np.unique(structure_of[1:]):
        candidates = np.flatnonzero(structure_of == structure)
        rank = ringed if structure == STRUCTURES["LV"] else sizes
        kept[candidates[np.argmax(rank[candidates])]] = structure
    return kept[components]


def _borders(components: np.ndarray, wall: np.ndarray) -> np.ndarray:
    """Count the in-plane voxel faces that each component [Z, Y, X] shares with the wall [Z, Y, X], by component."""
    faces = np.zeros(int(components.max()) + 1, np.int64)
    for axis in (1, 2):
        ahead, behind = [slice(None)] * 3, [slice(None)] * 3
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        for own, other in ((ahead, behind), (behind, ahead)):
            touching = components[tuple(own)][wall[tuple(other)]]
            faces += np.bincount(touching.ravel(), minlength=len(faces))
    return faces
