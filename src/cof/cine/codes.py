"""Which code means which structure: told by the anatomy of the labels, since all conventions use the same numbers."""

from collections.abc import Mapping
from itertools import permutations

import numpy as np
from scipy.ndimage import binary_dilation, binary_fill_holes

from cof.errors import CofError, Reason
from cof.heart.codes import write_map
from cof.heart.structures import CLASSES, STRUCTURES

LV, WALL, RV = STRUCTURES["LV"], STRUCTURES["myocardium"], STRUCTURES["RV"]

# Of a cavity's outline, the share that must face the wall. In the middle slices of 200 expert maps (ACDC) it is 1.00
# for the LV, and at most .48 for the RV.
_ENCLOSED = 0.7
# With fewer faces of voxels than this in a frame, its outline says nothing.
_LEAST_FACES = 16
# Of more codes than these no structure is guessed.
_MOST_CODES = 6
_OTHERS = "other codes are mapped by the sheet's column labels_map, or by cohort.labels_map"


def check_anatomy(labels: np.ndarray, known: Mapping[int, int]) -> None:
    """Raise CofError (ANNOTATION_CODES) where another label than the LV is enclosed, or the LV is not.

    Args:
        labels: uint8 [T, Z, Y, X] in our codes.
        known: the map that made them.
    """
    for frame in np.flatnonzero(labels.any(axis=(1, 2, 3))):
        volume = labels[frame]
        enclosed = _enclosed(volume, LV, WALL)
        if enclosed is None:
            found = _lv_and_wall(volume)
            if found is None:
                continue
            said = f"label {found[1]} encloses label {found[0]}, as the wall does the LV"
        elif enclosed < _ENCLOSED:
            said = (
                f"label {WALL} lies about only {enclosed:.0%} of the outline of label {LV}, which is no LV in its wall"
            )
        else:
            continue
        undone = _undone(volume, known)
        raise CofError(Reason.ANNOTATION_CODES, f"in the middle slices of frame {frame} {said}; {advice(undone)}")
    if not (labels == LV).any():
        raise CofError(Reason.ANNOTATION_CODES, f"no voxel has the label {LV} of the LV; {_OTHERS}")


def _undone(volume: np.ndarray, known: Mapping[int, int]) -> np.ndarray:
    """The labels in the codes of the file, of which the first stands for all that became the same label."""
    theirs = np.zeros(CLASSES, np.int64)
    for code, ours in reversed(list(known.items())):
        theirs[ours] = code if ours else 0
    return theirs[volume]


def advice(values: np.ndarray) -> str:
    """The map that would fit labels [..., Z, Y, X] of unknown convention, as far as their anatomy tells it."""
    for volume in values.reshape(-1, *values.shape[-3:]):
        found = _lv_and_wall(volume)
        if found is None:
            continue
        lv, wall = found
        others = sorted({int(code) for code in np.unique(values)} - {0, lv, wall})
        looks = f"labels look like {lv} = LV, {wall} = myocardium"
        if len(others) > 1:
            return f"{looks}; {_OTHERS}"
        looks += f", {others[0]} = RV" if others else ""
        codes = {lv: LV, wall: WALL} | dict.fromkeys(others, RV)
        return f'{looks}: set labels_map "{write_map(codes)}" (in the sheet, or as cohort.labels_map)'
    return _OTHERS


def _lv_and_wall(volume: np.ndarray) -> tuple[int, int] | None:
    """The codes of a cavity and of the wall that encloses it, those that fit best; None where none do."""
    codes = [int(code) for code in np.unique(volume) if code]
    if len(codes) > _MOST_CODES:
        return None
    shares = {pair: _enclosed(volume, *pair) or 0.0 for pair in permutations(codes, 2)}
    best = max(shares, key=lambda pair: shares[pair], default=None)
    return best if best and shares[best] >= _ENCLOSED else None


def _enclosed(volume: np.ndarray, inner: int, outer: int) -> float | None:
    """The share of the outline of `inner` that lies within a voxel of `outer`, in the middle slices that have both.

    Middle slices, since the wall is open at the base; holes in `inner`, such as papillary muscles, are filled. None
    where there is too little to tell.

    Args:
        volume: labels [Z, Y, X].
        inner: code of a cavity.
        outer: code of the wall that may enclose it.
    """
    both = np.flatnonzero([(plane == inner).any() and (plane == outer).any() for plane in volume])
    quarter = len(both) // 4
    facing = faces = 0
    for plane in volume[both[quarter : len(both) - quarter]]:
        rows, columns = np.nonzero(plane)
        window = np.pad(plane[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1], 2)
        cavity = binary_fill_holes(window == inner)
        wall = binary_dilation(window == outer)
        for axis in (0, 1):
            for step in (1, -1):
                outside = np.roll(cavity, step, axis) & ~cavity
                faces += int(outside.sum())
                facing += int((outside & wall).sum())
    return facing / faces if faces >= _LEAST_FACES else None
