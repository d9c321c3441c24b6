"""Outlines of the ventricles in each slice of a label map, as signed distances, from which labels follow again.

Slices are far apart and pixels are small, so that distances are those within a slice. Between slices they are
interpolated linearly (Raya and Udupa, IEEE Trans Med Imaging 9:32, 1990). The myocardium has no distance of its own: it
lies between two outlines, so its ring stays closed wherever both are interpolated.
"""

import numpy as np
from scipy import ndimage

from cof.heart.structures import STRUCTURES, SURFACES

# In mm, where a structure is in no slice: any negative number says that nothing lies inside.
_NOWHERE_MM = -1.0


def signed_distance(mask: np.ndarray, spacing_mm: tuple[float, float]) -> np.ndarray:
    """Compute the distance in mm from the outline of a mask [Y, X] that is not empty, positive inside.

    It is measured to the nearest pixel of the other side, less half a pixel, since the outline lies midway between both
    sides. Beyond the image lies nothing of the mask.
    """
    padded = np.pad(mask, 1)
    inside, outside = (ndimage.distance_transform_edt(part, spacing_mm) for part in (padded, ~padded))
    half_mm = min(spacing_mm) / 2
    return np.where(padded, inside - half_mm, half_mm - outside)[1:-1, 1:-1]


def outline_distances(labels: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Compute the signed distance from each outline of the heart in every slice.

    A slice without a structure gets -|d| of the nearest slice with it. With linear interpolation, each structure then
    ends half a slice distance beyond its last slice, as it does where closed surfaces are cut (`cof.heart.surfaces`).

    Args:
        labels: [Z, Y, X].
        spacing_mm: of the voxels (z, y, x).

    Returns:
        float32 [3, Z, Y, X] in mm, positive inside, in the order of `SURFACES`.
    """
    return np.stack([_distances(np.isin(labels, _codes(inside)), spacing_mm[1:]) for inside in SURFACES.values()])


def labels_within(distances: np.ndarray) -> np.ndarray:
    """Return the label of every voxel from its signed distances [3, ...] in the order of `SURFACES`: uint8 [...].

    A voxel belongs to the outline, LV epicardium or RV endocardium, that it lies deepest inside; to the LV's if both
    are equal; and to the background if it lies inside neither (a distance of 0 is not inside). Inside the epicardium it
    is LV if it lies inside the LV endocardium, else myocardium.
    """
    lv, myocardium, rv = (np.uint8(STRUCTURES[name]) for name in ("LV", "myocardium", "RV"))
    endocardium, epicardium, right = distances
    left = np.where(endocardium > 0, lv, myocardium)
    return np.where((epicardium > 0) & (epicardium >= right), left, np.where(right > 0, rv, np.uint8(0)))


def _codes(names: tuple[str, ...]) -> list[int]:
    return [STRUCTURES[name] for name in names]


def _distances(mask: np.ndarray, spacing_mm: tuple[float, float]) -> np.ndarray:
    """Compute the signed distance from the outlines of a mask [Z, Y, X] slice by slice, float32."""
    result = np.full(mask.shape, _NOWHERE_MM, np.float32)
    held = np.flatnonzero(mask.any(axis=(1, 2)))
    for index in held:
        result[index] = signed_distance(mask[index], spacing_mm)
    if len(held):
        for empty in np.setdiff1d(np.arange(len(mask)), held):
            apart = np.abs(held - empty)
            result[empty] = -np.abs(result[held[apart == apart.min()]]).min(axis=0)
    return result
