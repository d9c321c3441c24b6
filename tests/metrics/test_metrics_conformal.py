"""Split-conformal intervals: the finite-sample formula, its promise on simulated subjects, and its honesty."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from cof.metrics.conformal import FLOOR, Intervals, Scale, conformal_quantile, least_subjects, scores


@pytest.mark.parametrize(
    ("count", "alpha", "rank"),
    [
        (9, 0.1, 9),
        (10, 0.1, 10),
        (19, 0.1, 18),
        (20, 0.1, 19),
        (19, 0.05, 19),
        (99, 0.05, 95),
        (4, 0.5, 3),
        (3, 0.5, 2),
    ],
)
def test_the_quantile_is_the_score_of_the_exact_rank(count, alpha, rank):
    shuffled = np.random.default_rng(0).permutation(count) + 1.0
    assert conformal_quantile(shuffled, alpha) == rank


@given(st.integers(0, 300), st.integers(1, 99))
def test_the_rank_is_that_of_whole_numbers(count, percent):
    """ceil((n + 1)(100 - p) / 100) in integers, without rounding."""
    rank = -(-(count + 1) * (100 - percent) // 100)
    found = conformal_quantile(np.arange(1.0, count + 1), percent / 100)
    assert found == (rank if rank <= count else math.inf)
    assert math.isfinite(found) == (count >= least_subjects(percent / 100))


@pytest.mark.parametrize(("alpha", "least"), [(0.1, 9), (0.05, 19), (0.2, 4), (0.01, 99)])
def test_too_few_subjects_have_no_bound(alpha, least):
    assert least_subjects(alpha) == least
    assert conformal_quantile(np.ones(least - 1), alpha) == math.inf
    assert conformal_quantile(np.ones(least), alpha) == 1
    assert conformal_quantile(np.empty(0), alpha) == math.inf


def test_a_score_that_is_not_defined_counts_as_infinite():
    assert conformal_quantile(np.r_[np.ones(9), math.nan], 0.1) == math.inf
    assert conformal_quantile(np.r_[np.ones(19), math.nan], 0.1) == 1


@pytest.mark.parametrize(("count", "alpha"), [(20, 0.1), (39, 0.2), (12, 0.1)])
def test_coverage_of_exchangeable_subjects_is_within_binomial_bounds(count, alpha):
    """Heteroscedastic, heavy-tailed errors and a scale that is wrong: the promise needs neither model nor scale."""
    rng = np.random.default_rng(1)
    trials = 4000
    spread = rng.uniform(0.5, 4, (trials, count + 1))
    errors = np.abs(rng.standard_t(3, spread.shape)) * spread
    scaled = errors / (1 + spread**2)
    covered = sum(row[-1] <= conformal_quantile(row[:-1], alpha) for row in scaled)
    exact = math.ceil((count + 1) * (1 - alpha) - 1e-9) / (count + 1)  # of scores without ties
    assert 1 - alpha <= exact <= 1 - alpha + 1 / (count + 1)
    low, high = binom.ppf([0.0005, 0.9995], trials, exact)
    assert low <= covered <= high


def test_a_narrow_quantile_would_fall_outside_those_bounds():
    """The plain quantile, which forgets the new subject, covers less than it says: the test above can fail."""
    rng = np.random.default_rng(1)
    drawn = rng.exponential(size=(4000, 13))
    covered = sum(row[-1] <= np.sort(row[:-1])[math.ceil(12 * 0.9) - 2] for row in drawn)
    assert covered < binom.ppf(0.0005, 4000, 12 / 13)


def test_a_band_holds_the_whole_curve_or_not_at_all():
    ours = np.array([100.0, 60.0, 50.0, 80.0])
    scale = Scale(1.0, 1.0, np.array([1.0, 2.0, 2.0, 1.0]))
    theirs = ours + np.array([0.5, 4.0, -1.0, 0.5])
    found = scores(ours, theirs, scale)
    assert found["curve"] == pytest.approx(2.0)
    assert found["esv"] == pytest.approx(1.0)
    assert found["ef"] == pytest.approx(abs(50 - 100 * (1 - 49 / 100.5)))
    for quantile, holds in ((1.99, False), (2.01, True)):
        half = Intervals(0.1, 20, dict.fromkeys(("ef", "esv", "curve"), quantile)).half_widths(scale)["curve"]
        assert (np.abs(ours - theirs) <= half).all() == holds


def test_the_scale_is_the_spread_above_a_floor_and_constant_without_one():
    scale = Scale.of({"ef_sd_pct": 2.0, "esv_sd_ml": 3.0, "lv_curve_sd_ml": [0.0, 4.0]}, 4)
    assert (scale.ef, scale.esv) == (FLOOR + 2, FLOOR + 3)
    np.testing.assert_allclose(scale.curve, FLOOR + np.array([0, 2, 4, 2]))
    np.testing.assert_allclose(Scale.of({"closure_mm": 0.1}, 3).curve, FLOOR)


def test_the_interval_of_one_heart_is_cut_off_at_what_is_possible_and_no_bound_is_said_plainly(tmp_path):
    ours = np.array([100.0, 5.0, 50.0])
    scale = Scale(10.0, 10.0, np.full(3, 10.0))
    record = {"miscoverage": 0.1, "subjects": 20, "quantiles": {"ef": 1.0, "esv": 1.0, "curve": 2.0}}
    (tmp_path / "i.json").write_text(json.dumps(record))
    found = Intervals.read(tmp_path / "i.json").around(ours, scale)
    assert found["ef_pct"] == {"value": 95.0, "low": 85.0, "high": 100.0}
    assert found["esv_ml"] == {"value": 5.0, "low": 0.0, "high": 15.0}
    assert found["curve_ml"]["low"] == [80.0, 0.0, 30.0]
    assert found["coverage"] == 0.9
    assert "does not hold for one given person" in found["note"]

    (tmp_path / "i.json").write_text(json.dumps(record | {"subjects": 2, "quantiles": dict.fromkeys(scale.__dict__)}))
    found = Intervals.read(tmp_path / "i.json").around(ours, scale)
    assert found["ef_pct"] == {"value": 95.0, "low": None, "high": None}
    assert found["curve_ml"]["high"] == [None] * 3
    assert "2 validation subjects are too few; at least 9 are needed" in found["note"]
    json.dumps(found, allow_nan=False)
