"""ECG categories: correlations against NumPy, resamples against a plain loop, categories too small or empty."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cof.config.figures import FigureSettings
from cof.figures import categories
from cof.figures.function import ALL, INDICES
from cof.figures.sources import NotDrawn, Sources
from constructed import make_run, name

COUNT = 24
NAMES = [name(k) for k in range(1, COUNT + 1)]
RNG = np.random.default_rng(4)
EDV = dict(zip(NAMES, RNG.normal(140, 25, COUNT)))
EF = dict(zip(NAMES, RNG.normal(60, 6, COUNT)))
HEARD = {one: EF[one] + error for one, error in zip(NAMES, RNG.normal(0, 3, COUNT))}
MEMBERS = {one: ["hypertrophy", "rhythm"] if int(one[4:8]) <= 12 else ["normal"] for one in NAMES}
MEMBERS[NAMES[-1]] = ["ischaemia"]


def function(ef, subjects=NAMES):
    """Rows of the indices of hearts of known EDV whose EF is `ef(subject)`, at 60 beats per minute."""
    for one in subjects:
        for suffix, value in (("", ef(one)), ("_reference", EF[one])):
            stroke = EDV[one] * value / 100
            yield one, "LV", None, f"edv{suffix}_ml", EDV[one]
            yield one, "LV", None, f"esv{suffix}_ml", EDV[one] - stroke
            yield one, "LV", None, f"sv{suffix}_ml", stroke
            yield one, "LV", None, f"ef{suffix}_pct", value
            yield one, "LV", None, f"co{suffix}_l_min", stroke * 60 / 1000
        yield one, "LV", None, "lv_curve_r", 1 - int(one[4:8]) / 1000


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    rows = {"cof": function(HEARD.get), "mean_motion": function(lambda one: 58 + EDV[one] / 1000)}
    return make_run(tmp_path_factory.mktemp("run"), rows, MEMBERS)


@pytest.fixture(scope="module")
def frame(sources: Sources) -> pd.DataFrame:
    return categories.data(sources)


def cell(frame: pd.DataFrame, category: str, index: str, predictor: str):
    (found,) = frame.query("category == @category and index == @index and predictor == @predictor").to_dict("records")
    return found


def column(of, subjects=NAMES) -> np.ndarray:
    return np.array([of[one] for one in subjects])


def test_correlations_are_those_of_numpy(frame: pd.DataFrame) -> None:
    group = [one for one in NAMES if "rhythm" in MEMBERS[one]]
    found = cell(frame, "rhythm", "EF", categories.MODEL)
    assert found["n"] == len(group) == 12
    assert found["r"] == pytest.approx(np.corrcoef(column(HEARD, group), column(EF, group))[0, 1])
    esv = {one: EDV[one] * (1 - EF[one] / 100) for one in NAMES}
    alone = cell(frame, ALL, "ESV", categories.SIZE)
    assert alone["r"] == pytest.approx(np.corrcoef(column(EDV), column(esv))[0, 1])


def test_the_null_of_the_population_mean_is_that_of_heart_size(frame: pd.DataFrame) -> None:
    found = cell(frame, ALL, "EF", categories.MEAN)
    assert found["r"] == pytest.approx(np.corrcoef(column(EDV), column(EF))[0, 1])


def test_what_is_left_given_the_edv_is_the_partial_correlation(frame: pd.DataFrame) -> None:
    r = np.corrcoef([column(HEARD), column(EF), column(EDV)])
    expected = (r[0, 1] - r[0, 2] * r[1, 2]) / np.sqrt((1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2))
    assert cell(frame, ALL, "EF", categories.PARTIAL)["r"] == pytest.approx(expected)


def test_percentiles_are_those_of_resampled_subjects(frame: pd.DataFrame) -> None:
    found = cell(frame, ALL, "EF", categories.MODEL)
    drawn = np.random.default_rng(0).integers(COUNT, size=(200, COUNT))
    heard, ef = column(HEARD), column(EF)
    expected = np.quantile([np.corrcoef(heard[of], ef[of])[0, 1] for of in drawn], [0.025, 0.25, 0.5, 0.75, 0.975])
    np.testing.assert_allclose([found[key] for key in ("low", "q1", "median", "q3", "high")], expected)


def test_edv_is_one_by_construction(frame: pd.DataFrame) -> None:
    edv = frame[(frame["index"] == "EDV") & (frame["category"] == ALL)]
    assert set(edv["predictor"]) == {categories.MODEL, categories.MEAN}
    np.testing.assert_allclose(edv[["r", "low", "median", "high"]], 1)


def test_curves_are_described_by_the_subjects_own_correlations(frame: pd.DataFrame) -> None:
    found = cell(frame, ALL, categories.CURVE, categories.MODEL)
    own = 1 - np.arange(1, COUNT + 1) / 1000
    assert found["r"] == pytest.approx(own.mean())
    assert found["median"] == pytest.approx(np.median(own))


def test_a_small_category_is_listed_and_not_drawn(sources: Sources, frame: pd.DataFrame) -> None:
    small = frame[frame["category"] == "ischaemia"]
    assert set(small["n"]) == {1}
    assert not small["drawn"].any()
    assert small[small["index"] != categories.CURVE]["r"].isna().all()
    assert "ischaemia (n 1)" in categories.remark(frame, sources)
    assert "conduction" not in set(frame["category"])  # nobody has it
    shown = [label.get_text() for label in categories.draw(frame, sources).axes[0].get_yticklabels()]
    assert shown == ["all subjects\nn 24", "hypertrophy\nn 12", "rhythm\nn 12", "normal\nn 11"]


def test_without_enough_subjects_it_is_not_drawn_and_the_numbers_stay(sources: Sources) -> None:
    more = Sources(sources.root, FigureSettings(model="cof", least_subjects=COUNT + 1), sources.evaluation)
    frame = categories.data(more)
    assert frame["r"].notna().any()
    assert "has no population-mean motion" in categories.remark(frame, more)
    with pytest.raises(NotDrawn, match="only 24 subjects of 'cof'; a category with fewer than 25"):
        categories.draw(frame, more)


def test_an_undefined_value_takes_its_subject_out(tmp_path: Path) -> None:
    rows = [
        (*row[:4], math.nan if row[0] == NAMES[0] and row[3] == "ef_pct" else row[4]) for row in function(HEARD.get)
    ]
    frame = categories.data(make_run(tmp_path, {"cof": rows, "mean_motion": []}, MEMBERS))
    found = cell(frame, ALL, "EF", categories.MODEL)
    assert found["n"] == COUNT - 1
    assert found["r"] == pytest.approx(np.corrcoef(column(HEARD, NAMES[1:]), column(EF, NAMES[1:]))[0, 1])
    assert cell(frame, ALL, "SV", categories.MODEL)["n"] == COUNT


def test_a_heart_that_is_the_same_for_all_has_no_correlation(tmp_path: Path) -> None:
    sources = make_run(tmp_path, {"cof": function(lambda _: 60.0), "mean_motion": []}, MEMBERS)
    frame = categories.data(sources)
    found = cell(frame, ALL, "EF", categories.MODEL)
    assert math.isnan(found["r"])
    assert math.isnan(found["median"])
    assert found["undefined"] == 200
    categories.draw(frame, sources)


def test_every_index_has_a_panel(sources: Sources, frame: pd.DataFrame) -> None:
    figure = categories.draw(frame, sources)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [*(index.printed for index in INDICES), "LV curve, r of each subject"]
