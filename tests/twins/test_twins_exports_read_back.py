"""A heart that is made of the exported cine of another heart."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from cof.artefacts.folders import MANIFEST
from cof.privacy import check_paths
from cof.twins.exports.heart import Heart
from cof.twins.exports.stage import export_twin
from cof.twins.single import twin_from_files
from unseen import BENCH, Unseen

FORMATS = ("dicom", "seg", "nrrd", "tables")


@pytest.mark.slow
def test_a_heart_of_an_exported_cine_tells_that_its_scan_is_synthetic(
    one_heart: tuple[Path, str], unseen: Unseen, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written = export_twin(twin=one_heart[0], out=tmp_path / "exported", formats=FORMATS)
    files = {path for path in (tmp_path / "exported").rglob("*") if path.is_file() and path.name != MANIFEST}
    assert tuple(written) == FORMATS
    assert files == {path for paths in written.values() for path in paths}
    assert list(check_paths([tmp_path / "exported"])) == []
    with caplog.at_level(logging.WARNING):
        twin_from_files(ecg=unseen.ecg, scan=tmp_path / "exported/dicom", weights=BENCH, out=tmp_path / "again")
    assert "the scan is synthetic according to its header: it shows no recorded heart" in caplog.messages
    scan = json.loads((tmp_path / "again/summary.json").read_text())["scan"]
    assert (scan["synthetic"], scan["repairs"], scan["rolled_by"]) == (True, [], 0)
    first, second = Heart.read(one_heart[0]), Heart.read(tmp_path / "again")
    assert first.summary["scan"]["synthetic"] is False
    # Frame 0 is the anchor of both.
    np.testing.assert_array_equal(second.cine.frames[0], first.cine.frames[0])
    np.testing.assert_allclose(second.affine, first.affine, atol=1e-5)
