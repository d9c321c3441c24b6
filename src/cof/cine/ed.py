"""Choice of the anchor: the recorded frame at end diastole, with which the cycle begins.

The most reliable source decides, in this order: the sheet; an expert's annotation that clearly disagrees with the
trigger times; the trigger times, which tell when the R peak was; the images. A cine that is gated to the R peak
therefore begins as it was recorded.
"""

import math

import numpy as np

from cof.cine.volume import Cine
from cof.errors import CofError, Reason
from cof.heart.structures import STRUCTURES

# Experts' choices of ED differ by up to this share of a cycle.
_SAME_PHASE = 0.05
# At ES the annotated volume of a beating heart is below this share of the volume at ED.
_CLEARLY_SMALLER = 0.9
# A first frame within this share of the cycle is taken as the one at the R peak; experts' choices of ED lie there, too.
_AT_R_PEAK = 0.1
# The share of the central voxels, those that change most, that is used; and the share of the range by which the first
# frame's blood may lie below the largest before another frame is preferred.
_MOVING = 0.05
_TOLERANCE = 0.05


def find_ed(cine: Cine, named: int | None, annotation: np.ndarray | None) -> tuple[int, str]:
    """Find the recorded frame at end diastole, and tell how it was found.

    Args:
        cine: the cine as recorded.
        named: frame that the sheet or `cof twin --ed-frame` names, or None; in a pair, the first frame is ED.
        annotation: uint8 [T, Z, Y, X] labels of the recorded frames, if any.

    Returns:
        The frame, and one of "sheet", "annotation", "trigger", "image" or, for a single frame, "anchor".

    Raises:
        CofError: CINE_TOO_FEW_FRAMES, there is no frame `named`.
    """
    count = len(cine.frames)
    if named is not None:
        if named >= count:
            raise CofError(
                Reason.CINE_TOO_FEW_FRAMES,
                f"frame {named} is named as ED, but there are only {count} frames, counted from 0",
            )
        return named, "sheet"
    if count == 1:
        return 0, "anchor"
    if cine.kind == "pair":
        return 0, "sheet"
    triggered = _at_r_peak(cine)
    drawn = None if annotation is None else _largest_annotated(annotation)
    if drawn is not None and (triggered is None or _apart(drawn, triggered, count) > _SAME_PHASE):
        return drawn, "annotation"
    if triggered is not None:
        return triggered, "trigger"
    return _fullest(cine.frames), "image"


def _apart(one: int, other: int, count: int) -> float:
    """Return the distance of two frames in a cycle, as a share of the cycle."""
    distance = abs(one - other)
    return min(distance, count - distance) / count


def _at_r_peak(cine: Cine) -> int | None:
    """Return the frame at the R peak by trigger times; None without them."""
    if not math.isfinite(cine.delay_ms):
        return None
    if 0 <= cine.delay_ms <= _AT_R_PEAK * cine.rr_ms:
        return 0
    after = (cine.delay_ms + cine.frame_times_ms) % cine.rr_ms
    return int(np.minimum(after, cine.rr_ms - after).argmin())


def _largest_annotated(annotation: np.ndarray) -> int | None:
    """Return the annotated frame with the largest LV; None unless another annotated frame is clearly smaller."""
    volumes = (annotation == STRUCTURES["LV"]).sum(axis=(1, 2, 3))
    drawn = np.flatnonzero(volumes)
    if not len(drawn) or volumes[drawn].min() > _CLEARLY_SMALLER * volumes.max():
        return None
    return int(volumes.argmax())


def _fullest(frames: np.ndarray) -> int:
    """Return the frame in which the ventricles hold most blood, by the intensities of the voxels that change most.

    The first principal component over time of those voxels follows the beat. Since blood is brighter than muscle, the
    sign of the component is that of the mean of the voxels. Frame 0 is preferred where it is nearly as full as any.
    """
    rows, columns = frames.shape[2:]
    centre = frames[:, :, rows // 5 : rows - rows // 5, columns // 5 : columns - columns // 5].astype(np.float32)
    # Means of 2 x 2 voxels have less noise.
    even = centre[:, :, : centre.shape[2] // 2 * 2, : centre.shape[3] // 2 * 2]
    coarse = (even[..., ::2, ::2] + even[..., 1::2, ::2] + even[..., ::2, 1::2] + even[..., 1::2, 1::2]) / 4
    coarse = (coarse - coarse.mean(axis=0)).reshape(len(frames), -1)
    if not coarse.size:  # images of a few pixels
        return 0
    spread = coarse.std(axis=0)
    moving = coarse[:, spread >= np.quantile(spread, 1 - _MOVING)]
    beat = np.linalg.svd(moving, full_matrices=False)[0][:, 0]
    beat = beat * (np.sign(beat @ moving.mean(axis=1)) or 1.0)
    reach = beat.max() - beat.min()
    return 0 if beat[0] >= beat.max() - _TOLERANCE * reach else int(beat.argmax())
