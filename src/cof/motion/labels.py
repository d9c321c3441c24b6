"""Labels moved by a displacement: outlines are warped as signed distances, and the labels follow from them.

Warped masks with the largest share as the label would make small and thin structures thinner, and the border values
that continue beyond the stack would keep a ventricle in slices that its base has left. Losses of trainings move masks
all the same (`cof.motion.losses.labels_loss`): they need a share of every voxel, with a gradient.
"""

from dataclasses import replace

import torch
from torch import Tensor

from cof.cine.grid import Placement
from cof.config.base import Triple
from cof.heart.outlines import labels_within, outline_distances
from cof.motion.native import native_displacement
from cof.motion.warp import reachable, stack_share, warp


def warp_labels(labels: Tensor, displacement_mm: Tensor, spacing_mm: Triple) -> Tensor:
    """Move a label map by displacements: the label at x is that of x + u(x) among the outlines of the map.

    Outlines are those of `cof.heart.outlines`: distances within the slices, interpolated linearly. What comes from more
    than one slice distance beyond the first or the last slice is background (`stack_share`), so that a ventricle can
    leave the stack.

    Args:
        labels: [Z, Y, X], whole numbers.
        displacement_mm: [T, 3, Z, Y, X] in mm (z, y, x), on the same grid.
        spacing_mm: voxel spacing (z, y, x).

    Returns:
        uint8 [T, Z, Y, X] on the CPU; exactly the labels where nothing moves.
    """
    outlines = _outlines(labels, spacing_mm)
    return torch.stack([_moved(outlines, u, spacing_mm) for u in displacement_mm])


def warp_native_labels(labels: Tensor, u: Tensor, placement: Placement) -> Tensor:
    """Move native labels as `warp_labels` does, by displacements on the motion grid, as `warp_native` moves images.

    Args:
        labels: [Z, Y, X], whole numbers.
        u: [T, 3, Z, Y/2, X/2] in mm (z, y, x) on the motion grid.
        placement: where the canonical grid lies in the native stack.

    Returns:
        uint8 [T, Z, Y, X] on the CPU; a frame whose u is zero is exactly the labels.
    """
    moved = labels.to("cpu", torch.uint8).repeat(len(u), 1, 1, 1)
    _, rows, columns = reachable(labels > 0, u, placement.native_spacing_mm)
    part = labels[:, rows, columns]
    depth, height, width = part.shape
    along_z, down, across = placement.offset
    within = replace(
        placement,
        offset=(along_z, down - rows.start, across - columns.start),
        native_shape=(depth, height, width),
    )
    outlines = _outlines(part, placement.native_spacing_mm)
    for frame, motion in zip(moved, u):
        if motion.any():
            shift = native_displacement(motion[None].float(), within)[0]
            frame[:, rows, columns] = _moved(outlines, shift, placement.native_spacing_mm)
    return moved


def _outlines(labels: Tensor, spacing_mm: Triple) -> Tensor:
    return torch.from_numpy(outline_distances(labels.cpu().numpy(), spacing_mm))


def _moved(outlines: Tensor, displacement_mm: Tensor, spacing_mm: Triple) -> Tensor:
    """Warp outlines [3, Z, Y, X] by one displacement [3, Z, Y, X] in mm, and return the labels: uint8 [Z, Y, X]."""
    warped = warp(outlines.to(displacement_mm)[None], displacement_mm[None], spacing_mm)[0]
    found = torch.from_numpy(labels_within(warped.cpu().numpy()))
    there = stack_share(displacement_mm[0], spacing_mm[0], 0, len(found) - 1) >= 0.5
    return found.masked_fill_(~there.cpu(), 0)
