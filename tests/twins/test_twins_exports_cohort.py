"""Pages of chosen hearts of a cohort: whose, with what, and what happens to a broken one."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from beating_heart import FRAMES, add_what_it_was_made_from, write_beating_heart

from cof.artefacts.parquet import read_table, write_table
from cof.config.data import LABEL_TRUST, LEAST_LABEL_TRUST
from cof.twins.artefacts import read_beat
from cof.twins.cautions import SCAN
from cof.twins.exports.cohort import Member, export_hearts, read_member
from cof.twins.exports.heart import Heart
from cof.twins.page.html import page

SUBJECTS = {"sub-0001-v2": "train", "sub-0002-v2": "test", "sub-0003-v2": "test", "sub-0004-v2": "test"}
LACKING = "sub-0002-v2"  # no heart was generated
DOUBTFUL, UNDOUBTED, UNMEASURED = "sub-0003-v2", "sub-0004-v2", "sub-0001-v2"  # by the table of quality


@pytest.fixture(scope="module")
def results(chain, tmp_path_factory):
    """Every subject's heart is the same one."""
    root = tmp_path_factory.mktemp("cohort")
    made = root / "made"
    write_beating_heart(made)
    add_what_it_was_made_from(made)
    results = root / "results"
    folders = {name: results / name / "b000" for name in ("twins/cof", "cine", "labels")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    beats = []
    for subject in SUBJECTS:
        if subject != LACKING:
            for end in ("nii", "json", "labels.nii.gz", "safetensors", "function.json"):
                shutil.copy(made / f"twin.{end}", folders["twins/cof"] / f"{subject}.{end}")
        for end in ("nii", "json"):
            shutil.copy(made / f"scan.{end}", folders["cine"] / f"{subject}.{end}")
        shutil.copy(made / "scan.labels.nii.gz", folders["labels"] / f"{subject}.nii.gz")
        beat = read_beat(made / "beat.csv").astype(np.float32)
        marks = {"low_quality": False, "irregular": False, "paced": False, "ectopic_beats": 0, "correlation": 0.99}
        beats.append({"subject": subject, "beat": beat.ravel(), "rr_ms": 800.0} | marks)
    write_table(results / "beats/b000.parquet", pd.DataFrame(beats), {})
    write_table(results / "ecg/b000.parquet", pd.DataFrame({"subject": list(SUBJECTS), "repairs": [["a gap"]] * 4}), {})
    trust = {"subject": [DOUBTFUL, UNDOUBTED, UNMEASURED], "label_trust": [LEAST_LABEL_TRUST - 0.01, 0.9, np.nan]}
    write_table(results / "quality/b000.parquet", pd.DataFrame(trust), {})
    subjects = pd.DataFrame({"subject": list(SUBJECTS), "split": list(SUBJECTS.values()), "batch": "b000"})
    write_table(results / "cohort/subjects.parquet", subjects, {})
    shutil.copytree(chain.model("static"), results / "models/cof")
    return results


def written(results: Path, tmp_path: Path, **options: object) -> list[str]:
    export_hearts(results=results, model="cof", out=tmp_path / "out", exclusions=tmp_path / "x", **options)  # type: ignore[arg-type]
    return sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*l*"))


def test_the_first_held_out_hearts_by_name_are_written(results: Path, tmp_path: Path) -> None:
    assert written(results, tmp_path, count=1) == ["sub-0003-v2/page/sub-0003-v2.html"]
    assert read_table(tmp_path / "x").empty


def test_every_heart_of_a_batch_can_be_written_and_a_broken_one_stops_no_other(results: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(results, tmp_path / "results")
    (broken / "twins/cof/b000/sub-0003-v2.nii").write_bytes(b"no image")
    found = written(broken, tmp_path, batch="b000", formats=("page", "glb"))
    expected = [f"{name}/{kind}/{name}.{end}" for name in ("sub-0001-v2", "sub-0004-v2") for kind, end in
                (("glb", "glb"), ("page", "html"))]  # fmt: skip
    assert found == expected
    assert list(read_table(tmp_path / "x")["subject"]) == ["sub-0003-v2"]


def test_a_heart_of_a_cohort_has_all_that_a_single_one_has(results: Path) -> None:
    heart = read_member(Member(results, "cof", "b000", "sub-0004-v2"), {})
    single = Heart.read(results.parent / "made")
    assert heart.name == "sub-0004-v2"
    np.testing.assert_array_equal(heart.labels, single.labels)
    np.testing.assert_allclose(heart.beat_mv, single.beat_mv, atol=1e-6)
    assert heart.recorded is not None
    assert len(heart.recorded.labels) == FRAMES
    assert heart.summary["function"] == {name: single.summary["function"][name] for name in ("rr_ms", "LV", "RV")}
    assert heart.summary["ecg"]["repairs"] == ["a gap"]
    assert heart.summary["scan"]["kind"] == "cine"
    assert set(single.summary) - {"notice"} <= set(heart.summary)


def test_doubtful_labels_are_named_on_the_page_as_for_a_single_heart(results: Path) -> None:
    heart = read_member(Member(results, "cof", "b000", DOUBTFUL), {})
    warning = heart.summary["warnings"][0]
    assert (warning["check"], warning["of"], warning["value"]) == (LABEL_TRUST, SCAN, LEAST_LABEL_TRUST - 0.01)
    shown = page(heart)
    assert "The labels of this scan are doubtful" in shown
    assert "labels of the scan: labels doubtful" in shown


@pytest.mark.parametrize("subject", [UNDOUBTED, UNMEASURED])
def test_trusted_labels_and_those_of_unknown_trust_are_not_called_doubtful(results: Path, subject: str) -> None:
    heart = read_member(Member(results, "cof", "b000", subject), {})
    assert heart.summary.get("labels") == ({"trust": 0.9, "doubtful": False} if subject == UNDOUBTED else None)
    assert "labels doubtful" not in page(heart)


def test_a_cohort_without_a_table_of_quality_has_pages_and_the_log_says_so(
    results: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    unmeasured = shutil.copytree(results, tmp_path / "results")
    shutil.rmtree(unmeasured / "quality")
    assert written(unmeasured, tmp_path, count=1) == [f"{DOUBTFUL}/page/{DOUBTFUL}.html"]
    assert "1 hearts: no measure tells how far the labels of the scan can be trusted" in caplog.text
