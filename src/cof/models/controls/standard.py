"""Standardisation of regressors."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Standard:
    """Centre and scale of regressors. A regressor that is missing or does not vary has no effect.

    Attributes:
        centre: [P], means.
        scale: [P], standard deviations; infinite for a regressor that does not vary.
    """

    centre: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray) -> "Standard":
        """Measure the regressors [N, P] of training hearts; NaN is missing."""
        known = np.isfinite(rows)
        count = np.maximum(known.sum(0), 1)
        centre = np.where(known, rows, 0).sum(0) / count
        spread = np.sqrt((np.where(known, rows - centre, 0) ** 2).sum(0) / count)
        return cls(centre, np.where(spread > 1e-9 * np.abs(centre), spread, np.inf))  # rounding is no variation

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """Return regressors [..., P] in standard deviations from their mean; 0 where missing."""
        return np.nan_to_num((rows - self.centre) / self.scale)
