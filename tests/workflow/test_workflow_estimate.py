"""`cof estimate` against what the smallest run wrote and took."""

from pathlib import Path

import pandas as pd
import pytest
from running import FEWER, REPOSITORY, TINY

from cof.config import load
from cof.estimate.calibration import calibrate
from cof.estimate.cost import Row, estimate

pytestmark = pytest.mark.slow

# Runs of a second are start-up and chance; stages are compared in sum, and within this factor.
FACTOR = 5


@pytest.fixture(scope="module")
def rows() -> dict[str, Row]:
    config = load(REPOSITORY / "config.yaml", TINY, FEWER)
    return {row.stage: row for row in estimate(config, 9, calibrate(config), gpu_factor=1)}


def written(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_files_and_bytes_are_those_of_a_run(finished: Path, rows: dict[str, Row]) -> None:
    results = finished / "results/tiny"
    for stage, row in rows.items():
        if stage.startswith("logs"):
            continue
        files = written(results / stage)
        assert len(files) == pytest.approx(row.files, abs=0.5), stage
        # A table of three subjects is mostly its schema; everything else is proportional.
        if not any(path.suffix == ".parquet" for path in files):
            assert sum(path.stat().st_size for path in files) == pytest.approx(row.bytes, rel=0.25), stage


def test_times_are_those_of_a_run_within_a_factor(finished: Path, rows: dict[str, Row]) -> None:
    times = finished / "results/tiny/benchmarks"
    rules = ("ecg", "beats", "cine", "label", "quality", "grid", "fields", "twins", "evaluate", "train", "toppr")
    files = [path for rule in rules for path in (times / rule).rglob("*.tsv")]
    took = sum(pd.read_csv(path, sep="\t")["cpu_time"].sum() for path in [*files, times / "labeller.tsv"])
    hours = sum(row.core_hours + row.gpu_hours for row in rows.values())
    assert took / FACTOR < hours * 3600 < took * FACTOR
