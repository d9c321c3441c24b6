"""Every kind of DICOM cine in every form: the right frames, slices and geometry, or a refusal that names the fault."""

from itertools import cycle

import pytest
from cine_kinds import KINDS
from cines import Scan

from cof.cine.reader import read_cine_source


@pytest.mark.parametrize(
    ("cell", "where"), [cell.case(where) for cell, where in zip(KINDS.cells, cycle(("zip", "folder")))]
)
def test_a_dicom_cine(cell, where, tmp_path):
    scan = Scan(cell.form)
    outcome = cell.kind.make(scan)
    assert outcome.name == cell.kind.outcome
    assert getattr(outcome.check, "demands_repair", cell.kind.repairs) == cell.kind.repairs
    path = scan.archive(tmp_path / {"zip": "cine.zip", "folder": "cine"}[where])
    outcome.judge(lambda: read_cine_source(path, 0.1))
