"""Statistics over the subjects of a cohort.

Each takes values [..., n, k] of n subjects and k columns, of which the leading axes may hold resamples, and returns
[...]. NaN stands for what is not defined, such as a correlation with a constant.
"""

from collections.abc import Callable

import numpy as np

from cof.config.metrics import StatisticName

Statistic = Callable[[np.ndarray], np.ndarray]


def mean(values: np.ndarray) -> np.ndarray:
    """The mean of the only column."""
    return values[..., 0].mean(axis=-1)


def r2(values: np.ndarray) -> np.ndarray:
    """Coefficient of determination of columns prediction, truth: 1 - sum (y - p)^2 / sum (y - mean y)^2."""
    predicted, true = values[..., 0], values[..., 1]
    spread = ((true - true.mean(-1, keepdims=True)) ** 2).sum(-1)
    return _ratio(spread - ((true - predicted) ** 2).sum(-1), spread)


def r2_centred(values: np.ndarray) -> np.ndarray:
    """Coefficient of determination of columns prediction, truth, each less its mean: blind to a bias of everybody's."""
    return r2(values - values.mean(-2, keepdims=True))


def pearson(values: np.ndarray) -> np.ndarray:
    """Pearson correlation of two columns."""
    centred = values - values.mean(-2, keepdims=True)
    a, b = centred[..., 0], centred[..., 1]
    return _ratio((a * b).sum(-1), np.sqrt((a**2).sum(-1) * (b**2).sum(-1)))


def partial_correlation(values: np.ndarray) -> np.ndarray:
    """Correlation of the first two columns after a linear regression of both on the others."""
    covariates = values[..., 2:] - values[..., 2:].mean(-2, keepdims=True)
    pair = values[..., :2] - values[..., :2].mean(-2, keepdims=True)
    # A covariate that never varies explains nothing, and the pseudo-inverse passes it over.
    explained = covariates @ (np.linalg.pinv(covariates, rcond=1e-9) @ pair)
    left = pair - explained
    # What regression leaves of a pair that the covariates explain wholly is rounding.
    small = (left**2).sum(-2) < 1e-18 * (pair**2).sum(-2)
    return np.where(small.any(-1), np.nan, pearson(left))


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
