"""One way in for every kind of cine file."""

from pathlib import Path

from cof.cine.dicom import read_dicom
from cof.cine.nifti import is_nifti, read_nifti
from cof.cine.volume import Cine


def read_cine_source(path: Path, max_missing: float) -> Cine:
    """A cine as recorded: from a NIfTI by its name or content, else from a zip archive or a folder of DICOM files.

    Slices run from base to apex; frame 0 is the first recorded one.

    Args:
        path: the file or folder.
        max_missing: share of a slice's frames that may be missing and are replaced by the frame before.

    Raises:
        CofError: the reason tells what is wrong with the file.
    """
    return read_nifti(path) if is_nifti(path) else read_dicom(path, max_missing)
