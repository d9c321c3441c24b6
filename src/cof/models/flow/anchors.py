"""Choice of another frame of the cycle as the anchor than end diastole."""

from dataclasses import replace

import torch

from cof.cine.grid import INTENSITY_UNIT, at_phase, nearest_frame
from cof.models.base import Example
from cof.motion.path import DisplacementPath
from cof.motion.resolution import motion_spacing


def about(example: Example, phase: float) -> Example:
    """Return the same heart with the frame at a phase as its anchor, and with the displacement to that anchor.

    Args:
        example: an example with the cine (as stored, or floats in [0, 1]), the labels and the displacement of its whole
            cycle.
        phase: phase of the anchor; the nearest frame that has labels is taken.

    Raises:
        ValueError: the example lacks cine, labels or displacement.
    """
    if example.cine is None or example.labels is None or example.displacement is None:
        raise ValueError(f"{example.subject}: another anchor needs cine, labels and displacement of a whole cycle")
    frame = nearest_frame(phase, len(example.labels))
    phase = frame / len(example.labels)
    if phase == example.anchor_phase:
        return example
    unit = 1.0 if example.cine.dtype.kind == "f" else INTENSITY_UNIT
    path = DisplacementPath(torch.from_numpy(example.displacement), example.anchor_phase)
    return replace(
        example,
        anchor=at_phase(example.cine, phase) * unit,
        anchor_labels=example.labels[frame],
        displacement=path.about(phase, motion_spacing(example.placement.spacing_mm)).knots.numpy(),
        anchor_phase=phase,
    )
