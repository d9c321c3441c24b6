"""Affine maps between hearts: the displacement after a map, and the pose of a heart in its anchor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cof.config.base import Triple
from cof.errors import CofError, Reason
from cof.heart.structures import STRUCTURES
from cof.motion.augmentation import AffineMaps

LEFT_VENTRICLE = (STRUCTURES["LV"], STRUCTURES["myocardium"])


def map_displacement(maps: AffineMaps, displacement_mm: Tensor, spacing_mm: Triple) -> Tensor:
    """Return the displacement u'(x) = A^-1 u(A x + b) between two images that are both resampled by y = A x + b.

    Args:
        maps: one map (A, b) per sample.
        displacement_mm: displacement u or a velocity, [B, 3, Z, Y, X], channels (z, y, x).
        spacing_mm: spacing of its grid (z, y, x); the centre of the grid is the origin of the maps.
    """
    inverse = torch.linalg.inv(maps.matrices)
    shifts = -torch.einsum("bij,bj->bi", inverse, maps.shifts)
    return AffineMaps(inverse, shifts).unmap_displacement(displacement_mm, spacing_mm)


@dataclass(frozen=True)
class HeartPose:
    """Position and size of the left ventricle in an anchor; every triple is in the order z, y, x.

    Attributes:
        centre_mm: centroid of LV and myocardium, relative to the centre of the grid.
        size_mm: root-mean-square distance from the centroid along z and in-plane; y and x have the same value.
    """

    centre_mm: Triple
    size_mm: Triple

    @classmethod
    def of(cls, labels: np.ndarray, spacing_mm: Triple) -> "HeartPose":
        """Measure the pose from labels [Z, Y, X] of the anchor on the canonical grid.

        Raises:
            CofError: there is no left ventricle, or it lies in a single slice.
        """
        voxels = np.argwhere(np.isin(labels, LEFT_VENTRICLE))
        if not len(voxels) or np.ptp(voxels[:, 0]) == 0:
            raise CofError(
                Reason.HEART_NOT_FOUND, "the labels of the anchor have LV or myocardium in fewer than two slices"
            )
        places = (voxels - (np.array(labels.shape) - 1) / 2) * np.array(spacing_mm)
        z, y, x = places.mean(0)
        var_z, var_y, var_x = places.var(0)
        in_plane = float(np.sqrt((var_y + var_x) / 2))
        return cls((float(z), float(y), float(x)), (float(np.sqrt(var_z)), in_plane, in_plane))

    @classmethod
    def mean(cls, poses: Sequence["HeartPose"]) -> "HeartPose":
        """Return the pose with the mean position and the mean size of several."""
        z, y, x = np.mean([pose.centre_mm for pose in poses], 0).tolist()
        size_z, size_y, size_x = np.mean([pose.size_mm for pose in poses], 0).tolist()
        return cls((z, y, x), (size_z, size_y, size_x))

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors for `of_tensors`."""
        return {name: torch.tensor(values, dtype=torch.float64) for name, values in vars(self).items()}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor]) -> "HeartPose":
        """Make the pose from the result of `tensors`."""
        (z, y, x), (size_z, size_y, size_x) = tensors["centre_mm"].tolist(), tensors["size_mm"].tolist()
        return cls((z, y, x), (size_z, size_y, size_x))

    def onto(self, other: "HeartPose") -> AffineMaps:
        """Return the map from positions around this heart to the corresponding positions around `other`."""
        factors = np.array(other.size_mm) / np.array(self.size_mm)
        shift = np.array(other.centre_mm) - factors * np.array(self.centre_mm)
        return AffineMaps(torch.from_numpy(np.diag(factors)[None]).float(), torch.from_numpy(shift[None]).float())
