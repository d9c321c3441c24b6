"""Instance-specific refinement: a few gradient steps on the field of one pair, starting from the network's field.

The network is trained on many hearts; for a heart unlike them it leaves an error that its own images can reduce
(instance-specific optimisation, Balakrishnan et al. 2019). The loss compares the two images and, if `lambda_labels` is
above 0, their labels. The max field and the integration are those of the network, so its bound and its topology hold
for the result.

A free correction of every voxel follows the noise of the images too, by about a millimetre where nothing moves. A
correction that is interpolated between control points a few centimetres apart does not.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from cof.config.base import Triple
from cof.config.motion import RegistrationSettings
from cof.motion.losses import diffusion_energy, excess, image_loss, labels_loss
from cof.motion.resolution import motion_spacing, to_canonical
from cof.motion.toppr import Registration, Toppr
from cof.motion.warp import warp


def refine(
    network: Toppr,
    source: Tensor,
    target: Tensor,
    valid: tuple[bool, ...],
    settings: RegistrationSettings,
    labels: tuple[Tensor, Tensor] | None = None,
) -> Registration:
    """Register targets to sources, and refine the field of each pair on its own images.

    Args:
        network: the trained network; its weights do not change.
        source: [B, 1, Z, Y, X], intensities in [0, 1] on the canonical grid.
        target: the same shape.
        valid: Z flags, true for slices that hold an image.
        settings: settings of the network; `settings.path.refinement` has the number of steps, 0 for the network's
            result without refinement.
        labels: label shares of source and target, each [B, 4, Z, Y, X] (`cof.cine.grid.label_shares`); needed only if
            `lambda_labels` is above 0.

    Returns:
        The registrations, without gradients.

    Raises:
        ValueError: `lambda_labels` is above 0, and there are no labels.
    """
    refinement = settings.path.refinement
    if refinement.lambda_labels and labels is None:
        raise ValueError("a refinement by labels (lambda_labels) needs the labels of both frames")
    with torch.no_grad():
        field = network.unbounded(source, target)
    seen = torch.tensor(valid, device=field.device).expand(len(field), -1)
    spacing = motion_spacing(network.spacing_mm)
    control = field.new_zeros((*field.shape[:3], *_control_points(field, spacing, refinement.control_mm)))
    # The length of Adam's steps does not depend on the scale of the loss, if the gradients are far above its epsilon.
    scale = float(field.numel())
    with torch.enable_grad():
        control.requires_grad_()
        optimiser = torch.optim.Adam([control], refinement.step_mm)
        for step in range(refinement.steps):
            for group in optimiser.param_groups:
                group["lr"] = refinement.step_mm * 0.5 * (1 + math.cos(math.pi * step / refinement.steps))
            found = network.realise(field + _spread(control, field))
            displacement = to_canonical(found.displacement)
            loss = field.new_zeros(())
            if refinement.lambda_rec:
                warped = warp(source, displacement, network.spacing_mm)
                loss = loss + refinement.lambda_rec * image_loss(warped, target, seen, settings)
            if refinement.lambda_labels and labels is not None:
                by_labels = labels_loss(*labels, displacement, network.spacing_mm, seen)
                loss = loss + refinement.lambda_labels * by_labels
            if refinement.lambda_smooth:
                loss = loss + refinement.lambda_smooth * diffusion_energy(found.field, spacing)
            if settings.max_field == "hinge":
                loss = loss + excess(found.displacement, settings.max_field_mm)
            optimiser.zero_grad()
            (scale * loss).backward()
            optimiser.step()
    with torch.no_grad():
        return network.realise(field + _spread(control, field))


def _control_points(field: Tensor, spacing_mm: Triple, control_mm: float | None) -> tuple[int, int]:
    """Count the control points (y, x), about `control_mm` apart, of a field [B, 3, Z, Y, X]; all voxels if None."""
    rows, columns = (
        round(size * step / control_mm) if control_mm else size for size, step in zip(field.shape[3:], spacing_mm[1:])
    )
    return min(max(rows, 1), field.shape[3]), min(max(columns, 1), field.shape[4])


def _spread(control: Tensor, field: Tensor) -> Tensor:
    """Interpolate corrections at control points to the voxels of the field."""
    if control.shape == field.shape:
        return control
    return functional.interpolate(control, size=field.shape[2:], mode="trilinear", align_corners=False)
