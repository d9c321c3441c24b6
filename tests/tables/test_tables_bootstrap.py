import numpy as np
import pytest
from scipy.stats import bootstrap, norm
from scipy.stats import t as student
from scipy.stats._resampling import BootstrapResult

from cof.tables.bootstrap import (
    GROUPS,
    Estimate,
    bca_interval,
    interval_of,
    jackknife_interval,
    jackknifed,
    normal_quantile,
    resampled,
)
from cof.tables.statistics import STATISTICS, mean, pearson, r2


def cohort(seed: int, count: int, columns: int = 4) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.gamma(2, size=(count, columns)) + rng.normal(size=(count, 1))


@pytest.mark.parametrize("count", [8, 15, 60])
@pytest.mark.parametrize("name", STATISTICS)
def test_the_interval_is_scipys_bca_on_the_same_resamples(name: str, count: int) -> None:
    values, statistic = cohort(count, count), STATISTICS[name]
    ours = Estimate.of(values, 999, 0, statistic)
    level = 1 - 2 * norm.sf(normal_quantile(count))

    def of(index: np.ndarray, axis: int) -> np.ndarray:
        return statistic(values[index])

    defined = ours.draws[np.isfinite(ours.draws)]  # a partial correlation of few different subjects is not
    drawn = BootstrapResult(confidence_interval=None, bootstrap_distribution=defined, standard_error=0.0)
    index = (np.arange(count),)
    theirs = bootstrap(index, of, n_resamples=0, bootstrap_result=drawn, confidence_level=level, method="BCa")
    assert ours.interval() == pytest.approx(tuple(theirs.confidence_interval), abs=1e-9)


def test_a_difference_is_that_of_the_paired_subjects() -> None:
    a, b = cohort(1, 12, 1), cohort(2, 12, 1)
    difference = Estimate.of(a, 500, 3) - Estimate.of(b, 500, 3)
    of_differences = Estimate.of(a - b, 500, 3)
    assert difference.value == pytest.approx(of_differences.value)
    assert difference.interval() == pytest.approx(of_differences.interval())
    assert np.isnan((Estimate.of(a, 500, 3) - Estimate.none()).interval()).all()


def test_the_quantile_is_students_for_few_and_the_normal_one_for_many() -> None:
    assert normal_quantile(8) == pytest.approx(np.sqrt(8 / 7) * 2.364624, abs=1e-5)
    assert normal_quantile(10**6) == pytest.approx(1.959964, abs=1e-4)


def test_the_jackknife_leaves_out_every_subject_once_or_every_group() -> None:
    values = cohort(0, 9, 2)
    expected = [float(pearson(np.delete(values, index, axis=0))) for index in range(9)]
    np.testing.assert_allclose(jackknifed(values, pearson), expected)
    many = cohort(0, 3 * GROUPS, 1)
    found = jackknifed(many)
    assert len(found) == GROUPS
    np.testing.assert_allclose(found[5], np.delete(many[:, 0], [5, 5 + GROUPS, 5 + 2 * GROUPS]).mean())
    # The standard error of a mean is that of the textbook, exactly with single subjects and nearly with groups.
    for sample, tolerance in ((values[:, :1], 1e-9), (many, 0.15)):
        low, high = jackknife_interval(0.0, jackknifed(sample))
        groups = len(jackknifed(sample))
        from_groups = (high - low) / 2 / student.ppf(0.975, groups - 1)
        assert from_groups == pytest.approx(sample.std(ddof=1) / np.sqrt(len(sample)), rel=tolerance)


def test_the_interval_of_a_jackknife_contains_a_biased_estimate() -> None:
    """The largest value of a sample is in no middle of its resamples."""
    left_out = np.array([1.0, 1.0, 1.0, 0.5])
    low, high = jackknife_interval(1.0, left_out)
    assert low < 1.0 < high


@pytest.mark.filterwarnings("error")
def test_degenerate_samples_are_well_defined() -> None:
    equal = np.full((9, 1), 0.1)
    assert Estimate.of(equal, 200, 0).interval() == pytest.approx((0.1, 0.1))
    assert np.isnan(Estimate.of(equal[:1], 200, 0).interval()).all()
    two = Estimate.of(np.array([[1.0], [2.0]]), 200, 0)
    assert two.interval() == pytest.approx((1.0, 2.0))
    assert Estimate.of(np.empty((0, 1)), 200, 0).n == 0
    # A constant has no correlation, and neither have the resamples of a sample that is constant but for one subject.
    constant = np.column_stack([np.ones(9), np.arange(9.0)])
    assert np.isnan(Estimate.of(constant, 200, 0, pearson).interval()).all()
    constant[0, 0] = 2
    low, high = Estimate.of(constant, 200, 0, pearson).interval()
    assert -1 <= low < high <= 1
    perfect = np.column_stack([np.arange(9.0), np.arange(9.0)])
    assert Estimate.of(perfect, 200, 0, r2).interval() == pytest.approx((1, 1))
    unbounded = Estimate.of(np.full((9, 1), np.inf), 200, 0)
    assert unbounded.value == np.inf
    assert np.isnan(unbounded.interval()).all()
    unknown = Estimate.of(np.array([[1.0], [np.nan], [2.0]]), 200, 0)
    assert np.isnan(unknown.interval()).all()


def test_ends_stay_within_the_draws_however_skewed_they_are() -> None:
    draws = np.random.default_rng(0).lognormal(0, 2, 500)
    for value in (-1.0, float(np.median(draws)), 1e9):
        low, high = bca_interval(value, draws, draws[:20], 6.0)
        assert draws.min() <= low <= high <= draws.max()


@pytest.mark.parametrize(("draw", "truth"), [("normal", 0.0), ("beta", 0.85)])
def test_eight_subjects_are_covered_as_often_as_claimed(draw: str, truth: float) -> None:
    rng, held, narrow = np.random.default_rng(0), 0, 0
    for _ in range(400):
        values = (rng.normal(size=8) if draw == "normal" else rng.beta(17, 3, size=8))[:, None]
        low, high = Estimate.of(values, 400, 0).interval()
        held += low <= truth <= high
        low, high = interval_of(resampled(values, 400, 0, mean))
        narrow += low <= truth <= high
    assert 0.91 < held / 400 < 0.98
    assert narrow < held
