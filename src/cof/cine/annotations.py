"""Reader of expert labels, which brings them onto the voxels of the native stack that they were drawn on."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cof.cine.codes import advice, check_anatomy
from cof.cine.geometry import onto_stack, spacing_of
from cof.cine.nifti import Stored, read_array
from cof.cine.volume import Cine
from cof.errors import CofError, Reason
from cof.heart.codes import write_map
from cof.heart.structures import CLASSES

_ROUNDING = 1e-3


def read_annotation(
    path: Path, cine: Cine, codes: Mapping[int, int] | None = None, repairs: list[str] | None = None
) -> np.ndarray:
    """Read the labels of a cine as recorded, that is before it is rolled to ED.

    The 4D NIfTI must have the voxels of the cine, in any order and direction of axes, and as many frames; frames
    without annotation are zero. Labels are 0 background, 1 LV, 2 myocardium, 3 RV, or are mapped to these by `codes`.
    Other conventions are recognised by the anatomy: in the middle slices the myocardium encloses the LV only.

    Args:
        path: the NIfTI.
        cine: the cine as recorded.
        codes: map from the codes of the file to ours (`cof.heart.codes`); every code but 0 must be in it.
        repairs: list to which a sentence is added for each repair.

    Returns:
        uint8 [T, Z, Y, X].

    Raises:
        CofError: ANNOTATION_UNREADABLE (no file, broken, unknown codes, empty), ANNOTATION_MISMATCH (other voxels or
            number of frames), or ANNOTATION_CODES (labels do not lie where these structures do).
    """
    if not path.is_file():
        raise CofError(Reason.ANNOTATION_UNREADABLE, "the annotation file does not exist")
    stored = read_array(path, Reason.ANNOTATION_UNREADABLE)
    values = whole_labels(stored.values)
    mended = [] if repairs is None else repairs
    mended.extend(f"annotation: {repair}" for repair in stored.repairs)
    if values.dtype != stored.values.dtype and not np.array_equal(values, stored.values):
        off = float(np.abs(stored.values - values).max())
        mended.append(f"annotation: labels differ by up to {off:.1g} from whole numbers, rounded")
    known = codes or {code: code for code in range(1, CLASSES)}
    others = np.unique(values[~np.isin(values, [0, *known])])
    if len(others):
        expected = f"those of the map {write_map(codes)}" if codes else f"0 to {CLASSES - 1}"
        raise CofError(
            Reason.ANNOTATION_UNREADABLE,
            f"values other than {expected}, such as {', '.join(map(str, others[:4]))}: {advice(values)}",
        )
    if not values.any():
        raise CofError(Reason.ANNOTATION_UNREADABLE, "no frame is labelled")
    if len(values) != len(cine.frames):
        raise CofError(
            Reason.ANNOTATION_MISMATCH, f"the annotation has {len(values)} frames and the cine {len(cine.frames)}"
        )
    slices, rows, columns = cine.frames.shape[1:]
    labels = onto_stack(values, stored.affine, (slices, rows, columns), cine.affine)
    if labels is None and _without_place(stored, cine):
        labels = values
        mended.append("annotation: its header has no position, assumed to lie on the voxels of the cine")
    if labels is None:
        raise CofError(
            Reason.ANNOTATION_MISMATCH,
            "the annotation does not lie on the voxels of the cine: matrix, spacing, direction or position differ; "
            "resample it, or copy the cine's header where the voxels are the same",
        )
    ours = np.zeros(labels.shape, np.uint8)
    for theirs, code in known.items():
        ours[labels == theirs] = code
    check_anatomy(ours, known)
    return ours


def whole_labels(values: np.ndarray) -> np.ndarray:
    """Return labels as whole numbers; small errors by a header's scaling, as in 1.0000153, are rounded.

    Raises:
        CofError: ANNOTATION_UNREADABLE, a value is not finite or further than `_ROUNDING` from a whole number.
    """
    if values.dtype.kind in "iu":
        return values
    whole = np.rint(values)
    near = np.isfinite(values) & (np.abs(values - whole) <= _ROUNDING)
    if not near.all():
        raise CofError(
            Reason.ANNOTATION_UNREADABLE,
            f"a label is {float(values[~near][0]):g}, but labels are whole numbers, within {_ROUNDING:g}; these were "
            "interpolated or scaled: resample the original labels by the nearest neighbour",
        )
    return whole.astype(np.int64)


def towards_apex(labels: np.ndarray) -> bool | None:
    """Tell whether slices run from base to apex, since the heart is smaller towards the apex.

    This holds in each of the 200 annotated volumes of ACDC.

    Args:
        labels: [T, Z, Y, X]; frames without labels are ignored.

    Returns:
        The answer; None if fewer than three slices are labelled or all have the same area.
    """
    areas = (labels > 0).sum(axis=(0, 2, 3))
    slices = np.flatnonzero(areas)
    if len(slices) < 3 or np.ptp(areas[slices]) == 0:
        return None
    return bool(np.corrcoef(slices, areas[slices])[0, 1] < 0)


def _without_place(stored: Stored, cine: Cine) -> bool:
    """Tell whether neither header states the orientation, and the annotation's does not contradict the cine's."""
    if cine.oriented or stored.oriented or stored.values.shape != cine.frames.shape:
        return False
    own, other = (affine[:3, :3] / spacing_of(affine) for affine in (stored.affine, cine.affine))
    spacing = spacing_of(stored.affine)
    told = not np.allclose(spacing, 1)
    return np.allclose(own, other, atol=0.01) and (not told or np.allclose(spacing, spacing_of(cine.affine), rtol=0.01))
