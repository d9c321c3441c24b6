"""Objective of a batch of training pairs: L = lambda_rec L_rec + lambda_seg L_seg, eq (5) of the paper.

We add a term of labels: it compares the warped labels of the source with the labels of the target.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cof.config.motion import RegistrationSettings
from cof.labels.teacher import Stack
from cof.motion.losses import dice_loss, diffusion_energy, excess, image_loss, labels_loss
from cof.motion.native import NativeCrop
from cof.motion.pairs import NativePair, PairBatch
from cof.motion.resolution import motion_spacing, to_canonical
from cof.motion.toppr import Toppr
from cof.motion.warp import warp


class Segmenter(Protocol):
    """A frozen segmentation network that is differentiable in the image (`cof.labels.teacher.Teacher`)."""

    def see(self, stacks: Sequence[Stack]) -> list[Tensor]:
        """Return class probabilities [4, Z, Y, X] of each of several native stacks [Z, Y, X]."""
        ...


@dataclass(frozen=True)
class Terms:
    """Terms of the objective, before weighting. A term whose weight is zero is not computed and is zero.

    Attributes:
        rec: 1 - mean squared local correlation, or the mean squared difference.
        seg: Dice loss between the teacher's prediction on the warped source and its labels of the target.
        labels: Dice loss between the warped labels of the source and the labels of the target.
        smooth: diffusion energy of the network's field.
        excess: mean squared excess of u over the max field, if `max_field` is `hinge`.
        saturation: share of field components beyond 90 % of the max field; it is logged and not part of the objective.
    """

    rec: Tensor
    seg: Tensor
    labels: Tensor
    smooth: Tensor
    excess: Tensor
    saturation: float

    def total(self, settings: RegistrationSettings) -> Tensor:
        """Return the weighted sum of the terms."""
        return (
            settings.lambda_rec * self.rec
            + settings.lambda_seg * self.seg
            + settings.lambda_labels * self.labels
            + settings.lambda_smooth * self.smooth
            + self.excess
        )


def evaluate_pairs(
    network: Toppr, pairs: PairBatch, settings: RegistrationSettings, teacher: Segmenter | None
) -> Terms:
    """Register a batch of pairs, or a part of one, and compute the terms of the objective.

    Every term is scaled so that the mean over the parts of a batch, weighted by their numbers of pairs, is the term of
    the whole batch.

    Args:
        network: the registration network.
        pairs: pairs of subjects on the same canonical grid.
        settings: weights, window and max field.
        teacher: the frozen labeller; not needed if `lambda_seg` is zero.
    """
    spacing, source, target = network.spacing_mm, pairs.source, pairs.target
    if pairs.maps is None:
        found = network(source, target)
        displacement = found.displacement
    else:
        maps = pairs.maps
        found = network(maps.map_images(source, spacing), maps.map_images(target, spacing))
        displacement = maps.unmap_displacement(found.displacement, motion_spacing(spacing))

    zero = source.new_zeros(())
    rec = seg = labels = smooth = beyond = zero
    if settings.lambda_rec:
        warped = warp(source, to_canonical(displacement), spacing)
        rec = image_loss(warped, target, pairs.valid, settings) * pairs.voxels
    if settings.lambda_seg:
        assert teacher is not None
        seg = teacher_loss(teacher, pairs.natives, displacement)
    if settings.lambda_labels:
        assert pairs.labels is not None
        labels = labels_loss(*pairs.labels, to_canonical(displacement), spacing, pairs.valid)
    if settings.lambda_smooth:
        smooth = diffusion_energy(found.field, motion_spacing(spacing))
    if settings.max_field == "hinge":
        beyond = excess(found.displacement, settings.max_field_mm)
    return Terms(rec, seg, labels, smooth, beyond, found.saturation(settings.max_field_mm))


def draw_slices(crop: NativeCrop, count: int | str, rng: np.random.Generator) -> Tensor:
    """Draw native slices inside the canonical grid, in ascending order: `count` random ones, or "all"."""
    slices = np.array(crop.slices)
    if count != "all" and int(count) < len(slices):
        slices = np.sort(rng.choice(slices, int(count), replace=False))
    return torch.from_numpy(slices)


def teacher_loss(teacher: Segmenter, natives: Sequence[NativePair], displacement: Tensor) -> Tensor:
    """Compare the teacher's prediction on the warped native sources with its labels of the targets: eq (4).

    Args:
        teacher: the frozen labeller; it labels the slices of all pairs at once.
        natives: the B pairs.
        displacement: [B, 3, Z, Y/2, X/2] in mm on the motion grid; gradients flow to it.
    """
    stacks = [
        Stack(warped_slices(native, u[None]), native.crop.placement.native_spacing_mm, native.mean, native.std)
        for native, u in zip(natives, displacement)
    ]
    losses = []
    for native, student in zip(natives, teacher.see(stacks)):
        labels = F.one_hot(native.labels, len(student)).movedim(-1, 0).to(student.dtype)
        losses.append(dice_loss(student[None], labels[None]))
    return torch.stack(losses).mean()


def warped_slices(native: NativePair, displacement: Tensor) -> Tensor:
    """Warp the drawn native slices of a pair's source, inside the crop, by a displacement [1, 3, Z, Y/2, X/2] in mm.

    The result is [z, Yn, Xn], whole slices.
    """
    rows, columns = native.crop.box[1:]
    image = native.source[native.slices]
    moved = native.crop.sample(native.source, displacement, native.slices)[0]
    return torch.cat(
        [
            image[:, : rows.start],
            torch.cat([image[:, rows, : columns.start], moved, image[:, rows, columns.stop :]], dim=2),
            image[:, rows.stop :],
        ],
        dim=1,
    )
