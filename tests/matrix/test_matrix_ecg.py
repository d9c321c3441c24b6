"""Every kind of ECG in every form: beats within 20 ms and the right amplitudes, or a refusal that names the fault."""

import pytest
from ecg_kinds import KINDS
from known_strips import read_beats


@pytest.mark.parametrize("cell", [cell.case() for cell in KINDS.cells])
def test_an_ecg(cell, tmp_path):
    path, settings, outcome = cell.kind.make(tmp_path, cell.form)
    assert outcome.name == cell.kind.outcome
    outcome.judge(lambda: read_beats(path, settings))
