"""The stage: one row a labelled subject, exclusions by the limits, and who reaches the grid."""

import math
import shutil
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from scanned_phantom import Phantom

from cof.artefacts.parquet import read_table, write_table
from cof.cine.stage import grid_batch
from cof.cine.volume import Cine, read_labels, write_cine, write_labels
from cof.config.data import GridSettings, QualityFlags, QualityLimits
from cof.ecg.record import Ecg
from cof.errors import Reason
from cof.heart.structures import STRUCTURES
from cof.labels.doubt import Doubt
from cof.quality.catalogue import MEASURES, beyond
from cof.quality.plausibility import CHECKS
from cof.quality.stage import measure_batch

SHIFTED, HEALTHY, WITHOUT_ECG = "sub-0001-v2", "sub-0002-v2", "sub-0003-v2"


@pytest.fixture(scope="module")
def batch(phantom: Phantom, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three subjects with the same cine; one has a slice out of line, one no ECG."""
    root = tmp_path_factory.mktemp("batch")
    affine = np.diag([*phantom.spacing_mm[::-1], 1.0])
    times = np.arange(10) * 90.0
    for name in (SHIFTED, HEALTHY, WITHOUT_ECG):
        frames, labels = phantom.frames.astype(np.int16), phantom.labels
        if name == SHIFTED:
            frames, labels = frames.copy(), labels.copy()
            frames[:, 4], labels[:, 4] = (np.roll(stack[:, 4], 25, axis=2) for stack in (frames, labels))
        write_cine(root / f"cine/{name}.nii", Cine(frames, affine, times, 900.0))
        write_labels(root / f"labels/{name}.nii.gz", labels, affine)
    write_cine(root / "cine/sub-0004-v2.nii", Cine(phantom.frames.astype(np.int16), affine, times, 900.0))
    seconds = np.arange(5000) / 500 + 0.5
    lead = np.exp(-((((seconds + 0.5) % 1) - 0.5) ** 2) / (2 * 0.012**2))
    record = Ecg(np.tile(lead, (12, 1)).astype(np.float32), 500.0)
    ecgs = [{"subject": name} | record.to_row() for name in (SHIFTED, HEALTHY)]
    write_table(root / "ecg.parquet", pd.DataFrame(ecgs), {})
    beats = [
        {"subject": name, "rr_ms": 1000.0, "correlation": 0.99, "low_quality": False, "irregular": True}
        for name in (SHIFTED, HEALTHY)
    ]
    write_table(root / "beats.parquet", pd.DataFrame(beats), {})
    return root


def measure(batch: Path, out: Path, **limits: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    measure_batch(
        ecg=batch / "ecg.parquet",
        beats=batch / "beats.parquet",
        cine=batch / "cine",
        labels=batch / "labels",
        out=out / "quality.parquet",
        exclusions=out / "excluded.parquet",
        settings=QualityLimits(**limits),
    )
    return read_table(out / "quality.parquet"), read_table(out / "excluded.parquet")


def test_a_row_a_labelled_subject_and_nobody_left_out_by_default(batch: Path, tmp_path: Path) -> None:
    table, excluded = measure(batch, tmp_path)
    assert list(table.columns) == ["subject", *(measure.key for measure in MEASURES)]
    assert list(table["subject"]) == [SHIFTED, HEALTHY, WITHOUT_ECG]
    assert excluded.empty
    rows = table.set_index("subject")
    assert rows.loc[HEALTHY, "rate_mismatch_bpm"] == pytest.approx(60_000 / 900 - 60)
    assert rows.loc[HEALTHY, "irregular"] == 1
    assert rows.loc[HEALTHY, "ecg_quality"] > 0.99
    assert (
        rows.loc[WITHOUT_ECG, ["ecg_quality", "ecg_noisy_leads", "beat_correlation", "rate_mismatch_bpm"]].isna().all()
    )
    assert rows.loc[WITHOUT_ECG, "blur"] == rows.loc[HEALTHY, "blur"]
    assert rows.loc[SHIFTED, "slice_shift_mm"] > rows.loc[HEALTHY, "slice_shift_mm"] + 10
    flagged = {name: [m.key for m in beyond(row, QualityFlags())] for name, row in rows.iterrows()}
    assert flagged == {SHIFTED: ["slice_shift_mm"], HEALTHY: [], WITHOUT_ECG: []}


def test_labels_that_cannot_be_warn_in_the_log_and_have_their_row(
    batch: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = shutil.copytree(batch, tmp_path / "batch")
    file = root / f"labels/{HEALTHY}.nii.gz"
    labels = read_labels(file)
    labels[labels == STRUCTURES["RV"]] = 0
    write_labels(file, labels, np.eye(4))
    with caplog.at_level("WARNING", logger="cof"):
        measure_batch(
            ecg=root / "ecg.parquet", beats=root / "beats.parquet", cine=root / "cine", labels=root / "labels",
            out=tmp_path / "quality.parquet", exclusions=tmp_path / "excluded.parquet", settings=QualityLimits(),
            checked=tmp_path / "plausibility.parquet",
        )  # fmt: skip
    said = f"{HEALTHY}: RV EDV 0.0 mL, plausible is 40 to 500 mL (labels of the real cine)"
    assert said in caplog.messages
    table = read_table(tmp_path / "plausibility.parquet")
    assert list(table.columns) == ["subject", *(check.key for check in CHECKS), "lv_t_es_ms"]
    rows = table.set_index("subject")
    assert rows.loc[HEALTHY, "rv_edv_ml"] == 0
    assert rows.loc[SHIFTED, "rv_edv_ml"] > 40
    assert rows.loc[HEALTHY, "rr_ratio"] == pytest.approx(1000 / 900)
    assert math.isnan(rows.loc[WITHOUT_ECG, "rr_ratio"])
    assert read_table(tmp_path / "excluded.parquet").empty


def test_doubtful_labels_are_flagged_and_named_in_the_log(
    batch: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    doubtful, sure = Doubt({"ED": 0.9, "ES": 0.31}, (1, 9)), Doubt({"ED": 0.9, "ES": 0.8}, ())
    judged = []

    def judge(trained: object, frames: np.ndarray, labels: np.ndarray, spacing_mm: tuple[float, ...]) -> Doubt:
        judged.append((trained, frames.shape, labels.shape))
        return doubtful if len(judged) == 1 else sure

    with (
        patch("cof.labels.artefact.load", return_value="the labeller"),
        patch("cof.labels.doubt.judge", judge),
        caplog.at_level("WARNING", logger="cof"),
    ):
        measure_batch(
            ecg=batch / "ecg.parquet", beats=batch / "beats.parquet", cine=batch / "cine", labels=batch / "labels",
            out=tmp_path / "quality.parquet", exclusions=tmp_path / "excluded.parquet",
            settings=QualityLimits(label_trust=0.5), labeller=tmp_path / "labeller",
        )  # fmt: skip
    rows = read_table(tmp_path / "quality.parquet").set_index("subject")
    assert rows["label_trust"].to_dict() == {SHIFTED: 0.31, HEALTHY: 0.8, WITHOUT_ECG: 0.8}
    assert [(trained, frames == labels) for trained, frames, labels in judged] == [("the labeller", True)] * 3
    assert f"{SHIFTED}: labels doubtful, slices 1 and 9" in caplog.messages
    assert not any(message.startswith(HEALTHY) for message in caplog.messages)
    excluded = read_table(tmp_path / "excluded.parquet")
    assert excluded[["subject", "reason"]].to_numpy().tolist() == [[SHIFTED, str(Reason.QUALITY_LABELS)]]


def test_without_a_labeller_nobody_knows_how_far_to_trust_labels(batch: Path, tmp_path: Path) -> None:
    table, _ = measure(batch, tmp_path)
    assert table["label_trust"].isna().all()


def test_an_excluded_subject_does_not_reach_the_grid_and_changes_nobody(batch: Path, tmp_path: Path) -> None:
    table, excluded = measure(batch, tmp_path, slice_shift_mm=12)
    assert list(table["subject"]) == [SHIFTED, HEALTHY, WITHOUT_ECG]
    assert excluded[["subject", "stage", "reason"]].to_numpy().tolist() == [
        [SHIFTED, "quality", str(Reason.QUALITY_SLICE_SHIFT)]
    ]
    assert "the limit is 12" in excluded["message"][0]
    grids = {}
    for name, passed_over in (("all", None), ("some", tmp_path / "excluded.parquet")):
        grid_batch(
            cine=batch / "cine",
            labels=batch / "labels",
            out=tmp_path / name,
            exclusions=tmp_path / f"{name}.parquet",
            settings=GridSettings(frames=10),
            excluded=passed_over,
        )
        grids[name] = {path.name: path.read_bytes() for path in (tmp_path / name).glob("[!.]*")}
        assert read_table(tmp_path / f"{name}.parquet").empty
    assert {name: content for name, content in grids["all"].items() if not name.startswith(SHIFTED)} == grids["some"]
    assert f"{SHIFTED}.nii" in grids["all"]


def test_every_measure_has_its_limits() -> None:
    keys = [measure.key for measure in MEASURES]
    assert keys == list(QualityLimits.model_fields)
    for measure in MEASURES:
        worse = 2.0 if measure.worse == "high" else 0.5
        values = dict.fromkeys(keys, 1.0) | {measure.key: worse}
        limits = QualityLimits(**dict.fromkeys(keys, 1.0))
        assert beyond(values, limits) == [measure]
        assert beyond(values, QualityLimits()) == []
        assert beyond(dict.fromkeys(keys, math.nan), limits) == []
