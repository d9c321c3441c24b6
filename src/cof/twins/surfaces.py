"""The moving surfaces of one heart: those of ED, carried along by its motion."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from cof.cine.grid import Placement
from cof.heart.structures import SURFACES
from cof.heart.surfaces import Surface, enclosed_ml, surface_of
from cof.motion.path import DisplacementPath
from cof.motion.points import follow

# Farther from where the motion puts them than this, vertices are remarked upon.
_OFF_MM = 0.1


def moving_surfaces(
    labels: np.ndarray, displacement: Tensor, placement: Placement, affine: np.ndarray, frames: int
) -> dict[str, Surface]:
    """Compute the surfaces of one heart over its cycle.

    Args:
        labels: [Z, Y, X] of ED on the native grid.
        displacement: [T', 3, Z', Y'/2, X'/2] in mm (z, y, x) on the motion grid; it pulls frame k / T' back to ED.
        placement: where the canonical grid lies in the native stack.
        affine: [4, 4], from native voxel index (x, y, z, 1) to RAS coordinates in mm.
        frames: number T of frames of the surfaces.

    Returns:
        The surfaces by name, in the order of `SURFACES`; their arrays are read-only.

    Raises:
        CofError: HEART_NOT_FOUND, a structure is missing in the labels.
    """
    spacing = placement.native_spacing_mm
    knots = DisplacementPath(displacement.float()).resample(frames).knots
    made = [surface_of(name, labels, spacing) for name in SURFACES]
    points = np.concatenate([vertices for vertices, _, _ in made])
    moved, left = follow(torch.from_numpy(points), knots, placement)
    ends = np.cumsum([len(vertices) for vertices, _, _ in made])[:-1]
    index = moved.numpy()[..., ::-1] / spacing[::-1]
    world = np.split(index @ affine[:3, :3].T + affine[:3, 3], ends, axis=1)
    off = np.split(left.numpy(), ends, axis=1)
    surfaces = {}
    for name, vertices, (_, faces, remarks), distance in zip(SURFACES, world, made, off):
        faces = faces if enclosed_ml(vertices[0], faces) > 0 else np.ascontiguousarray(faces[:, ::-1])
        vertices.flags.writeable = faces.flags.writeable = False
        surfaces[name] = Surface(name, vertices, faces, remarks)
        astray = int((distance > _OFF_MM).any(axis=0).sum())
        if astray:
            of = distance.shape[1]
            remark = f"{name}: the motion folds at {astray} of {of} vertices, off by up to {distance.max():.1f} mm"
            surfaces[name] = replace(surfaces[name], remarks=(*remarks, remark))
    return surfaces
