"""Tables of a heart: numbers that follow from its labels, and from a motion that is known."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_heart import FRAMES, RR_MS, SPACING_MM, small_heart, untimed

from cof.twins.exports import tables
from cof.twins.exports.heart import SYNTHETIC, Heart

VOXEL_ML = float(np.prod(SPACING_MM)) / 1000


@pytest.fixture(scope="module")
def heart() -> Heart:
    return small_heart()


def test_curves_and_indices_are_those_of_the_labels(heart: Heart, tmp_path: Path) -> None:
    paths = tables.write(heart, tmp_path)
    assert [path.name for path in paths] == ["function.csv", "curves.csv", "regional.csv", "function.json"]
    curves = pd.read_csv(tmp_path / "curves.csv")
    assert list(curves) == ["frame", "time_ms", "lv_ml", "myocardium_ml", "rv_ml"]
    np.testing.assert_allclose(curves["time_ms"], np.arange(FRAMES) * RR_MS / FRAMES)
    for label, name in enumerate(("lv_ml", "myocardium_ml", "rv_ml"), 1):
        expected = (heart.labels == label).sum(axis=(1, 2, 3)) * VOXEL_ML
        np.testing.assert_allclose(curves[name], expected, atol=0.005)
    function = pd.read_csv(tmp_path / "function.csv").set_index(["ventricle", "index"])
    edv, esv = curves["lv_ml"][0], curves["lv_ml"].min()
    assert function.loc[("LV", "EDV"), "value"] == edv
    assert function.loc[("LV", "EF"), "value"] == pytest.approx(100 * (edv - esv) / edv, abs=0.5)
    assert function.loc[("RV", "EF"), "value"] == 100
    record = json.loads((tmp_path / "function.json").read_text())
    assert record["notices"] == [SYNTHETIC, *heart.notices]
    assert record["curves"] == json.loads(curves.to_json(orient="records"))


def test_a_heart_at_rest_neither_thickens_nor_has_a_time(heart: Heart) -> None:
    regional = tables.tables(heart)["regional"]
    assert list(regional["segment"]) == list(range(1, 17))
    assert regional["peak_ms"].isna().all()
    np.testing.assert_allclose(regional["thickening_pct"].dropna(), 0, atol=1e-3)


def test_without_a_displacement_there_is_no_regional_function(heart: Heart) -> None:
    assert set(tables.tables(replace(heart, displacement=None))) == {"function", "curves"}


def test_a_cycle_of_unknown_duration_has_no_times_and_no_output(heart: Heart, tmp_path: Path) -> None:
    tables.write(untimed(heart), tmp_path)
    assert pd.read_csv(tmp_path / "curves.csv")["time_ms"].isna().all()
    function = pd.read_csv(tmp_path / "function.csv").set_index(["ventricle", "index"])["value"]
    assert function[[("LV", "CO"), ("LV", "time to end systole"), ("RV", "CO")]].isna().all()
    assert json.loads((tmp_path / "function.json").read_text())["curves"][1]["time_ms"] is None
