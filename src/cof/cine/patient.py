"""Reader of sex, age and size of the patient from the header of a scan."""

import re
from pathlib import Path

from cof.cine.archive import read_members
from cof.cine.elements import Elements, is_dicom, read_elements
from cof.cine.nifti import is_nifti
from cof.errors import raise_if_broken

_AGE = re.compile(r"(\d{1,3})([DWMY])")
_YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}


def read_patient(path: Path) -> dict[str, str | float]:
    """Read what the first DICOM image of a scan states about the patient; a NIfTI states nothing.

    Only this one file is read, and of it only the header.

    Returns:
        `sex` ("F" or "M"), `age_y`, `height_cm` and `weight_kg`; what the file does not state, or not as a number, is
        left out.

    Raises:
        CofError: the archive or folder cannot be read.
    """
    if is_nifti(path):
        return {}
    for _, content in read_members(path):
        if not is_dicom(content):
            continue
        try:
            elements = read_elements(content)
        except Exception as error:  # parsing foreign bytes can raise anything; the reader of the cine reports them
            raise_if_broken(error)
            continue
        if "Rows" in elements.values:
            return _stated(elements)
    return {}


def _stated(elements: Elements) -> dict[str, str | float]:
    sex, age = elements.text("PatientSex"), _AGE.fullmatch(elements.text("PatientAge"))
    found: dict[str, str | float] = {"sex": sex} if sex in ("F", "M") else {}
    if age:
        found["age_y"] = int(age[1]) * _YEARS[age[2]]
    for name, tag, factor in (("height_cm", "PatientSize", 100.0), ("weight_kg", "PatientWeight", 1.0)):
        try:
            value = elements.number(tag)
        except ValueError:
            continue
        if value is not None:
            found[name] = value * factor
    return found
