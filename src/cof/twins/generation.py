"""Generation of one heart: from the displacement or cine of a trained model to the native 4D cine and its labels."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from cof.cine.grid import Placement, from_canonical, nearest_frame, resample_phase
from cof.cine.volume import Cine, uniform_times
from cof.errors import CofError, Reason
from cof.models.base import Generated, Subject
from cof.models.trained import Trained
from cof.motion.labels import warp_native_labels
from cof.motion.native import warp_native
from cof.motion.path import DisplacementPath
from cof.motion.resolution import motion_spacing, to_canonical
from cof.motion.warp import fill_invalid, warp

if TYPE_CHECKING:
    from cof.labels.predict import Labeller


UNTIMED_RR_MS = 1000.0


@dataclass(frozen=True)
class Twin:
    """One generated heart.

    Attributes:
        native: the 4D cine on the native grid; outside the canonical grid every frame shows the anchor.
        canonical: float32 [T, Z, Y, X] on the canonical grid, intensities in [0, 1].
        displacement: float32 [T, 3, Z, Y/2, X/2] in mm (z, y, x); it points to end diastole (frame 0), whichever frame
            is the anchor. None for a family that generates images.
        made: output of the family.
        placement: where the canonical grid lies in the native stack.
        anchor_phase: phase of the frame that the anchor shows.
        timed: True if the duration of the cycle is known, from a cine or an ECG. If it is not, the frame times of
            `native` belong to a nominal cycle of `UNTIMED_RR_MS`, and only their phases have a meaning.
    """

    native: Cine
    canonical: Tensor
    displacement: Tensor | None
    made: Generated
    placement: Placement
    anchor_phase: float = 0.0
    timed: bool = True


def generate(trained: Trained, subject: Subject, cine: Cine, seed: int) -> Twin:
    """Generate the heart of one subject.

    Args:
        trained: the model.
        subject: anchor, ECG cycle and placement of the canonical grid.
        cine: the native cine. Only the frame of the anchor, the geometry and the frame times are read. If it has a
            single frame, the heart gets as many frames as the training data have, and the RR interval of the ECG, if
            there is one.
        seed: seed of families that draw at random.

    Raises:
        CofError: the canonical grid or the number of ECG samples differs from that of the training.
    """
    placement = subject.placement
    if placement.shape != trained.shape or not np.allclose(placement.spacing_mm, trained.spacing_mm):
        raise CofError(
            Reason.CINE_GEOMETRY,
            f"the canonical grid has shape {placement.shape} and spacing {placement.spacing_mm} mm (z, y, x), but the "
            f"model was trained with {trained.shape} and {trained.spacing_mm} mm",
        )
    if subject.beat.shape[1] != trained.beat_samples:
        raise CofError(
            Reason.UNEXPECTED,
            f"the ECG cycle has {subject.beat.shape[1]} samples, but the model was trained with {trained.beat_samples}",
        )
    lone = len(cine.frames) == 1
    frames = trained.frames if lone else len(cine.frames)
    made = trained.model.generate(subject, trained.frames, seed)
    anchor = np.array(cine.frames[nearest_frame(subject.anchor_phase, len(cine.frames))])
    native = native_frames(made, anchor, placement, frames, subject.anchor_phase)
    rr_ms = subject.rr_ms if lone else cine.rr_ms
    timed = bool(np.isfinite(rr_ms))
    rr_ms = rr_ms if timed else UNTIMED_RR_MS
    limits = np.iinfo(np.int16)
    generated = Cine(
        frames=np.clip(np.rint(native), limits.min, limits.max).astype(np.int16),
        affine=cine.affine,
        frame_times_ms=uniform_times(frames, rr_ms) if lone or not timed else cine.frame_times_ms,
        rr_ms=rr_ms,
        oriented=cine.oriented,
    )
    to_ed = made.displacement
    if to_ed is not None:
        path = DisplacementPath(to_ed, subject.anchor_phase)
        to_ed = path.about(0.0, motion_spacing(placement.spacing_mm)).knots
    return Twin(generated, canonical_frames(made, subject), to_ed, made, placement, subject.anchor_phase, timed)


def native_frames(
    made: Generated, anchor: np.ndarray, placement: Placement, frames: int, anchor_phase: float = 0.0
) -> np.ndarray:
    """Bring the output of a family to the native grid.

    Args:
        made: output of the family.
        anchor: native intensities [Z, Y, X].
        placement: where the canonical grid lies in the native stack.
        frames: number of frames to return.
        anchor_phase: phase of the frame that the anchor shows.

    Returns:
        float32 [T, Z, Y, X] with T = `frames`.
    """
    if made.displacement is not None:
        knots = DisplacementPath(made.displacement, anchor_phase).resample(frames).knots
        return warp_native(torch.from_numpy(anchor), knots, placement).numpy()
    return from_canonical(resample_phase(_cine(made).numpy(), frames), placement, anchor)


def canonical_frames(made: Generated, subject: Subject) -> Tensor:
    """Return the output of a family on the canonical grid: float32 [T, Z, Y, X], intensities in [0, 1]."""
    if made.displacement is not None:
        return warp_canonical(torch.from_numpy(subject.anchor), made.displacement, subject.placement)
    return _cine(made)


def _cine(made: Generated) -> Tensor:
    if made.cine is None:
        raise ValueError("the family generated neither a displacement nor a cine; it has to generate one of them")
    return made.cine


def warp_canonical(anchor: Tensor, displacement: Tensor, placement: Placement) -> Tensor:
    """Warp the canonical anchor [Z, Y, X] by each displacement [T, 3, Z, Y/2, X/2] (eq (11)) to [T, Z, Y, X]."""
    filled = fill_invalid(anchor, placement.valid)[None, None]
    # One frame at a time: the sampling grids of a whole cycle take many times the memory of the cycle.
    return torch.cat([warp(filled, to_canonical(u[None]), placement.spacing_mm)[:, 0] for u in displacement])


def label(cine: Cine, anchor: np.ndarray, anchor_labels: np.ndarray, labeller: "Labeller") -> np.ndarray:
    """Label a generated cine.

    Args:
        cine: the generated cine.
        anchor: the real anchor, [Z, Y, X]; frames that are equal to it are not labelled again.
        anchor_labels: uint8 [Z, Y, X], labels of the anchor by the same labeller.
        labeller: the labeller that also labels the real cines.

    Returns:
        uint8 [T, Z, Y, X].
    """
    moved = (cine.frames != anchor).any(axis=(1, 2, 3))
    labels = np.broadcast_to(anchor_labels, cine.frames.shape).copy()
    if moved.any():
        labels[moved] = labeller.label(cine.frames[moved], cine.spacing_mm)
    return labels


def propagate(twin: Twin, anchor_labels: np.ndarray, placement: Placement) -> np.ndarray:
    """Move the labels of the anchor by the generated displacement.

    `cof.motion.labels` defines how. What leaves the stack is gone.

    Args:
        twin: a heart whose family generated a displacement.
        anchor_labels: uint8 [Z, Y, X] on the native grid.
        placement: where the canonical grid lies in the native stack.

    Returns:
        uint8 [T, Z, Y, X]; equal to `anchor_labels` where nothing moves.
    """
    assert twin.made.displacement is not None
    path = DisplacementPath(twin.made.displacement, twin.anchor_phase).resample(len(twin.native.frames))
    return warp_native_labels(torch.from_numpy(anchor_labels), path.knots, placement).numpy()
