"""Agreement against closed forms, scipy, and the published example of the intraclass correlation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cof.tables.agreement import Agreement, icc_2_1

# Six targets rated by four judges: Shrout and Fleiss, Psychological Bulletin 86:420, 1979, Table 2.
RATINGS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)


def test_intraclass_correlation_is_that_of_the_published_example() -> None:
    assert round(icc_2_1(RATINGS), 2) == 0.29


def test_intraclass_correlation_is_one_for_equal_values_and_falls_with_a_bias() -> None:
    real = np.arange(10.0)
    assert icc_2_1(np.column_stack([real, real])) == pytest.approx(1)
    # A constant bias b: no error, BMS = 2 var, JMS = n b^2 / 2, so ICC = var / (var + b^2 / 2).
    variance = real.var(ddof=1)
    assert icc_2_1(np.column_stack([real + 3, real])) == pytest.approx(variance / (variance + 9 / 2))
    assert Agreement.of(real + 3, real).pearson == pytest.approx(1)


def test_numbers_of_a_hand_made_example() -> None:
    found = Agreement.of(np.array([1.0, 2, 3, 6]), np.array([2.0, 2, 1, 3]))  # errors -1, 0, 2, 3
    assert (found.n, found.mae, found.bias) == (4, 1.5, 1.0)
    assert found.rmse == pytest.approx(math.sqrt(14 / 4))
    spread = 1.96 * math.sqrt((4 + 1 + 1 + 4) / 3)
    assert (found.low, found.high) == pytest.approx((1 - spread, 1 + spread))


@given(st.integers(0, 10**6), st.integers(3, 40))
def test_correlations_are_those_of_scipy(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    real = rng.integers(0, 12, count) + rng.normal(0, 1e-3, count).round(3)  # with ties
    generated = real + rng.integers(-3, 4, count)
    if np.ptp(real) and np.ptp(generated):
        found = Agreement.of(generated, real)
        assert found.pearson == pytest.approx(stats.pearsonr(generated, real).statistic)
        assert found.spearman == pytest.approx(stats.spearmanr(generated, real).statistic)
        assert found.rmse**2 == pytest.approx(found.bias**2 + np.var(generated - real))
        assert found.mae <= found.rmse + 1e-12


def test_what_is_undefined_is_nan_and_left_out() -> None:
    nan = math.nan
    found = Agreement.of(np.array([1.0, nan, 3, 4]), np.array([1.0, 2, nan, 6]))
    assert (found.n, found.mae) == (2, 1.0)
    assert math.isnan(found.pearson)  # a line goes through any two points
    assert math.isnan(found.spearman)
    constant = Agreement.of(np.ones(5), np.arange(5.0))
    assert math.isnan(constant.pearson)
    assert math.isnan(constant.spearman)
    one = Agreement.of(np.array([2.0]), np.array([1.0]))
    assert (one.n, one.bias) == (1, 1.0)
    assert math.isnan(one.low)
    assert math.isnan(one.icc)
    none = Agreement.of(np.array([nan]), np.array([1.0]))
    assert none.n == 0
    assert math.isnan(none.mae)
    assert math.isnan(icc_2_1(np.ones((4, 2))))
