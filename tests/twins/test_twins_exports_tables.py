"""Tables of a heart: numbers that follow from its labels, and from a motion that is known."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from beating_heart import write_beating_heart
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


def test_a_heart_at_rest_has_no_strain_and_the_thickness_of_its_ring(heart: Heart) -> None:
    regional = tables.tables(heart)["regional"]
    assert regional["name"][0] == "basal anterior"
    for direction in ("circumferential", "radial", "longitudinal"):
        for strain in (f"strain_{direction}_pct", f"green_lagrange_{direction}"):
            assert regional[strain].notna().sum() >= 12
            np.testing.assert_allclose(regional[strain].dropna(), 0, atol=1e-3)
    assert regional["wall_thickness_ed_mm"].mean() == pytest.approx(2 * SPACING_MM[1], rel=0.2)


def test_strain_of_a_heart_is_that_of_its_smallest_lv(tmp_path: Path) -> None:
    """In frame 3, tissue at r lay at R = r |1 + g / 2 + 0.15 g i| with g = exp(-(r / 42)^2); both strains follow."""
    write_beating_heart(tmp_path / "twin")
    regional = tables.regional(Heart.read(tmp_path / "twin"))
    assert regional is not None
    moved = np.linspace(5, 35, 601)
    pulled = np.exp(-((moved / 42) ** 2))
    rest = moved * np.hypot(1 + pulled / 2, 0.15 * pulled)
    middle = 23 * 0.985 + 4  # of the wall, on average over the basal slices
    np.testing.assert_allclose(
        regional["strain_circumferential_pct"][:6], 100 * (np.interp(middle, rest, moved) / middle - 1), atol=1
    )
    np.testing.assert_allclose(
        regional["strain_radial_pct"][:6], 100 * (np.interp(middle, rest, np.gradient(moved, rest)) - 1), atol=1.5
    )
    assert (regional["strain_longitudinal_pct"].dropna() < 0).all()
    for direction in ("circumferential", "radial", "longitudinal"):
        stretch = 1 + regional[f"strain_{direction}_pct"] / 100
        np.testing.assert_allclose(regional[f"green_lagrange_{direction}"], (stretch**2 - 1) / 2, atol=0.01)


def test_without_a_displacement_there_is_no_regional_function(heart: Heart) -> None:
    assert set(tables.tables(replace(heart, displacement=None))) == {"function", "curves"}


def test_a_cycle_of_unknown_duration_has_no_times_and_no_output(heart: Heart, tmp_path: Path) -> None:
    tables.write(untimed(heart), tmp_path)
    assert pd.read_csv(tmp_path / "curves.csv")["time_ms"].isna().all()
    function = pd.read_csv(tmp_path / "function.csv").set_index(["ventricle", "index"])["value"]
    assert function[[("LV", "CO"), ("LV", "time to end systole"), ("RV", "CO")]].isna().all()
    assert json.loads((tmp_path / "function.json").read_text())["curves"][1]["time_ms"] is None
