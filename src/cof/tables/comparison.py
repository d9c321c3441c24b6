"""Tests of the difference between two models on the same subjects, and their correction for several models."""

import math
from collections.abc import Mapping

import numpy as np

from cof.tables.bootstrap import AT_ONCE
from cof.tables.statistics import Statistic


def exchange_p(ours: np.ndarray, theirs: np.ndarray, exchanges: int, seed: int, statistic: Statistic) -> float:
    """Return the two-sided p of the difference of a statistic between two models, by a paired permutation test.

    If the models are equally good, the values of both models of any subject can be exchanged. The p is the share of
    exchanges whose difference is at least as large as the observed one. For a mean, this is the sign-flip test. All
    2^n exchanges are tried if there are no more than `exchanges` of them, and p is then exact; otherwise that number is
    drawn, and the observed one is counted as one of them, so that p is valid (Phipson and Smyth, Statistical
    Applications in Genetics and Molecular Biology 9:39, 2010).

    Args:
        ours, theirs: values [n, k] of the same subjects in the same order.
        exchanges: largest number of exchanges.
        seed: seed of the drawn exchanges.
        statistic: statistic over the subjects. An exchange for which it is undefined counts as one at least as large.

    Returns:
        p; NaN if the observed difference is undefined.
    """
    count, columns = ours.shape
    both = np.stack([theirs, ours])
    observed = [float(statistic(values)) for values in both]
    difference = observed[1] - observed[0]
    if not math.isfinite(difference):
        return math.nan
    if all_of_them := 2**count <= exchanges:
        exchanged = np.arange(2**count)[:, None] >> np.arange(count) & 1
    else:
        exchanged = np.random.default_rng(seed).integers(2, size=(exchanges, count), dtype=np.uint8)
    # Rounding must not make an exchange that changes nothing smaller than what was observed.
    least = abs(difference) - 1e-12 * max(map(abs, observed))
    larger, subjects = 0, np.arange(count)
    for part in np.array_split(exchanged, max(1, -(-2 * exchanged.size * columns // AT_ONCE))):
        found = statistic(both[1 - part, subjects]) - statistic(both[part, subjects])
        larger += int((~(np.abs(found) < least)).sum())
    return larger / len(exchanged) if all_of_them else (larger + 1) / (len(exchanged) + 1)


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Return the p values of a family, corrected by Holm (Scandinavian Journal of Statistics 6:65, 1979).

    The probability of any p below a level, while no difference exists, is then at most that level. NaN, a test that was
    not possible, stays NaN and does not count.
    """
    tested = sorted((value, name) for name, value in p.items() if not math.isnan(value))
    corrected, least = dict.fromkeys(p, math.nan), 0.0
    for rank, (value, name) in enumerate(tested):
        least = max(least, min(1.0, (len(tested) - rank) * value))
        corrected[name] = least
    return corrected
