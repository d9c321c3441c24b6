"""Affine maps between hearts: displacement seen through a map, and the pose of a heart in its anchor."""

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
    """The displacement between images that are both seen through y = A x + b: u'(x) = A^-1 u(A x + b).

    Args:
        maps: one map a sample.
        displacement_mm: u or a velocity, [B, 3, Z, Y, X], channels (z, y, x).
        spacing_mm: of its grid, whose centre is the origin of the maps.
    """
    inverse = torch.linalg.inv(maps.matrices)
    shifts = -torch.einsum("bij,bj->bi", inverse, maps.shifts)
    return AffineMaps(inverse, shifts).unmap_displacement(displacement_mm, spacing_mm)


@dataclass(frozen=True)
class HeartPose:
    """Where the left ventricle lies in an anchor, and how large it is there; every triple is in the order z, y, x.

    Attributes:
        centre_mm: centroid of cavity and myocardium, from the centre of the grid.
        size_mm: root-mean-square distance from it, along z and, one value for both axes, in-plane.
    """

    centre_mm: Triple
    size_mm: Triple

    @classmethod
    def of(cls, labels: np.ndarray, spacing_mm: Triple) -> "HeartPose":
        """The pose from labels [Z, Y, X] of the anchor on the canonical grid.

        Raises:
            CofError: there is no left ventricle, or it lies in one slice only.
        """
        voxels = np.argwhere(np.isin(labels, LEFT_VENTRICLE))
        if not len(voxels) or np.ptp(voxels[:, 0]) == 0:
            raise CofError(Reason.HEART_NOT_FOUND, "the anchor's labels show no left ventricle to align")
        places = (voxels - (np.array(labels.shape) - 1) / 2) * np.array(spacing_mm)
        z, y, x = places.mean(0)
        var_z, var_y, var_x = places.var(0)
        in_plane = float(np.sqrt((var_y + var_x) / 2))
        return cls((float(z), float(y), float(x)), (float(np.sqrt(var_z)), in_plane, in_plane))

    def onto(self, other: "HeartPose") -> AffineMaps:
        """The map from positions about this heart to the corresponding ones about `other`."""
        factors = np.array(other.size_mm) / np.array(self.size_mm)
        shift = np.array(other.centre_mm) - factors * np.array(self.centre_mm)
        return AffineMaps(torch.from_numpy(np.diag(factors)[None]).float(), torch.from_numpy(shift[None]).float())
