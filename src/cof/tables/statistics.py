"""Statistics over the subjects of a cohort.

Each takes values [..., n, k] of n subjects and k columns; the leading axes may hold resamples. It returns [...]. NaN
stands for an undefined value, such as a correlation with a constant.
"""

from collections.abc import Callable

import numpy as np

from cof.config.metrics import StatisticName

Statistic = Callable[[np.ndarray], np.ndarray]


def mean(values: np.ndarray) -> np.ndarray:
    """Return the mean of the only column."""
    return values[..., 0].mean(axis=-1)


def r2(values: np.ndarray) -> np.ndarray:
    """Return the coefficient of determination of columns p, y (prediction, truth).

    It is 1 - sum (y - p)^2 / sum (y - mean y)^2.
    """
    predicted, true = values[..., 0], values[..., 1]
    spread = ((true - true.mean(-1, keepdims=True)) ** 2).sum(-1)
    return _ratio(spread - ((true - predicted) ** 2).sum(-1), spread)


def r2_centred(values: np.ndarray) -> np.ndarray:
    """Return the coefficient of determination of columns prediction, truth, after subtraction of each column's mean.

    It ignores a bias that all subjects share.
    """
    return r2(values - values.mean(-2, keepdims=True))


def pearson(values: np.ndarray) -> np.ndarray:
    """Return the Pearson correlation of two columns; NaN for fewer than three subjects, whose r can only be 1 or -1."""
    centred = values - values.mean(-2, keepdims=True)
    a, b = centred[..., 0], centred[..., 1]
    r = np.clip(_ratio((a * b).sum(-1), np.sqrt((a**2).sum(-1) * (b**2).sum(-1))), -1, 1)
    return r if values.shape[-2] > 2 else np.full_like(r, np.nan)


def partial_correlation(values: np.ndarray) -> np.ndarray:
    """Return the correlation of the first two columns after a linear regression of both on the other columns.

    NaN for fewer than three subjects more than covariates: what a regression then leaves correlates with 1 or -1.
    """
    covariates = values[..., 2:] - values[..., 2:].mean(-2, keepdims=True)
    pair = values[..., :2] - values[..., :2].mean(-2, keepdims=True)
    # The pseudo-inverse ignores a covariate that is constant.
    explained = covariates @ (np.linalg.pinv(covariates, rcond=1e-9) @ pair)
    left = pair - explained
    # If the covariates explain a column completely, its residual is rounding, and the correlation is undefined.
    small = (left**2).sum(-2) < 1e-18 * (pair**2).sum(-2)
    few = values.shape[-2] < 3 + covariates.shape[-1]
    return np.where(small.any(-1) | few, np.nan, pearson(left))


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    below = np.asarray(below, float)
    return np.divide(above, below, out=np.full_like(below, np.nan), where=below > 1e-24)


STATISTICS: dict[StatisticName, Statistic] = {
    "mean": mean,
    "r2": r2,
    "r2_centred": r2_centred,
    "r": pearson,
    "partial_r": partial_correlation,
}
