import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cof.artefacts.parquet import write_table
from cof.config.evaluation import IntervalSettings
from cof.config.metrics import DEFINITIONS_VERSION
from cof.errors import UsageError
from cof.metrics.calibration import calibrate
from cof.metrics.conformal import Intervals
from cof.twins.single import _bound


def metrics(path, names, seed=0, version=DEFINITIONS_VERSION):
    rng = np.random.default_rng(seed)
    rows = [
        (name, f"{quantity}{suffix}_score", 100 * (suffix != "") + rng.random(), version)
        for name in names
        for quantity in ("ef", "esv", "curve")
        for suffix in ("", "_exact")
    ]
    write_table(path, pd.DataFrame(rows, columns=["subject", "metric", "value", "version"]), {})
    return path


def cohort(folder: Path, *batches: str) -> Path:
    """A table of subjects in these batches."""
    path = folder / "subjects.parquet"
    write_table(path, pd.DataFrame({"batch": batches}), {})
    return path


def test_the_quantile_is_over_all_batches_and_of_the_labels_alone(tmp_path):
    names = [f"s{index:02d}-v2" for index in range(19)]
    batches = [metrics(tmp_path / "b0.parquet", names[:10]), metrics(tmp_path / "b1.parquet", names[10:], 1)]
    metrics(tmp_path / "b2.parquet", [])
    calibrate(
        subjects=cohort(tmp_path, "b0", "b1", "b2", "b0"),
        metrics=tmp_path,
        out=tmp_path / "cof.json",
        settings=IntervalSettings(miscoverage=0.1),
    )
    found = Intervals.read(tmp_path / "cof.json")
    rows = pd.concat([pd.read_parquet(path) for path in batches])
    for name in ("ef", "esv", "curve"):
        values = np.sort(rows.loc[rows["metric"] == f"{name}_score", "value"])
        assert found.quantiles[name] == values[17]  # the 18th of 19
    assert (found.subjects, found.miscoverage) == (19, 0.1)


def test_too_few_validation_subjects_give_null_and_a_warning(tmp_path, caplog):
    metrics(tmp_path / "b0.parquet", ["a-v2", "b-v2"])
    calibrate(subjects=cohort(tmp_path, "b0"), metrics=tmp_path, out=tmp_path / "cof.json", settings=IntervalSettings())
    record = json.loads((tmp_path / "cof.json").read_text())
    assert record["quantiles"] == {"ef": None, "esv": None, "curve": None}
    assert record["least_subjects"] == 9
    assert "2 validation subjects are too few for a finite interval; at least 9 are needed" in caplog.text
    assert Intervals.read(tmp_path / "cof.json").quantiles["ef"] == float("inf")


def test_outdated_metrics_are_refused(tmp_path):
    metrics(tmp_path / "b.parquet", ["a-v2"], version="0")
    subjects = cohort(tmp_path, "b")
    with pytest.raises(UsageError, match="evaluate them again"):
        calibrate(subjects=subjects, metrics=tmp_path, out=tmp_path / "o.json", settings=IntervalSettings())


def test_one_persons_summary_has_the_interval_of_its_anchor_alone(tmp_path):
    intervals = Intervals(0.1, 20, {"ef": 2.0, "esv": 3.0, "curve": 4.0})
    volumes = pd.DataFrame({"frame": range(4), "time_ms": range(4), "lv_ml": [100.0, 60, 50, 80], "rv_ml": 1.0})
    for phase, bounded in ((0.0, True), (0.3, False)):
        volumes.to_csv(tmp_path / "volumes.csv", index=False)
        summary = {"scan": {"anchor_phase": phase}, "measures": {"ef_sd_pct": 1.5}}
        (tmp_path / "summary.json").write_text(json.dumps(summary))
        _bound(tmp_path, intervals, 0.0)
        found = json.loads((tmp_path / "summary.json").read_text())["intervals"]
        columns = list(pd.read_csv(tmp_path / "volumes.csv"))
        assert ("lv_low_ml" in columns) == ("ef_pct" in found) == bounded
        if bounded:
            assert found["ef_pct"] == {"value": 50.0, "low": 45.0, "high": 55.0}  # 2 (1 + 1.5)
            assert found["esv_ml"] == {"value": 50.0, "low": 47.0, "high": 53.0}
            assert pd.read_csv(tmp_path / "volumes.csv")["lv_high_ml"].tolist() == [104, 64, 54, 84]
