import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import permutation_test

from cof.tables.comparison import exchange_p, holm
from cof.tables.statistics import STATISTICS, mean, pearson


def pair(seed: int, count: int, columns: int = 1, shift: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    known = rng.normal(size=(count, columns))
    return known + shift + 0.3 * rng.normal(size=known.shape), known


@pytest.mark.parametrize("name", STATISTICS)
def test_all_exchanges_give_scipys_exact_p(name: str) -> None:
    ours, theirs = pair(3, 8, columns=4)
    statistic = STATISTICS[name]
    both = np.concatenate([ours, theirs])

    def difference(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
        return np.abs(statistic(both[a]) - statistic(both[b]))

    expected = permutation_test(
        (np.arange(8), np.arange(8, 16)), difference, permutation_type="samples", alternative="greater", n_resamples=256
    )
    assert exchange_p(ours, theirs, 256, 0, statistic) == pytest.approx(expected.pvalue)


def test_it_is_the_sign_flip_test_of_a_mean() -> None:
    """Five differences of one sign: only two of the 32 flips are as far from zero."""
    ours = np.array([[3.0], [1.0], [2.0], [5.0], [4.0]])
    assert exchange_p(ours, np.zeros((5, 1)), 1000, 0, mean) == 2 / 32
    assert exchange_p(ours, ours, 1000, 0, mean) == 1
    # An equal difference of .1, which is not exact in binary, is no smaller after an exchange that changes nothing.
    assert exchange_p(ours + 0.1, ours, 1000, 0, mean) == 2 / 32


def test_drawn_exchanges_approach_the_exact_p_and_are_never_zero() -> None:
    ours, theirs = pair(0, 12, shift=0.15)
    exact = exchange_p(ours, theirs, 2**12, 0, mean)
    assert 0.02 < exact < 0.5
    assert exchange_p(ours, theirs, 4000, 1, mean) == pytest.approx(exact, abs=0.03)
    ours, theirs = pair(0, 400, shift=1.0)
    assert exchange_p(ours, theirs, 999, 1, mean) == 1 / 1000


def test_equal_models_have_a_uniform_p() -> None:
    p = [exchange_p(*pair(seed, 9, shift=0.0), 512, 0, mean) for seed in range(400)]
    for level in (0.05, 0.2, 0.5):
        assert np.mean(np.array(p) <= level) == pytest.approx(level, abs=3 * np.sqrt(level * (1 - level) / 400))


def test_an_undefined_difference_has_no_test() -> None:
    constant = np.column_stack([np.ones(6), np.arange(6.0)])
    assert np.isnan(exchange_p(constant, constant, 100, 0, pearson))


def test_holms_own_procedure() -> None:
    p = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005, "none": float("nan")}
    corrected = holm(p)
    assert corrected.pop("none") != corrected.get("none")
    assert corrected == pytest.approx({"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06})


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_a_corrected_p_is_no_smaller_and_in_the_same_order(values: list[float]) -> None:
    p = {str(index): value for index, value in enumerate(values)}
    corrected = holm(p)
    assert min(corrected.values()) == min(1, len(values) * min(values))
    for name, value in p.items():
        assert value <= corrected[name] <= 1
        assert all(corrected[other] >= corrected[name] for other, larger in p.items() if larger > value)
