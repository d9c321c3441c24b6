"""The matrix as the table of docs/reference/faults.md.

`PYTHONPATH=tests/cine:tests/ecg python tests/matrix/table.py` prints it.
"""

import cine_kinds
import ecg_kinds
import nifti_kinds
from kinds import Cell, Kind

MEDIA = {
    "cine": cine_kinds.KINDS,
    "NIfTI": nifti_kinds.KINDS,
    "annotation": nifti_kinds.LABELS,
    "ECG": ecg_kinds.KINDS,
}


def cells() -> list[Cell]:
    return [cell for kinds in MEDIA.values() for cell in kinds.cells]


def table() -> str:
    rows = ["| file | kind | forms | must become |", "|---|---|---|---|"]
    rows += [_row(medium, kind) for medium, kinds in MEDIA.items() for kind in kinds]
    return "\n".join(rows)


def _row(medium: str, kind: Kind) -> str:
    forms = ", ".join(dict.fromkeys(form.split()[0] for form in kind.forms))
    outcome = kind.outcome + (", the repair noted" if kind.repairs else "")
    outcome += f" (open: {kind.open})" if kind.open else ""
    return f"| {medium} | {kind.what} | {forms} | {outcome} |"


if __name__ == "__main__":
    print(table())
