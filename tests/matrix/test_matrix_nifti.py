"""Every kind of NIfTI cine and annotation: right frames, order and geometry, or a refusal that names the fault."""

import numpy as np
import pytest
from cines import affine, truth
from nifti_kinds import KINDS, LABELS

from cof.cine.annotations import read_annotation
from cof.cine.reader import read_cine_source
from cof.cine.volume import Cine


@pytest.mark.parametrize("cell", [cell.case() for cell in KINDS.cells])
def test_a_nifti_cine(cell, tmp_path):
    path, outcome = cell.kind.make(tmp_path, cell.form)
    assert outcome.name == cell.kind.outcome
    assert getattr(outcome.check, "demands_repair", cell.kind.repairs) == cell.kind.repairs
    outcome.judge(lambda: read_cine_source(path, 0.1))


@pytest.mark.parametrize("cell", [cell.case() for cell in LABELS.cells])
def test_an_annotation(cell, tmp_path):
    path, outcome = cell.kind.make(tmp_path, cell.form)
    assert outcome.name == cell.kind.outcome
    frames = truth()
    cine = Cine(frames, affine(), 96.0 * np.arange(len(frames)), 960.0)
    outcome.judge(lambda: read_annotation(path, cine))
