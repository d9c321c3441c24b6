"""The reader of all kinds of cine files."""

from pathlib import Path

from cof.cine.dicom import read_dicom
from cof.cine.nifti import is_nifti, read_nifti
from cof.cine.volume import Cine


def read_cine_source(path: Path, max_missing: float) -> Cine:
    """Read a cine as recorded: a file that is a NIfTI by name or content, or a zip archive or folder of DICOM files.

    Slices run from base to apex; frame 0 is the first recorded one.

    Args:
        path: the file or folder.
        max_missing: share of a slice's frames that may be missing; each is replaced by the frame before it.

    Raises:
        CofError: the cine cannot be read; the reason says why.
    """
    return read_nifti(path) if is_nifti(path) else read_dicom(path, max_missing)
