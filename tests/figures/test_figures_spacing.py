"""Resolution: bins and trends against closed forms, scipy and NumPy."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from cof.figures import spacing
from cof.figures.sources import NotDrawn
from cof.tables.bootstrap import bca_interval, normal_quantile
from constructed import make_run, name

AT = {name(k): 1.2 + 0.1 * (k - 1) for k in range(1, 12)}  # 1.2 to 2.2 mm


def rows(values, frames=(0.0,), at=AT):
    """Every measure of every structure, as `values(subject)` has it, in frames that differ by `frames`."""
    for subject, spacing_mm in at.items():
        yield subject, "", None, spacing.SPACING, spacing_mm
        for measure in spacing.MEASURES:
            for structure in ("LV", "myocardium", "RV"):
                for more in frames:
                    yield subject, structure, None, measure, values(subject) + more


def test_a_line_is_found_exactly_and_frames_are_averaged(tmp_path: Path) -> None:
    sources = make_run(tmp_path, {"cof": rows(lambda one: 0.5 + 0.1 * AT[one], frames=(-0.2, 0.2))})
    frame = spacing.data(sources)
    trends = frame[frame["kind"] == "trend"]
    assert len(trends) == 9
    np.testing.assert_allclose(trends["slope"], 0.1)
    np.testing.assert_allclose(trends[["slope_low", "slope_high"]], 0.1)
    np.testing.assert_allclose(trends["intercept"], 0.5)
    cases = frame[frame["kind"] == "case"]
    np.testing.assert_allclose(cases["value"], 0.5 + 0.1 * cases["spacing_mm"])


def test_bins_are_of_equal_width_and_hold_mean_sd_and_number(tmp_path: Path) -> None:
    sources = make_run(tmp_path, {"cof": rows(lambda one: int(one[4:8]))})
    frame = spacing.data(sources)
    bins = frame[(frame["kind"] == "bin") & (frame["measure"] == "dice") & (frame["structure"] == "RV")]
    np.testing.assert_allclose(bins["low_mm"], [1.2, 1.4, 1.6, 1.8, 2.0])
    np.testing.assert_allclose(bins["high_mm"], [1.4, 1.6, 1.8, 2.0, 2.2])
    assert bins["n"].sum() == 11  # nobody is lost at an edge, and the largest spacing is in the last bin
    last = bins.iloc[-1]
    inside = [k for k in range(1, 12) if AT[name(k)] >= last["low_mm"]]
    assert last["n"] == len(inside)
    assert last["value"] == pytest.approx(np.mean(inside))
    assert last["sd"] == pytest.approx(np.std(inside, ddof=1))


def test_slopes_of_resamples_are_those_of_scipy() -> None:
    values = np.random.default_rng(0).normal(size=(4, 30, 2))
    each = [stats.linregress(part[:, 0], part[:, 1]).slope for part in values]
    np.testing.assert_allclose(spacing.slope(values), each)
    assert math.isnan(float(spacing.slope(np.column_stack([np.ones(5), np.arange(5.0)]))))


def test_the_interval_is_that_of_the_tables(tmp_path: Path) -> None:
    noise = dict(zip(AT, np.random.default_rng(1).normal(0, 0.05, len(AT))))
    sources = make_run(tmp_path, {"cof": rows(lambda one: 0.9 + noise[one])})
    trend = spacing.data(sources).query("kind == 'trend'").iloc[0]
    x, y = np.array(list(AT.values())), 0.9 + np.array(list(noise.values()))
    drawn = np.random.default_rng(0).integers(len(x), size=(200, len(x)))
    slopes = np.array([np.polyfit(x[of], y[of], 1)[0] for of in drawn])
    without = np.array([np.polyfit(np.delete(x, one), np.delete(y, one), 1)[0] for one in range(len(x))])
    found = np.polyfit(x, y, 1)[0]
    assert trend["slope"] == pytest.approx(found)
    expected = bca_interval(found, slopes, without, normal_quantile(len(x)))
    np.testing.assert_allclose(trend[["slope_low", "slope_high"]].astype(float), expected)


def test_undefined_frames_are_left_out_and_a_case_without_a_value_is_none(tmp_path: Path) -> None:
    given = [*rows(lambda one: 0.8), (name(1), "LV", None, "dice", math.nan)]
    given = [row for row in given if row[:2] != (name(2), "RV") or row[3] != "hd95_mm"]
    given.append((name(2), "RV", None, "hd95_mm", math.nan))
    sources = make_run(tmp_path, {"cof": given})
    frame = spacing.data(sources)
    cases = frame[frame["kind"] == "case"].groupby(["measure", "structure"]).size()
    assert cases["dice", "LV"] == 11
    assert cases["hd95_mm", "RV"] == 10
    spacing.draw(frame, sources)


def test_one_spacing_is_one_bin_without_a_slope(tmp_path: Path) -> None:
    same = dict.fromkeys(AT, 1.8)
    sources = make_run(tmp_path, {"cof": rows(lambda one: int(one[4:8]) / 100, at=same)})
    frame = spacing.data(sources)
    assert (frame["kind"] == "bin").sum() == 9
    assert frame[frame["kind"] == "trend"]["slope"].isna().all()
    spacing.draw(frame, sources)
    assert set(spacing.numbers(frame)["slope per mm"]) == {"none: equal spacings or too few"}


def test_spacings_that_differ_by_rounding_are_equal_and_two_subjects_make_no_trend(tmp_path: Path) -> None:
    nearly = {one: 1.8 + 1e-4 * k for k, one in enumerate(AT)}
    frame = spacing.data(make_run(tmp_path / "a", {"cof": rows(lambda one: int(one[4:8]) / 100, at=nearly)}))
    assert (frame["kind"] == "bin").sum() == 9
    assert frame[frame["kind"] == "bin"]["n"].eq(11).all()
    assert frame[frame["kind"] == "trend"]["slope"].isna().all()
    two = dict(list(AT.items())[:2])
    frame = spacing.data(make_run(tmp_path / "b", {"cof": rows(lambda _: 0.9, at=two)}))
    assert frame[frame["kind"] == "trend"]["slope"].isna().all()


def test_too_little_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotDrawn, match="no rows spacing_in_plane_mm"):
        spacing.data(make_run(tmp_path / "a", {"cof": [(name(1), "LV", None, "dice", 0.9)]}))
    one = dict(list(AT.items())[:1])
    with pytest.raises(NotDrawn, match="fewer than two subjects"):
        spacing.data(make_run(tmp_path / "b", {"cof": rows(lambda _: 0.9, at=one)}))
