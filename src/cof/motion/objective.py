"""The objective of a batch of training pairs: L = lambda_rec L_rec + lambda_seg L_seg, equation (5) of the paper."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cof.config import RegistrationSettings, Triple
from cof.motion.augmentation import AffineMaps
from cof.motion.losses import dice_loss, diffusion_energy, excess, image_loss
from cof.motion.native import NativeCrop
from cof.motion.pairs import Pair
from cof.motion.resolution import motion_spacing, to_canonical
from cof.motion.toppr import Toppr
from cof.motion.warp import warp


class Segmenter(Protocol):
    """A frozen segmentation network that is differentiable in the image (`cof.labels.teacher.Teacher`)."""

    def probabilities(self, volume: Tensor, spacing_mm: Triple, mean: float, std: float) -> Tensor:
        """Class probabilities [B, 4, Z, Y, X] of native volumes [B, 1, Z, Y, X]."""
        ...


@dataclass(frozen=True)
class Terms:
    """The terms of the objective, unweighted; those with a weight of zero are not computed and are zero.

    Attributes:
        rec: 1 - mean squared local correlation, or the mean squared difference.
        seg: Dice loss against the teacher's labels.
        smooth: diffusion energy of the network's field.
        excess: mean squared excess of u over the max field, where that is a hinge.
        saturation: share of field components beyond nine tenths of the max field; no part of the objective.
    """

    rec: Tensor
    seg: Tensor
    smooth: Tensor
    excess: Tensor
    saturation: float

    def total(self, settings: RegistrationSettings) -> Tensor:
        """The weighted sum."""
        return (
            settings.lambda_rec * self.rec
            + settings.lambda_seg * self.seg
            + settings.lambda_smooth * self.smooth
            + self.excess
        )


def evaluate_pairs(
    network: Toppr,
    pairs: list[Pair],
    settings: RegistrationSettings,
    teacher: Segmenter | None,
    rng: np.random.Generator,
) -> Terms:
    """Register a batch of pairs and compute the terms of the objective.

    Args:
        network: the registration network.
        pairs: of subjects on the same canonical grid.
        settings: weights, window, slices and augmentation.
        teacher: the frozen labeller; not needed if `lambda_seg` is zero.
        rng: source of augmentation and of the slices that the teacher sees.
    """
    device = next(network.parameters()).device
    spacing = network.spacing_mm
    source = torch.stack([pair.subject.canonical(pair.source) for pair in pairs])[:, None].to(device)
    target = torch.stack([pair.subject.canonical(pair.target) for pair in pairs])[:, None].to(device)
    if settings.augmentation is None:
        found = network(source, target)
        displacement = found.displacement
    else:
        maps = AffineMaps.draw(settings.augmentation, len(pairs), rng, device)
        found = network(maps.map_images(source, spacing), maps.map_images(target, spacing))
        displacement = maps.unmap_displacement(found.displacement, motion_spacing(spacing))

    zero = source.new_zeros(())
    rec = seg = smooth = beyond = zero
    if settings.lambda_rec:
        valid = torch.tensor([pair.subject.placement.valid for pair in pairs], device=device)
        rec = image_loss(warp(source, to_canonical(displacement), spacing), target, valid, settings)
    if settings.lambda_seg:
        assert teacher is not None
        seg = torch.stack(
            [
                teacher_loss(teacher, pair, u[None], draw_slices(pair.subject.crop, settings.seg_slices, rng))
                for pair, u in zip(pairs, displacement)
            ]
        ).mean()
    if settings.lambda_smooth:
        smooth = diffusion_energy(found.field, motion_spacing(spacing))
    if settings.max_field == "hinge":
        beyond = excess(found.displacement, settings.max_field_mm)
    return Terms(rec, seg, smooth, beyond, found.saturation(settings.max_field_mm))


def draw_slices(crop: NativeCrop, count: int | str, rng: np.random.Generator) -> Tensor:
    """Native slices under the canonical grid, in order: `count` random ones, or all of them."""
    slices = np.array(crop.slices)
    if count != "all" and int(count) < len(slices):
        slices = np.sort(rng.choice(slices, int(count), replace=False))
    return torch.from_numpy(slices)


def teacher_loss(teacher: Segmenter, pair: Pair, displacement: Tensor, slices: Tensor) -> Tensor:
    """Equation (4): what the frozen labeller sees in the warped native source, against its own labels of the target.

    Args:
        teacher: the frozen labeller.
        pair: the subject and its two frames.
        displacement: [1, 3, Z, Y/2, X/2] in mm on the motion grid; gradients flow to it.
        slices: native slices to compare.
    """
    subject = pair.subject
    crop = subject.crop.to(displacement.device)
    source = subject.native_frame(pair.source).to(displacement.device)
    rows, columns = crop.box[1:]
    image = source[slices]
    moved = crop.sample(source, displacement, slices)[0]
    whole = torch.cat(
        [
            image[:, : rows.start],
            torch.cat([image[:, rows, : columns.start], moved, image[:, rows, columns.stop :]], dim=2),
            image[:, rows.stop :],
        ],
        dim=1,
    )
    mean, std = subject.intensity_statistics(pair.target)
    student = teacher.probabilities(whole[None, None], subject.placement.native_spacing_mm, mean, std)
    labels = subject.native_labels(pair.target)[slices].to(displacement.device)
    return dice_loss(student, F.one_hot(labels, student.shape[1]).movedim(-1, 0)[None].to(student.dtype))
