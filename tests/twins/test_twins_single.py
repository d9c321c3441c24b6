"""One heart from raw files, with every component real: a held-out phantom, by what the smallest run trained."""

import json
import logging
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from beating_heart import write_beating_heart

from cof.artefacts.parquet import write_table
from cof.cine.volume import Cine, read_cine, read_labels, uniform_times, write_cine
from cof.errors import CofError, Reason, UsageError
from cof.twins import single
from cof.twins.cautions import GENERATED, RATES, SCAN
from cof.twins.exports.heart import Heart
from cof.twins.single import NOTICE, twin_from_files

FRAMES = 10  # of every heart of the smallest run


@pytest.fixture
def results(finished: Path, tmp_path: Path) -> Path:
    """What the smallest run has trained, as a folder of weights without the run's configuration, and its raw files."""
    root, made = tmp_path / "run", finished / "results/tiny"
    root.mkdir()
    for name in ("labeller", "registrations", "models", "phantom"):
        (root / name).symlink_to(made / name)
    return root


def raw_files(results: Path) -> tuple[Path, Path]:
    held_out = pd.read_csv(results / "phantom/subjects.csv").query("split == 'test'").iloc[0]
    return results / "phantom" / held_out["ecg"], results / "phantom" / held_out["cine"]


@pytest.mark.slow
def test_one_heart_from_one_ecg_and_one_scan(results, tmp_path):
    ecg, cine = raw_files(results)
    twin_from_files(ecg=ecg, scan=cine, weights=results, model="cof", out=tmp_path / "twin")
    summary = json.loads((tmp_path / "twin/summary.json").read_text())
    assert summary["notice"] == NOTICE
    labeller = summary["trained_on"]["labeller"]
    assert labeller["notice"] == "labels by a network trained on simulated hearts"
    assert labeller["held_out"]["hearts"] == "simulated hearts"
    assert set(labeller["held_out"]["dice"]) == {"ED", "ES"}
    assert summary["trained_on"]["model"]["subjects"] == {"simulated": 6, "real": 0, "unknown": 0}
    assert all(warning["of"] in (SCAN, GENERATED, RATES) and warning["source"] for warning in summary["warnings"])
    assert summary["scan"]["kind"] == "cine"
    assert 400 < summary["ecg"]["rr_ms"] < 1500
    assert set(summary["labels"]["trust"]) == {"ED", "ES"}
    assert all(0 <= trust <= 1 for trust in summary["labels"]["trust"].values())
    made = read_cine(tmp_path / "twin/twin.nii")
    volumes = pd.read_csv(tmp_path / "twin/volumes.csv")
    assert list(volumes) == ["frame", "time_ms", "lv_ml", "rv_ml"]
    assert len(volumes) == len(made.frames) == FRAMES
    labels = read_labels(tmp_path / "twin/twin.labels.nii.gz")
    voxel_ml = np.prod(made.spacing_mm) / 1000
    np.testing.assert_allclose(volumes["lv_ml"], (labels == 1).sum((1, 2, 3)) * voxel_ml, atol=0.01)
    assert summary["function"]["LV"]["edv_ml"] == pytest.approx(volumes["lv_ml"][0], abs=0.01)
    assert str(results) not in (tmp_path / "twin/summary.json").read_text()
    heart = Heart.read(tmp_path / "twin")
    assert heart.recorded is not None
    np.testing.assert_array_equal(heart.recorded.cine.frames[0], made.frames[0])
    assert heart.beat_mv is not None
    assert heart.beat_mv.shape[0] == 12

    anchor = tmp_path / "anchor.nii.gz"
    nib.save(nib.Nifti1Image(made.frames[0].transpose(2, 1, 0), made.affine), anchor)
    twin_from_files(ecg=ecg, scan=anchor, weights=results, model="cof", out=tmp_path / "lone")
    lone = json.loads((tmp_path / "lone/summary.json").read_text())
    assert lone["scan"]["kind"] == "anchor"
    assert set(lone["labels"]["trust"]) == {"ED"}
    assert lone["function"]["rr_ms"] == pytest.approx(lone["ecg"]["rr_ms"], abs=0.1)
    assert len(read_cine(tmp_path / "lone/twin.nii").frames) == FRAMES


