import numpy as np
import pytest

from cof.tables.statistics import STATISTICS, mean, partial_correlation, pearson, r2, r2_centred


def test_r2_is_one_for_truth_zero_for_the_mean_and_negative_beyond():
    true = np.random.default_rng(0).normal(60, 6, 50)
    assert r2(np.column_stack([true, true])) == 1
    assert r2(np.column_stack([np.full(50, true.mean()), true])) == pytest.approx(0)
    assert r2(np.column_stack([np.full(50, true.mean() + 6), true])) < -0.5


def test_r2_of_half_the_variance_is_one_half():
    known, unknown = np.random.default_rng(0).normal(size=(2, 100_000))
    assert r2(np.column_stack([known, known + unknown])) == pytest.approx(0.5, abs=0.01)


def test_centred_r2_forgives_a_bias_and_nothing_else():
    known, unknown = np.random.default_rng(0).normal(size=(2, 100_000))
    biased = np.column_stack([known + 7, known + unknown])
    assert r2(biased) < -10
    assert r2_centred(biased) == pytest.approx(0.5, abs=0.01)
    assert r2_centred(np.column_stack([2 * known, known])) == pytest.approx(0, abs=1e-9)
    assert np.isnan(r2_centred(np.column_stack([known, np.ones_like(known)])))


def test_partial_correlation_is_what_covariates_leave():
    rng = np.random.default_rng(1)
    cause, own, noise = rng.normal(size=(3, 20_000))
    both = np.column_stack([3 * cause + own, -2 * cause + own + noise, cause])
    assert partial_correlation(both) == pytest.approx(1 / np.sqrt(2), abs=0.02)
    assert pearson(both[:, :2]) < 0
    only = np.column_stack([3 * cause + noise, -2 * cause + own, cause, np.ones(20_000)])
    assert partial_correlation(only) == pytest.approx(0, abs=0.02)


def test_partial_correlation_is_the_textbooks():
    """With one covariate it follows from the three correlations."""
    values = np.random.default_rng(2).normal(size=(30, 3)) @ np.array([[1, 0.5, 0.2], [0, 1, 0.7], [0, 0, 1]])
    r = np.corrcoef(values.T)
    expected = (r[0, 1] - r[0, 2] * r[1, 2]) / np.sqrt((1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2))
    assert partial_correlation(values) == pytest.approx(expected)


@pytest.mark.parametrize("name", STATISTICS)
def test_resamples_are_taken_one_by_one(name):
    values = np.random.default_rng(3).normal(size=(5, 40, 4))
    each = [float(STATISTICS[name](part)) for part in values]
    np.testing.assert_allclose(STATISTICS[name](values), each)


def test_what_is_not_defined_is_nan():
    constant = np.column_stack([np.ones(9), np.arange(9.0)])
    assert np.isnan(pearson(constant))
    assert np.isnan(r2(constant[:, ::-1]))
    assert np.isnan(partial_correlation(np.column_stack([np.arange(9.0), np.arange(9.0) ** 2, np.arange(9.0)])))
    assert mean(constant) == 1


@pytest.mark.parametrize("covariates", range(3))
def test_no_correlation_is_claimed_where_it_can_only_be_one_or_minus_one(covariates):
    """Two subjects lie on a line, and so does what a regression on k covariates leaves of k + 2 subjects."""
    values = np.random.default_rng(4).normal(size=(7, covariates + 3, covariates + 2))
    assert np.isnan(partial_correlation(values[:, :-1])).all()
    assert (np.abs(partial_correlation(values)) < 1 - 1e-9).all()
    assert np.isnan(pearson(values[:, :2, :2])).all()
    assert (np.abs(pearson(values[:, :3, :2])) < 1 - 1e-9).all()
