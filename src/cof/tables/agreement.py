"""Agreement of two measurements of the same subjects: errors, limits of agreement and correlations.

Bland and Altman, Lancet 327:307, 1986; Shrout and Fleiss, Psychological Bulletin 86:420, 1979.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from cof.tables.statistics import pearson

# Normal quantile of the 95 % limits of agreement.
_LIMITS = 1.96
_LEAST = 3  # subjects of a correlation


@dataclass(frozen=True)
class Agreement:
    """Agreement of generated with real values; NaN where a number is undefined.

    Attributes:
        n: number of subjects.
        mae: mean absolute error.
        rmse: root of the mean squared error.
        bias: mean of generated minus real.
        low, high: 95 % limits of agreement, the bias minus and plus 1.96 sample SD of the differences.
        pearson: correlation of the values; undefined if either is constant, and for fewer than three subjects, as a
            line goes through any two.
        spearman: correlation of their ranks, undefined in the same cases; ties share their mean rank.
        icc: intraclass correlation (2,1): absolute agreement of single values, two-way random effects.
    """

    n: int
    mae: float
    rmse: float
    bias: float
    low: float
    high: float
    pearson: float
    spearman: float
    icc: float

    @classmethod
    def of(cls, generated: np.ndarray, real: np.ndarray) -> "Agreement":
        """Compute the agreement of values [n], without subjects of which either is undefined."""
        known = np.isfinite(generated) & np.isfinite(real)
        pair = np.column_stack([generated[known], real[known]]).astype(float)
        count = len(pair)
        if not count:
            return cls(0, *[math.nan] * 8)
        error = pair[:, 0] - pair[:, 1]
        bias = float(error.mean())
        half = _LIMITS * float(error.std(ddof=1)) if count > 1 else math.nan
        return cls(
            count,
            float(np.abs(error).mean()),
            float(np.sqrt((error**2).mean())),
            bias,
            bias - half,
            bias + half,
            float(pearson(pair)) if count >= _LEAST else math.nan,
            float(pearson(rankdata(pair, axis=0))) if count >= _LEAST else math.nan,
            icc_2_1(pair),
        )


def icc_2_1(ratings: np.ndarray) -> float:
    """Return the intraclass correlation (2,1) of ratings [n, k] of n targets by k judges (Shrout and Fleiss, 1979).

    It is (BMS - EMS) / (BMS + (k - 1) EMS + k (JMS - EMS) / n), with the mean squares between targets, of the error and
    between judges. NaN with fewer than two targets, and if all ratings are equal.
    """
    targets, judges = ratings.shape
    if targets < 2:
        return math.nan
    mean = ratings.mean()
    by_target, by_judge = ratings.mean(1), ratings.mean(0)
    between = judges * float(((by_target - mean) ** 2).sum()) / (targets - 1)
    of_judges = targets * float(((by_judge - mean) ** 2).sum()) / (judges - 1)
    left = ratings - by_target[:, None] - by_judge + mean
    error = float((left**2).sum()) / ((targets - 1) * (judges - 1))
    below = between + (judges - 1) * error + judges * (of_judges - error) / targets
    return (between - error) / below if below > 0 else math.nan
