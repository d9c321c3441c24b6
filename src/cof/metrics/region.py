"""The region of the heart in which the image metrics of the heart are computed."""

import numpy as np
from scipy.ndimage import distance_transform_edt

from cof.cine.grid import Placement, labels_to_canonical

MARGIN_MM = 5.0


def heart_region(labels: np.ndarray, placement: Placement) -> np.ndarray:
    """Return the voxels within 5 mm of the real heart in any frame, bool [Z, Y, X] on the canonical grid.

    The region is the union of all structures over the cycle, dilated in the plane of each slice. It comes from the real
    heart's labels alone, so it is the same in every frame and for every generated heart.

    Args:
        labels: native labels [T, Z, Y, X] of the real cine.
        placement: the canonical grid in the native stack.
    """
    swept = labels_to_canonical(labels.max(axis=0) > 0, placement)
    slices = (distance_transform_edt(~image, sampling=placement.spacing_mm[1:]) for image in swept)
    # The transform measures the distance to a heart's voxel; a slice without one has no such distance.
    return np.stack([(distance <= MARGIN_MM) & image.any() for distance, image in zip(slices, swept)])
