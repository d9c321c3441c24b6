"""Connected components of label volumes."""

import cc3d
import numpy as np

from cof.heart.structures import STRUCTURES


def largest_components(labels: np.ndarray) -> np.ndarray:
    """Keep one 26-connected component of every structure and set the rest to background.

    It is the largest, but of the LV the one with the longest border to the myocardium (of equal ones the largest):
    where a network takes part of the RV for LV, that part can be larger than the cavity inside the ring.

    Args:
        labels: unsigned integers [Z, Y, X], 0 is background.

    Returns:
        The cleaned labels, same shape and type. Of two equal components, the one met first in memory order stays.
    """
    components = cc3d.connected_components(np.ascontiguousarray(labels), connectivity=26)
    sizes = np.bincount(components.ravel())
    # Every component lies within one structure, so any of its voxels tells which.
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
    """How many faces in the plane each component [Z, Y, X] shares with the wall, by component."""
    faces = np.zeros(int(components.max()) + 1, np.int64)
    for axis in (1, 2):
        ahead, behind = [slice(None)] * 3, [slice(None)] * 3
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        for own, other in ((ahead, behind), (behind, ahead)):
            touching = components[tuple(own)][wall[tuple(other)]]
            faces += np.bincount(touching.ravel(), minlength=len(faces))
    return faces
