"""Agreement of function and shape of curves: statistics of the CSV against closed forms."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from cof.config.figures import FigureSettings
from cof.figures import agreement, curves
from cof.figures.function import ALL
from cof.figures.sources import NotDrawn
from constructed import make_run, name

NAMES = [name(k) for k in range(1, 9)]
CATEGORIES = {one: ["normal"] if int(one[4:8]) % 2 else ["rhythm"] for one in NAMES}
ERRORS = dict(zip(NAMES, (-3.0, 1, 2, -1, 4, 0, -2, 3)))


def indices(subjects=NAMES, skipped=()):
    for one in subjects:
        for index in agreement.SHOWN:
            if index.printed in skipped:
                continue
            real = 50.0 + int(one[4:8])
            error = 0.0 if index.printed in ("EDV", "LV mass") else ERRORS[one]
            yield one, index.structure, None, f"{index.key}_{index.suffix}", real + error
            yield one, index.structure, None, f"{index.key}_reference_{index.suffix}", real


def test_statistics_of_all_subjects_and_of_every_category(tmp_path: Path) -> None:
    frame = agreement.data(make_run(tmp_path, {"cof": indices()}, CATEGORIES))
    of = frame[frame["kind"] == "agreement"].set_index(["category", "index"])
    errors = np.array(list(ERRORS.values()))
    ef = of.loc[(ALL, "EF")]
    assert (ef["n"], ef["mae"], ef["bias"]) == (8, 2.0, 0.5)
    assert ef["rmse"] == pytest.approx(math.sqrt(44 / 8))
    assert ef["high"] - ef["bias"] == pytest.approx(1.96 * errors.std(ddof=1))
    real = 50.0 + np.arange(1, 9)
    assert ef["pearson"] == pytest.approx(stats.pearsonr(real + errors, real).statistic)
    assert ef["spearman"] == pytest.approx(stats.spearmanr(real + errors, real).statistic)
    assert of.loc[("rhythm", "EF"), "bias"] == pytest.approx(np.mean([1, -1, 0, 3]))
    assert of.loc[("normal", "CO"), "n"] == 4
    assert (of.xs("EDV", level=1)[["mae", "rmse", "bias", "low", "high"]] == 0).all(axis=None)
    assert (of.xs("LV mass", level=1)["icc"] == 1).all()


def test_the_subjects_values_are_in_the_numbers(tmp_path: Path) -> None:
    frame = agreement.data(make_run(tmp_path, {"cof": indices()}, CATEGORIES))
    cases = frame[(frame["kind"] == "case") & (frame["index"] == "SV")].set_index("subject")
    assert dict(cases["generated"] - cases["real"]) == ERRORS


def test_the_table_for_people_says_the_same(tmp_path: Path) -> None:
    table = agreement.numbers(agreement.data(make_run(tmp_path, {"cof": indices()}, CATEGORIES)))
    assert len(table) == 3 * 6
    ef = table[(table["category"] == ALL) & (table["index"] == "EF (%)")].iloc[0]
    spread = 1.96 * np.std(list(ERRORS.values()), ddof=1)
    assert ef["limits of agreement"] == f"−{spread - 0.5:.1f} to +{spread + 0.5:.1f}"
    assert (ef["n"], ef["MAE"], ef["bias"]) == ("8", "2.0", "+0.5")


def test_a_panel_whose_errors_are_all_zero_says_why(tmp_path: Path) -> None:
    sources = make_run(tmp_path, {"cof": indices()}, CATEGORIES)
    figure = agreement.draw(agreement.data(sources), sources)
    said = {axes.get_title(loc="left"): " ".join(text.get_text() for text in axes.texts) for axes in figure.axes}
    assert {title for title, text in said.items() if "by construction" in text} == {"EDV (mL)", "LV mass (g)"}


def test_indices_that_are_missing_are_named_and_two_subjects_are_too_few(tmp_path: Path) -> None:
    sources = make_run(tmp_path / "a", {"cof": indices(skipped=("CO",))}, CATEGORIES)
    frame = agreement.data(sources)
    assert "The metrics lack CO." in agreement.remark(frame, sources)
    agreement.draw(frame, sources)
    sources = make_run(tmp_path / "b", {"cof": indices(NAMES[:2])}, CATEGORIES)
    with pytest.raises(NotDrawn, match="only 2 subjects"):
        agreement.draw(agreement.data(sources), sources)


def shapes(slope: float, subjects=NAMES):
    for one in subjects:
        for index in curves.SHAPES:
            real = 300.0 + 10 * int(one[4:8])
            yield one, "LV", None, f"{index.key}_reference_{index.suffix}", real
            yield one, "LV", None, f"{index.key}_{index.suffix}", 340 + slope * (real - 340)


def test_curves_pair_generated_and_real_values_of_both_models(tmp_path: Path) -> None:
    rows = {"cof": shapes(0.5), "mean_motion": shapes(0.0)}
    sources = make_run(tmp_path, rows)
    frame = curves.data(sources)
    assert len(frame) == 2 * 4 * 8
    own = frame[frame["model"] == "cof"]
    np.testing.assert_allclose(own["generated"], 340 + 0.5 * (own["real"] - 340))
    assert set(frame[frame["model"] == "mean_motion"]["generated"]) == {340.0}
    table = curves.numbers(frame).set_index(["index", "model"])
    assert table.loc[("time to ES (ms)", "cof"), "Pearson r"] == "1.000"
    assert table.loc[("time to ES (ms)", "mean_motion"), "Pearson r"] == "–"
    curves.draw(frame, sources)


def test_a_kick_that_is_not_defined_is_counted_and_left_out(tmp_path: Path) -> None:
    rows = [
        (*row[:4], math.nan if row[3] == "atrial_kick_pct" and row[0] in NAMES[:3] else row[4]) for row in shapes(1.0)
    ]
    sources = make_run(tmp_path, {"cof": rows, "mean_motion": []})
    frame = curves.data(sources)
    assert (frame["index"] == "atrial kick").sum() == 5
    assert "time to ES 8" in curves.remark(frame, sources)
    assert "atrial kick 5." in curves.remark(frame, sources)
    none = make_run(tmp_path / "none", {"cof": [row for row in shapes(1.0) if "reference" not in row[3]]})
    with pytest.raises(NotDrawn, match="no subject of 'cof' has time to ES"):
        curves.data(replace(none, settings=FigureSettings(model="cof")))
