"""Registration of a whole cardiac cycle: the displacement samples u_1 ... u_T of eq (7) of the paper."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from cof.config.motion import RegistrationSettings
from cof.motion.integrate import compose
from cof.motion.jacobian import Regularity, jacobian_determinant, regularity
from cof.motion.path import DisplacementPath
from cof.motion.refinement import refine
from cof.motion.resolution import motion_spacing, to_canonical
from cof.motion.toppr import Toppr
from cof.motion.warp import fill_invalid

Pairing = Literal["direct", "composed"]

_DEFAULTS = RegistrationSettings()


def frame_pairs(frames: int, pairing: Pairing) -> list[tuple[int, int]]:
    """Return the pairs of (source, target) frames of a cycle, in the order of the registered frames.

    `direct` registers frames 1 to T-1 to the anchor, frame 0. `composed` registers every frame to the previous one, and
    at the end frame 0 to frame T-1, to close the cycle.
    """
    if pairing == "direct":
        return [(0, frame) for frame in range(1, frames)]
    return [(frame - 1, frame % frames) for frame in range(1, frames + 1)]


@dataclass(frozen=True)
class Cycle:
    """The registered motion of one heart.

    Attributes:
        displacement: float32 [T, 3, Z, Y/2, X/2] in mm (z, y, x); u_t points from frame t to the anchor; u_0 is zero.
        closure_mm: mean length of u_T, the displacement that remains after a whole cycle; zero for direct pairs.
        saturation: share of field components beyond 90 % of the max field.
        regularity: folding of x + u_t(x) over frames t >= 1, on the valid slices of the canonical grid.
    """

    displacement: Tensor
    closure_mm: float
    saturation: float
    regularity: Regularity


@torch.no_grad()
def register_cycle(
    network: Toppr,
    frames: Tensor,
    valid: tuple[bool, ...],
    settings: RegistrationSettings = _DEFAULTS,
    batch: int = 16,
    labels: Tensor | None = None,
) -> Cycle:
    """Register every frame of a cine to its anchor.

    Args:
        network: the trained network.
        frames: float32 [T, Z, Y, X] on the canonical grid, intensities in [0, 1]; frame 0 is the anchor.
        valid: Z flags, true for slices that hold an image.
        settings: pairing, refinement and temporal low-pass.
        batch: number of pairs per forward pass; it changes the memory, and the results only by rounding.
        labels: [T, 4, Z, Y, X], label shares of every frame; needed only for a refinement by labels.
    """
    device = next(network.parameters()).device
    frames = fill_invalid(frames, valid).to(device)[:, None]
    labels = fill_invalid(labels, valid).to(device) if labels is not None else None
    found, saturation = [], []
    pairs = torch.tensor(frame_pairs(len(frames), settings.pairing), device=device)
    for sources, targets in ((chunk[:, 0], chunk[:, 1]) for chunk in pairs.split(batch)):
        pair = frames[sources], frames[targets]
        if settings.path.refinement.steps:
            known = (labels[sources], labels[targets]) if labels is not None else None
            registration = refine(network, *pair, valid, settings, known)
        else:
            registration = network(*pair)
        found.append(registration.displacement)
        saturation.append(registration.saturation(network.max_field_mm) * len(sources))
    steps = torch.cat(found)
    spacing = motion_spacing(network.spacing_mm)
    if settings.pairing == "composed":
        for index in range(1, len(steps)):
            steps[index] = compose(steps[index - 1 : index], steps[index : index + 1], spacing)[0]
        steps, last = steps[:-1], steps[-1]
        closure = float(last.norm(dim=0)[torch.tensor(valid)].mean())
    else:
        closure = 0.0
    displacement = torch.cat([torch.zeros_like(steps[:1]), steps])
    if settings.path.harmonics:
        displacement = DisplacementPath(displacement).low_pass(settings.path.harmonics).knots
    # One frame at a time, so that its derivatives fit into the cache of a CPU.
    determinant = torch.cat([jacobian_determinant(to_canonical(u[None]), network.spacing_mm) for u in displacement[1:]])
    inside = determinant if all(valid) else determinant[:, list(valid)]
    return Cycle(displacement, closure, sum(saturation) / len(pairs), regularity(inside))
