"""Expert labels, brought onto the voxels of the native stack that they were drawn on."""

from pathlib import Path

import numpy as np

from cof.cine.geometry import onto_stack
from cof.cine.nifti import read_array
from cof.cine.volume import Cine
from cof.errors import CofError, Reason

CLASSES = 4


def read_annotation(path: Path, cine: Cine) -> np.ndarray:
    """The labels of a cine as recorded, that is before it is rolled to ED.

    The 4D NIfTI must have the voxels of the cine, in any order and direction of axes, and as many frames; frames
    without annotation are zero. Labels are 0 background, 1 LV, 2 myocardium, 3 RV: other conventions (such as 1 RV,
    3 LV) look the same to a program and must be converted by their owner.

    Returns:
        uint8 [T, Z, Y, X].

    Raises:
        CofError: ANNOTATION_UNREADABLE (no file, broken, other values than 0 to 3, empty) or ANNOTATION_MISMATCH.
    """
    if not path.is_file():
        raise CofError(Reason.ANNOTATION_UNREADABLE, "the annotation is not there")
    values, _, affine = read_array(path, Reason.ANNOTATION_UNREADABLE)
    if not np.isin(values, np.arange(CLASSES)).all():
        raise CofError(Reason.ANNOTATION_UNREADABLE, f"values other than 0 to {CLASSES - 1}")
    if not values.any():
        raise CofError(Reason.ANNOTATION_UNREADABLE, "no frame is labelled")
    if len(values) != len(cine.frames):
        raise CofError(
            Reason.ANNOTATION_MISMATCH, f"the annotation has {len(values)} frames and the cine {len(cine.frames)}"
        )
    slices, rows, columns = cine.frames.shape[1:]
    labels = onto_stack(values, affine, (slices, rows, columns), cine.affine)
    if labels is None:
        raise CofError(Reason.ANNOTATION_MISMATCH, "the annotation does not lie on the voxels of the cine")
    return np.ascontiguousarray(labels, np.uint8)
