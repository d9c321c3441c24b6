"""Percentile bootstrap intervals over subjects (Efron and Tibshirani, An Introduction to the Bootstrap, 1993)."""

import numpy as np

from cof.tables.statistics import Statistic, mean

LEVEL = 0.95
# Number of values resampled at once; it limits the memory that a large cohort needs.
_AT_ONCE = 4_000_000


def resampled(values: np.ndarray, replicates: int, seed: int, statistic: Statistic = mean) -> np.ndarray:
    """Return a statistic of `values` [n, k] in `replicates` resamples of the n subjects: [replicates].

    The resamples depend only on n and the seed. Samples of the same subjects in the same order are therefore resampled
    in the same way, and the difference of two results is paired. With fewer than two subjects the result is empty.
    """
    count, columns = values.shape
    if count < 2:
        return np.empty(0)
    drawn = np.random.default_rng(seed).integers(count, size=(replicates, count))
    parts = max(1, -(-replicates * count * columns // _AT_ONCE))
    return np.concatenate([statistic(values[part]) for part in np.array_split(drawn, parts)])


def interval_of(draws: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of resampled statistics, without undefined ones; NaN if none is defined."""
    defined = draws[np.isfinite(draws)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
