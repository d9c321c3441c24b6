"""One heart: from a trained model's displacement or cine to the native 4D cine and its labels."""

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
from cof.motion.native import warp_native, warp_native_labels
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
        displacement: float32 [T, 3, Z, Y/2, X/2] in mm (z, y, x), which points to end diastole, frame 0, whatever frame
            the anchor is; None for a family that generates images.
        made: what the family generated.
        anchor_phase: phase of the frame that the anchor shows.
        timed: the length of the cycle is known, from a cine or an ECG. Where it is not, the times of `native` are those
            of a cycle of `UNTIMED_RR_MS`, and mean nothing but phases.
    """

    native: Cine
    canonical: Tensor
    displacement: Tensor | None
    made: Generated
    anchor_phase: float = 0.0
    timed: bool = True


def generate(trained: Trained, subject: Subject, cine: Cine, seed: int) -> Twin:
    """Generate the heart of one subject.

    Args:
        trained: the model.
        subject: anchor, ECG cycle and placement of the canonical grid.
        cine: the native cine, of which only the anchor's frame, its geometry and its timing are read. A lone anchor
            gets as many frames as the training data have, over the RR interval of the ECG, if there is one.
        seed: for families that draw at random.

    Raises:
        CofError: the subject's grid or cycle is not the one that the model was trained on.
    """
    placement = subject.placement
    if placement.shape != trained.shape or not np.allclose(placement.spacing_mm, trained.spacing_mm):
        raise CofError(Reason.CINE_GEOMETRY, "the model was trained on another canonical grid")
    if subject.beat.shape[1] != trained.beat_samples:
        raise CofError(Reason.UNEXPECTED, "the model was trained on cycles of another number of samples")
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
    return Twin(generated, canonical_frames(made, subject), to_ed, made, subject.anchor_phase, timed)


def native_frames(
    made: Generated, anchor: np.ndarray, placement: Placement, frames: int, anchor_phase: float = 0.0
) -> np.ndarray:
    """What a family made, on the native grid: float32 [T, Z, Y, X] at `frames` phases, from the anchor [Z, Y, X]."""
    if made.displacement is not None:
        knots = DisplacementPath(made.displacement, anchor_phase).resample(frames).knots
        return warp_native(torch.from_numpy(anchor), knots, placement).numpy()
    return from_canonical(resample_phase(_cine(made).numpy(), frames), placement, anchor)


def canonical_frames(made: Generated, subject: Subject) -> Tensor:
    """What a family made, on the canonical grid: float32 [T, Z, Y, X], intensities in [0, 1]."""
    if made.displacement is not None:
        return warp_canonical(torch.from_numpy(subject.anchor), made.displacement, subject.placement)
    return _cine(made)


def _cine(made: Generated) -> Tensor:
    if made.cine is None:
        raise ValueError("a family generates a displacement or a cine")
    return made.cine


def warp_canonical(anchor: Tensor, displacement: Tensor, placement: Placement) -> Tensor:
    """The canonical anchor [Z, Y, X] pulled back by each displacement [T, 3, Z, Y/2, X/2] (eq (11)): [T, Z, Y, X]."""
    filled = fill_invalid(anchor, placement.valid)[None, None]
    # One frame at a time: the sampling grids of a whole cycle are many times larger than the cycle.
    return torch.cat([warp(filled, to_canonical(u[None]), placement.spacing_mm)[:, 0] for u in displacement])


def label(cine: Cine, anchor: np.ndarray, anchor_labels: np.ndarray, labeller: "Labeller") -> np.ndarray:
    """Labels of a generated cine, uint8 [T, Z, Y, X].

    Args:
        cine: generated.
        anchor: the real anchor, [Z, Y, X]; frames that equal it are not labelled again.
        anchor_labels: what the same labeller made of the anchor, [Z, Y, X].
        labeller: the nnU-Net that also labels the real cines.
    """
    moved = (cine.frames != anchor).any(axis=(1, 2, 3))
    labels = np.broadcast_to(anchor_labels, cine.frames.shape).copy()
    if moved.any():
        labels[moved] = labeller.label(cine.frames[moved], cine.spacing_mm)
    return labels


def propagate(twin: Twin, anchor_labels: np.ndarray, placement: Placement) -> np.ndarray:
    """The anchor's labels in motion: in every native voxel the label of which the warped masks hold most.

    Args:
        twin: generated by a displacement of the anchor.
        anchor_labels: uint8 [Z, Y, X], native.
        placement: the canonical grid in the native stack.

    Returns:
        uint8 [T, Z, Y, X]; the anchor's own where nothing moves.
    """
    assert twin.made.displacement is not None
    path = DisplacementPath(twin.made.displacement, twin.anchor_phase).resample(len(twin.native.frames))
    return warp_native_labels(torch.from_numpy(anchor_labels), path.knots, placement).numpy()
