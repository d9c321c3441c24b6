"""Coverage of 95 % intervals over few subjects, for the intervals of the tables and two others.

Samples are drawn from distributions with a known mean or correlation: normal values, skewed ones (log-normal, sigma
.75), values like a Dice (beta, mean .85), paired differences of two absolute errors, and normal pairs with r = .5.
"""

import argparse
from collections.abc import Callable

import numpy as np

from cof.artefacts.markup import markdown_lines
from cof.tables.bootstrap import Estimate, bca_interval, interval_of
from cof.tables.statistics import Statistic, mean, pearson

COUNTS = (8, 15, 30, 50)
REPLICATES = 1000
NORMAL = 1.959964

Draw = Callable[[np.random.Generator, int], np.ndarray]


def paired_difference(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return the absolute errors of one model minus those of another, for hearts that are hard for both: [n]."""
    hard, own, other = rng.normal(size=(3, count))
    return np.abs(hard + own / 2) - np.abs(1.5 * hard + other / 2)


def correlated(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return pairs [n, 2] with a correlation of .5."""
    a, b = rng.normal(size=(2, count))
    return np.column_stack([a, a / 2 + np.sqrt(0.75) * b])


# The mean of |N(0, s)| is s sqrt(2 / pi).
OF_DIFFERENCE = float(np.sqrt(2 / np.pi) * (np.sqrt(1.25) - np.sqrt(2.5)))
CASES: dict[str, tuple[Draw, Statistic, float]] = {
    "mean, normal": (lambda rng, count: rng.normal(size=(count, 1)), mean, 0.0),
    "mean, skewed": (lambda rng, count: rng.lognormal(0, 0.75, (count, 1)), mean, float(np.exp(0.75**2 / 2))),
    "mean, like a Dice": (lambda rng, count: rng.beta(17, 3, (count, 1)), mean, 0.85),
    "paired difference of errors": (lambda rng, count: paired_difference(rng, count)[:, None], mean, OF_DIFFERENCE),
    "Pearson's r, .5": (correlated, pearson, 0.5),
}


def main() -> None:
    """Print the coverage as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=2000, help="samples per row")
    samples = parser.parse_args().samples
    body = []
    for name, (draw, statistic, truth) in CASES.items():
        for count in COUNTS:
            rng = np.random.default_rng(count)
            held = np.zeros(3)
            for seed in range(samples):
                estimate = Estimate.of(draw(rng, count), REPLICATES, seed, statistic)
                ends = (
                    interval_of(estimate.draws),
                    bca_interval(estimate.value, estimate.draws, estimate.left_out, NORMAL),
                    estimate.interval(),
                )
                held += [low <= truth <= high for low, high in ends]
            body.append([name, str(count), *(f"{share:.3f}" for share in held / samples)])
            print(" ".join(body[-1]), flush=True)
    print("\n".join(markdown_lines(["statistic", "n", "percentile", "BCa", "BCa, widened"], body)))


if __name__ == "__main__":
    main()
