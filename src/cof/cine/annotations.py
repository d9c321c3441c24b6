"""Expert labels, brought onto the voxels of the native stack that they were drawn on, and checked for their codes."""

from collections.abc import Mapping
from itertools import permutations
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_dilation, binary_fill_holes

from cof.cine.geometry import onto_stack, spacing_of
from cof.cine.nifti import Stored, read_array
from cof.cine.volume import Cine
from cof.errors import CofError, Reason
from cof.labels import STRUCTURES
from cof.labels.codes import write_map

CLASSES = 4
_ROUNDING = 1e-3
LV, WALL, RV = STRUCTURES["LV"], STRUCTURES["myocardium"], STRUCTURES["RV"]

# Of a cavity's outline, the share that must face the wall. In the middle slices of 200 expert maps (ACDC) it is 1.00
# for the LV, and at most .48 for the RV.
_ENCLOSED = 0.7
# With fewer faces of voxels than this in a frame, its outline says nothing.
_LEAST_FACES = 16
# Of more codes than these no structure is guessed.
_MOST_CODES = 6


def read_annotation(path: Path, cine: Cine, codes: Mapping[int, int] | None = None) -> np.ndarray:
    """The labels of a cine as recorded, that is before it is rolled to ED.

    The 4D NIfTI must have the voxels of the cine, in any order and direction of axes, and as many frames; frames
    without annotation are zero. Labels are 0 background, 1 LV, 2 myocardium, 3 RV, or become so by `codes`. Other
    conventions are told by the anatomy: in the middle slices the myocardium encloses the LV, and no other structure.

    Args:
        path: the NIfTI.
        cine: as recorded.
        codes: from the codes of the file to ours (`cof.labels.codes`); every code but 0 must be in it.

    Returns:
        uint8 [T, Z, Y, X].

    Raises:
        CofError: ANNOTATION_UNREADABLE (no file, broken, unknown codes, empty), ANNOTATION_MISMATCH, or
            ANNOTATION_CODES (labels are not where these structures are).
    """
    if not path.is_file():
        raise CofError(Reason.ANNOTATION_UNREADABLE, "the annotation is not there")
    stored = read_array(path, Reason.ANNOTATION_UNREADABLE)
    values = whole_labels(stored.values)
    known = codes or {code: code for code in range(1, CLASSES)}
    strange = np.setdiff1d(values, [0, *known])
    if strange.size:
        raise CofError(Reason.ANNOTATION_UNREADABLE, _unknown(values, strange, known))
    if not values.any():
        raise CofError(Reason.ANNOTATION_UNREADABLE, "no frame is labelled")
    if len(values) != len(cine.frames):
        raise CofError(
            Reason.ANNOTATION_MISMATCH, f"the annotation has {len(values)} frames and the cine {len(cine.frames)}"
        )
    slices, rows, columns = cine.frames.shape[1:]
    drawn = onto_stack(values, stored.affine, (slices, rows, columns), cine.affine)
    if drawn is None and _without_place(stored, cine):
        drawn = values
    if drawn is None:
        raise CofError(
            Reason.ANNOTATION_MISMATCH,
            "the annotation does not lie on the voxels of the cine: matrix, spacing, direction or position differ; "
            "resample it, or copy the cine's header where the voxels are the same",
        )
    labels = np.zeros(drawn.shape, np.uint8)
    for theirs, ours in known.items():
        labels[drawn == theirs] = ours
    _check_anatomy(labels, known)
    return labels


def whole_labels(values: np.ndarray) -> np.ndarray:
    """Labels as whole numbers; what a header's scaling leaves of them, as in 1.0000153, is rounded.

    Raises:
        CofError: ANNOTATION_UNREADABLE, a value is further than `_ROUNDING` from a whole number, or none.
    """
    if values.dtype.kind in "iu":
        return values
    whole = np.rint(values)
    near = np.isfinite(values) & (np.abs(values - whole) <= _ROUNDING)
    if not near.all():
        raise CofError(
            Reason.ANNOTATION_UNREADABLE,
            f"a label of {float(values[~near][0]):g}: labels are whole numbers, up to {_ROUNDING:g}; these were "
            "interpolated or scaled: resample the original ones by the nearest neighbour",
        )
    return whole.astype(np.int64)


def towards_apex(labels: np.ndarray) -> bool | None:
    """Whether slices run from base to apex: the heart is smaller towards the apex.

    Right in each of the 200 annotated volumes of ACDC.

    Args:
        labels: [T, Z, Y, X]; frames without labels do not count.

    Returns:
        None if fewer than three slices are labelled.
    """
    areas = (labels > 0).sum(axis=(0, 2, 3))
    slices = np.flatnonzero(areas)
    if len(slices) < 3 or np.ptp(areas[slices]) == 0:
        return None
    return bool(np.corrcoef(slices, areas[slices])[0, 1] < 0)


def _without_place(stored: Stored, cine: Cine) -> bool:
    """Whether neither header tells how the stack lies, and the annotation's does not contradict the cine's."""
    if cine.oriented or stored.oriented or stored.values.shape != cine.frames.shape:
        return False
    own, other = (affine[:3, :3] / spacing_of(affine) for affine in (stored.affine, cine.affine))
    spacing = spacing_of(stored.affine)
    told = not np.allclose(spacing, 1)
    return np.allclose(own, other, atol=0.01) and (not told or np.allclose(spacing, spacing_of(cine.affine), rtol=0.01))


def _unknown(values: np.ndarray, strange: np.ndarray, known: Mapping[int, int]) -> str:
    """What to say of the codes [n] that are not known."""
    named = ", ".join(str(code) for code in strange[:5]) + (f" and {len(strange) - 5} more" if len(strange) > 5 else "")
    message = f"values other than 0 to {CLASSES - 1}: {named}"
    if dict(known) != {code: code for code in range(1, CLASSES)}:
        message = f"values that the map {write_map(known)} does not name: {named}"
    return f"{message}; {_advice(values)}"


def _check_anatomy(labels: np.ndarray, known: Mapping[int, int]) -> None:
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
        raise CofError(Reason.ANNOTATION_CODES, f"in the middle slices of frame {frame} {said}; {_advice(undone)}")
    if not (labels == LV).any():
        raise CofError(Reason.ANNOTATION_CODES, f"no voxel has the label {LV} of the LV; {_OTHERS}")


_OTHERS = "other codes are mapped by the sheet's column labels_map, or by cohort.labels_map"


def _undone(volume: np.ndarray, known: Mapping[int, int]) -> np.ndarray:
    """The labels in the codes of the file, of which the first stands for all that became the same label."""
    theirs = np.zeros(CLASSES, np.int64)
    for code, ours in reversed(list(known.items())):
        theirs[ours] = code if ours else 0
    return theirs[volume]


def _advice(values: np.ndarray) -> str:
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
        return f"{looks}: set labels_map {write_map(codes)} (in the sheet, or as cohort.labels_map)"
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
