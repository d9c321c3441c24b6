"""Percentile bootstrap intervals over subjects (Efron and Tibshirani, An Introduction to the Bootstrap, 1993)."""

import numpy as np

LEVEL = 0.95


def bootstrap_interval(values: np.ndarray, replicates: int, seed: int) -> tuple[float, float]:
    """The 95 % interval of the mean of `values` [n], from `replicates` resamples of its n subjects.

    The resamples depend on n and the seed alone, so that paired samples in the same order are resampled alike.

    Returns:
        Lower and upper end; NaN for fewer than two subjects, of which no interval can be had.
    """
    count = len(values)
    if count < 2:
        return float("nan"), float("nan")
    drawn = np.random.default_rng(seed).integers(count, size=(replicates, count))
    low, high = np.quantile(values[drawn].mean(axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
