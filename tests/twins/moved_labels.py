"""Volumes of labels in motion on slices of 2 mm: what those of moving surfaces are compared with."""

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, map_coordinates

from cof.cine.grid import Placement
from cof.heart.structures import SURFACES
from cof.motion.native import native_displacement
from cof.motion.path import DisplacementPath

CODES = {"LV": 1, "myocardium": 2, "RV": 3}
_STEP_MM = 2.0


def moved_volumes(
    labels: np.ndarray, displacement: torch.Tensor, placement: Placement, frames: int
) -> dict[str, np.ndarray]:
    """Volume in mL, [T], inside each surface: ED labels between slices by their signed distances, pulled back.

    Slices reach half a slice distance to both sides. Voxels of 2 mm along z; in-plane those of the stack.
    """
    spacing = placement.native_spacing_mm
    finer = round(spacing[0] / _STEP_MM)
    height = (np.arange(labels.shape[0] * finer) - (finer - 1) / 2) / finer  # in slices
    motion = DisplacementPath(displacement.float()).resample(frames).knots
    fields = [_between(native_displacement(one[None], placement)[0].numpy(), height) for one in motion]
    index = np.stack(np.meshgrid(np.arange(len(height)), *map(np.arange, labels.shape[1:]), indexing="ij"))
    step = np.array([spacing[0] / finer, *spacing[1:]])[:, None, None, None]
    found = {}
    for name, structures in SURFACES.items():
        mask = _interpolated(np.isin(labels, [CODES[one] for one in structures]), height, spacing[1:])
        pulled = (map_coordinates(mask, index + field / step, order=1, mode="constant") > 0.5 for field in fields)
        found[name] = np.array([one.sum() for one in pulled]) * float(step.prod()) / 1000
    return found


def _between(field: np.ndarray, height: np.ndarray) -> np.ndarray:
    """A native field [3, Z, Y, X] between slices."""
    at = np.clip(height, 0, field.shape[1] - 1)
    below = np.minimum(at.astype(int), field.shape[1] - 2)
    share = (at - below)[:, None, None]
    return field[:, below] * (1 - share) + field[:, below + 1] * share


def _interpolated(mask: np.ndarray, height: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """A mask [Z, Y, X] at heights in slices, as float32, with empty slices added at both ends of the stack."""
    slices = np.flatnonzero(mask.any((1, 2)))
    distance = np.stack(
        [distance_transform_edt(mask[i], spacing) - distance_transform_edt(~mask[i], spacing) for i in slices]
    )
    at = np.clip(np.interp(height, slices, np.arange(len(slices))), 0, len(slices) - 1)
    below = np.minimum(at.astype(int), len(slices) - 2)
    share = (at - below)[:, None, None]
    inside = (height > slices[0] - 0.5) & (height < slices[-1] + 0.5)
    between = distance[below] * (1 - share) + distance[below + 1] * share
    return ((between > 0) & inside[:, None, None]).astype(np.float32)
