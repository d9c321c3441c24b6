"""Every kind of DICOM cine in every form: the right frames, slices and geometry, or a refusal that names the fault."""

import pytest
from cine_kinds import KINDS
from cines import Scan

from cof.cine.reader import read_cine_source

MAX_MISSING = 0.1


@pytest.mark.parametrize(
    ("number", "cell"), enumerate(KINDS.cells), ids=lambda value: value if isinstance(value, str) else str(value)
)
def test_a_dicom_cine(number, cell, tmp_path):
    """Zip and folder take turns."""
    scan = Scan(cell.form)
    outcome = cell.kind.make(scan)
    path = scan.archive(tmp_path / ("cine.zip" if number % 2 else "cine"))
    outcome.judge(lambda: read_cine_source(path, MAX_MISSING))
