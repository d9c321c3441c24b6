"""Intervals over subjects from the bootstrap and the jackknife.

Efron and Tibshirani, An Introduction to the Bootstrap, 1993; DiCiccio and Efron, Statistical Science 11:189, 1996.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import t as student

from cof.tables.statistics import Statistic, mean

LEVEL = 0.95
# The jackknife leaves out one subject at a time, or one of this many groups of subjects in a larger cohort.
GROUPS = 200
# Number of values resampled at once; it limits the memory that a large cohort needs.
AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Estimate:
    """A statistic of a cohort, with all that its interval needs. The difference of two estimates is paired.

    Attributes:
        n: number of subjects; 0 without a value.
        value: the statistic; NaN if it is undefined.
        draws: the statistic in resamples of the subjects, [replicates]; empty for a statistic that resampling biases.
        left_out: the statistic without each of g groups of subjects, [g]; empty if there is no interval.
    """

    n: int
    value: float
    draws: np.ndarray
    left_out: np.ndarray

    @classmethod
    def none(cls) -> "Estimate":
        """Return the estimate of a quantity that nobody has."""
        return cls(0, math.nan, np.empty(0), np.empty(0))

    @classmethod
    def of(cls, values: np.ndarray, replicates: int, seed: int, statistic: Statistic = mean) -> "Estimate":
        """Estimate a statistic of `values` [n, k]."""
        if not len(values):
            return cls.none()
        draws = resampled(values, replicates, seed, statistic)
        return cls(len(values), float(statistic(values)), draws, jackknifed(values, statistic))

    def __truediv__(self, scale: float) -> "Estimate":
        return Estimate(self.n, self.value / scale, self.draws / scale, self.left_out / scale)

    def __sub__(self, other: "Estimate") -> "Estimate":
        if not (self.n == other.n and math.isfinite(self.value) and math.isfinite(other.value)):
            return Estimate.none()
        return Estimate(self.n, self.value - other.value, self.draws - other.draws, self.left_out - other.left_out)

    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval: from the resamples if there are any, else from the jackknife; NaN without both."""
        if len(self.draws):
            return bca_interval(self.value, self.draws, self.left_out, normal_quantile(self.n))
        return jackknife_interval(self.value, self.left_out)


def resampled(values: np.ndarray, replicates: int, seed: int, statistic: Statistic = mean) -> np.ndarray:
    """Return a statistic of `values` [n, k] in `replicates` resamples of the n subjects: [replicates].

    The resamples depend only on n and the seed. Samples of the same subjects in the same order are therefore resampled
    in the same way, and the difference of two results is paired. With fewer than two subjects the result is empty.
    """
    count, columns = values.shape
    if count < 2:
        return np.empty(0)
    drawn = np.random.default_rng(seed).integers(count, size=(replicates, count))
    parts = max(1, -(-replicates * count * columns // AT_ONCE))
    return np.concatenate([statistic(values[part]) for part in np.array_split(drawn, parts)])


def jackknifed(values: np.ndarray, statistic: Statistic = mean) -> np.ndarray:
    """Return a statistic of `values` [n, k] without each subject, or without each of `GROUPS` groups: [g].

    With fewer than three subjects the result is empty.
    """
    count = len(values)
    if count < 3:
        return np.empty(0)
    group = np.arange(count) % GROUPS
    if count <= GROUPS:
        kept = np.flatnonzero(~np.eye(count, dtype=bool)).reshape(count, count - 1) % count
        return statistic(values[kept])
    return np.array([float(statistic(values[group != one])) for one in range(GROUPS)])


def normal_quantile(subjects: int) -> float:
    """Return the normal quantile that stands for 97.5 % in a bootstrap interval over so many subjects.

    The bootstrap resamples from a sample whose variance is too small by (n - 1) / n, and ignores that this variance is
    estimated; its intervals of few subjects are therefore too narrow. sqrt(n / (n - 1)) t, with the quantile t of
    Student's distribution with n - 1 degrees of freedom, corrects for both (Hesterberg, The American Statistician
    69:371, 2015). It tends to 1.96.
    """
    return math.sqrt(subjects / (subjects - 1)) * float(student.ppf((1 + LEVEL) / 2, subjects - 1))


def bca_interval(value: float, draws: np.ndarray, left_out: np.ndarray, quantile: float) -> tuple[float, float]:
    """Return the bias-corrected and accelerated bootstrap interval (Efron, JASA 82:171, 1987).

    Undefined draws are left out. If all draws are equal, the interval has no width.

    Args:
        value: the statistic.
        draws: the statistic in resamples, [replicates].
        left_out: the statistic in a jackknife, [g]; the acceleration is 0 without it.
        quantile: normal quantile of the upper end; `normal_quantile` widens the interval of few subjects.

    Returns:
        The ends of the interval; NaN if value or draws are undefined.
    """
    defined = draws[np.isfinite(draws)]
    if not len(defined) or not math.isfinite(value):
        return math.nan, math.nan
    if np.ptp(defined) <= 1e-12 * np.abs(defined).max():
        return float(defined[0]), float(defined[0])
    count = len(defined)
    below = ((defined < value).sum() + (defined <= value).sum()) / (2 * count)
    bias = float(ndtri(np.clip(below, 0.5 / count, 1 - 0.5 / count)))
    acceleration = _acceleration(left_out[np.isfinite(left_out)])
    levels = []
    for end in (-quantile, quantile):
        moved = bias + end
        room = 1 - acceleration * moved
        levels.append(float(ndtr(bias + moved / room)) if room > 0 else float(end > 0))
    low, high = np.quantile(defined, levels)
    return float(low), float(high)


def _acceleration(left_out: np.ndarray) -> float:
    """Return the acceleration from a jackknife [g]: a sixth of the skewness of the subjects' influence."""
    if not len(left_out):
        return 0.0
    influence = left_out.mean() - left_out
    spread = float((influence**2).sum())
    return float((influence**3).sum()) / (6 * spread**1.5) if spread > 0 else 0.0


def jackknife_interval(value: float, left_out: np.ndarray) -> tuple[float, float]:
    """Return `value` plus and minus Student's quantile times the standard error of a jackknife [g].

    It contains the value, which an interval from resamples need not: a statistic such as a Fréchet distance grows when
    subjects are repeated. NaN if value or jackknife are undefined.
    """
    groups = len(left_out)
    if groups < 2:
        return math.nan, math.nan
    error = math.sqrt((groups - 1) / groups * float(((left_out - left_out.mean()) ** 2).sum()))
    half = float(student.ppf((1 + LEVEL) / 2, groups - 1)) * error
    return value - half, value + half


def interval_of(draws: np.ndarray) -> tuple[float, float]:
    """Return the 95 % percentile interval of resampled statistics, without undefined ones; NaN if none is defined.

    It is too narrow for few subjects; `Estimate.interval` is not.
    """
    defined = draws[np.isfinite(draws)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
