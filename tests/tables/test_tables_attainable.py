"""Tests of the attainable R² and error, on cohorts whose EF and time to ES follow from their measurements."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cof.artefacts.parquet import write_table
from cof.config.evaluation import EvaluationSettings
from cof.tables.attainable import measure_attainable

FRAMES = 20
# Volumes of 100 mL at ED, with the smallest volume in frame 6.
SHAPE = np.where(np.arange(FRAMES) <= 6, 1 - np.arange(FRAMES) / 6, (np.arange(FRAMES) - 6) / 14)


def cohort(root: Path, train: int, test: int, *, noise: float, rolled: int = 0, shift: float = 0.0) -> dict:
    """A cohort whose EF is a sum of a feature and a size of the anchor, and whose time to ES is linear in the RR."""
    rng = np.random.default_rng(train + test)
    count = train + test
    names = [f"sub-{index:03d}-v2" for index in range(count)]
    rr = rng.normal(950, 90, count)
    features, edv = rng.normal(size=(count, 12)), rng.normal(150, 20, count)
    features[::7, 3] = np.nan  # a wave that could not be measured
    ef = 60 + 3 * features[:, 5] + 0.15 * (edv - 150) + noise * rng.normal(size=count)
    split = ["train"] * train + ["test"] * test
    for folder in ("beats", "plausibility", "cine/b000", "truth"):
        (root / folder).mkdir(parents=True)
    table = pd.DataFrame({"subject": names, "split": split, "batch": "b000"})
    write_table(root / "subjects.parquet", table, {})
    numbers = [f"p{index}" for index in range(count)]
    write_table(root / "key.parquet", pd.DataFrame({"subject": names, "participant": numbers, "visit": 2}), {})
    beats = {"subject": names, "rr_ms": rr, "sex": ["M", "F"] * (count // 2), "features": list(features)}
    write_table(root / "beats/b000.parquet", pd.DataFrame(beats), {})
    seen = pd.DataFrame({"subject": names, "lv_edv_ml": edv, "lv_mass_g": 100.0, "rv_edv_ml": 140.0})
    seen = seen.assign(lv_ef_pct=ef, lv_t_es_ms=200 + 0.15 * rr + noise * rng.normal(size=count))
    write_table(root / "plausibility/b000.parquet", seen, {})
    for name, number, wanted in zip(names, numbers, ef + shift):
        (root / f"cine/b000/{name}.json").write_text(json.dumps({"rr_ms": 1000.0, "rolled_by": rolled}))
        volumes = 100 - wanted * (1 - SHAPE)
        record = {"label_lv_ml": list(np.roll(volumes, rolled))}
        (root / f"truth/{number}_2.json").write_text(json.dumps(record))
    return {
        **{name: root / name for name in ("beats", "plausibility", "cine", "truth")},
        **{name: root / f"{name}.parquet" for name in ("subjects", "key")},
        "out": root / "attainable.json",
        "evaluation": EvaluationSettings(bootstrap=200),
    }


def found(given: dict, **more) -> dict:
    measure_attainable(**given | more)
    return json.loads(given["out"].read_text())


def test_what_follows_from_the_measurements_is_attained(tmp_path: Path) -> None:
    record = found(cohort(tmp_path, 120, 40, noise=0.0, rolled=3, shift=5.0))
    answers = record["answers"]
    assert (record["train"], record["test"]) == (120, 40)
    assert answers["ef_r2"]["value"] > 0.99
    # The exact EF is 5 higher, and its volumes begin three frames before the cine's.
    assert answers["ef_exact_r2"]["value"] > 0.99
    for name in ("t_es_error_ms", "t_es_error_of_rate_ms"):
        assert answers[name]["value"] < 0.5
        assert answers[name]["low"] <= answers[name]["value"] <= answers[name]["high"]
    # All hearts have the same phase of ES at the same rate.
    assert answers["t_es_exact_error_ms"]["value"] < 1e-3


def test_noise_is_not_attained(tmp_path: Path) -> None:
    """The standard deviation of the EF's known part is 4.2; that of its noise is the same, so R2 is about a half."""
    answers = found(cohort(tmp_path, 400, 200, noise=4.24))["answers"]
    assert answers["ef_r2"]["value"] == pytest.approx(0.5, abs=0.12)
    assert answers["t_es_error_of_rate_ms"]["value"] == pytest.approx(4.24 * np.sqrt(2 / np.pi), rel=0.15)


def test_another_runs_regressions_are_applied_and_not_learnt_again(tmp_path: Path) -> None:
    first = cohort(tmp_path / "first", 120, 40, noise=1.0)
    record = found(first)
    further = cohort(tmp_path / "further", 0, 60, noise=1.0)
    assert found(further)["answers"]["ef_r2"] is None
    borrowed = found(further, trained=first["out"])
    assert borrowed["regressions"] == record["regressions"]
    assert (borrowed["train"], borrowed["test"]) == (120, 60)
    assert borrowed["answers"]["ef_r2"]["value"] > 0.8


def test_real_hearts_have_no_exact_answer(tmp_path: Path) -> None:
    answers = found(cohort(tmp_path, 30, 10, noise=0.0), truth=None)["answers"]
    assert answers["ef_r2"] is not None
    assert answers["ef_exact_r2"] is None
    assert answers["t_es_exact_error_ms"] is None
