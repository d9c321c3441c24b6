"""Check of label codes by the anatomy, since all conventions use the same numbers for different structures."""

from collections.abc import Mapping
from itertools import permutations

import numpy as np
from scipy.ndimage import binary_dilation, binary_fill_holes

from cof.errors import CofError, Reason
from cof.heart.codes import write_map
from cof.heart.structures import CLASSES, STRUCTURES

LV, WALL, RV = STRUCTURES["LV"], STRUCTURES["myocardium"], STRUCTURES["RV"]

# The share of a cavity's outline that must face the wall. In the middle slices of 200 expert label maps (ACDC) it is
# 1.00 for the LV, and at most 0.48 for the RV.
_ENCLOSED = 0.7
# An outline of fewer voxel faces than this is too short to judge.
_LEAST_FACES = 16
# With more codes than this, no map is suggested.
_MOST_CODES = 6
_OTHERS = "map other codes by the sheet's column labels_map, or by cohort.labels_map"


def check_anatomy(labels: np.ndarray, known: Mapping[int, int]) -> None:
    """Raise CofError (ANNOTATION_CODES) if the wall encloses another label than the LV, or does not enclose the LV.

    Args:
        labels: uint8 [T, Z, Y, X] in our codes.
        known: map from the codes of the file to ours.
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
            said = f"label {WALL} lies around only {enclosed:.0%} of the outline of label {LV}, which cannot be the LV"
        else:
            continue
        undone = _undone(volume, known)
        raise CofError(Reason.ANNOTATION_CODES, f"in the middle slices of frame {frame} {said}; {advice(undone)}")
    if not (labels == LV).any():
        raise CofError(Reason.ANNOTATION_CODES, f"no voxel has the label {LV} of the LV; {_OTHERS}")


def _undone(volume: np.ndarray, known: Mapping[int, int]) -> np.ndarray:
    """Return the labels in the codes of the file; of several codes for one label, the first."""
    theirs = np.zeros(CLASSES, np.int64)
    for code, ours in reversed(list(known.items())):
        theirs[ours] = code if ours else 0
    return theirs[volume]


def advice(values: np.ndarray) -> str:
    """Suggest a map for labels [..., Z, Y, X] of unknown convention, as far as their anatomy allows, in words."""
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
    """Return the codes of a cavity and of the wall that encloses it best; None where no wall does."""
    codes = [int(code) for code in np.unique(volume) if code]
    if len(codes) > _MOST_CODES:
        return None
    shares = {pair: _enclosed(volume, *pair) or 0.0 for pair in permutations(codes, 2)}
    best = max(shares, key=lambda pair: shares[pair], default=None)
    return best if best and shares[best] >= _ENCLOSED else None


def _enclosed(volume: np.ndarray, inner: int, outer: int) -> float | None:
    """Return the share of the outline of `inner` that lies within one voxel of `outer`; None where there is too little.

    Only the middle ones of the slices that have both are used, since the wall is open at the base. Holes in `inner`,
    such as papillary muscles, are filled.

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