@pytest.mark.slow
def test_one_heart_from_another_frame_and_with_its_intervals(results, tmp_path):
    ecg, cine = raw_files(results)
    given = {"ecg": ecg, "scan": cine, "weights": results, "model": "cof"}
    calibration = results / "intervals/cof.json"
    calibration.parent.mkdir()
    quantiles = {"ef": 5.0, "esv": 6.0, "curve": 7.0}
    calibration.write_text(json.dumps({"miscoverage": 0.1, "subjects": 20, "quantiles": quantiles}))
    twin_from_files(**given, out=tmp_path / "ed")
    twin_from_files(**given, out=tmp_path / "late", anchor_phase=0.5)
    summary = json.loads((tmp_path / "ed/summary.json").read_text())
    ef = summary["intervals"]["ef_pct"]
    assert ef["value"] == pytest.approx(summary["function"]["LV"]["ef_pct"], abs=0.05)
    assert ef["high"] - ef["low"] == pytest.approx(min(10, ef["value"] + 5, 105 - ef["value"]), abs=0.02)
    volumes = pd.read_csv(tmp_path / "ed/volumes.csv")
    np.testing.assert_allclose(volumes["lv_high_ml"] - volumes["lv_ml"], 7, atol=0.02)

    late = json.loads((tmp_path / "late/summary.json").read_text())
    assert late["scan"]["anchor_phase"] == 0.5
    assert "another phase" in late["intervals"]["note"]
    assert "lv_low_ml" not in pd.read_csv(tmp_path / "late/volumes.csv")
    ed, other = (read_cine(tmp_path / name / "twin.nii").frames for name in ("ed", "late"))
    assert (ed[0] != other[0]).any()
    with pytest.raises(UsageError, match="below 1"):
        twin_from_files(**given, out=tmp_path / "no", anchor_phase=1.0)


@pytest.mark.slow
def test_faults_of_one_persons_files_are_told(results, tmp_path):
    ecg, cine = raw_files(results)
    broken = tmp_path / "broken.xml"
    broken.write_bytes(ecg.read_bytes()[:2000])
    for path, reason in ((broken, Reason.ECG_UNREADABLE), (cine, Reason.ECG_UNREADABLE)):
        with pytest.raises(CofError) as error:
            twin_from_files(ecg=path, scan=cine, weights=results, model="cof", out=tmp_path / "no")
        assert error.value.reason is reason
    with pytest.raises(UsageError, match="no such scan"):
        twin_from_files(ecg=ecg, scan=tmp_path / "none.zip", weights=results, model="cof", out=tmp_path / "no")
    with pytest.raises(UsageError, match="not a trained model"):
        twin_from_files(ecg=ecg, scan=cine, weights=results, model="other", out=tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_every_repair_is_printed_once(tmp_path, caplog):
    repairs = ("slice 2: frame 3 is missing, the one before is repeated", "4 images in other planes left out")
    frames = np.arange(2 * 3 * 4 * 4, dtype=np.int16).reshape(2, 3, 4, 4)
    write_table(tmp_path / "ecg", pd.DataFrame({"repairs": [["a gap of 3 samples filled"]]}), {})
    (tmp_path / "cine").mkdir()
    write_cine(tmp_path / "cine/twin.nii", Cine(frames, np.eye(4), uniform_times(2, 900.0), 900.0, repairs=repairs))
    with caplog.at_level(logging.INFO, "cof"):
        single._say_repairs(tmp_path)
    assert caplog.messages == ["ECG: a gap of 3 samples filled", *(f"scan: {repair}" for repair in repairs)]


def test_a_format_that_fails_costs_neither_the_heart_nor_the_others(tmp_path):
    write_beating_heart(tmp_path / "images", moved=False)
    (fault,) = single._export(tmp_path / "images", ("stl", "tables"))
    assert fault.startswith("stl: the model lfdm generates images and no motion")
    assert not (tmp_path / "images/stl").exists()
    assert (tmp_path / "images/tables/function.csv").is_file()
    assert single._export(tmp_path / "images", ()) == []


def test_a_format_that_stumbles_over_the_data_costs_no_heart_but_a_broken_machine_does(tmp_path, monkeypatch):
    def stumble(error):
        def write(heart, folder):
            (folder / "half.csv").write_text("1,")
            raise error

        monkeypatch.setattr("cof.twins.exports.tables.write", write)

    write_beating_heart(tmp_path / "heart")
    stumble(ValueError("zero-size array"))
    assert single._export(tmp_path / "heart", ("tables",)) == ["tables: zero-size array"]
    assert not (tmp_path / "heart/tables").exists()
    stumble(MemoryError())
    with pytest.raises(MemoryError):
        single._export(tmp_path / "heart", ("tables",))
