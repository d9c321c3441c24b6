"""The Fréchet distance between Gaussians that are fitted to features (Dowson and Landau, 1982; Heusel et al., 2017)."""

from dataclasses import dataclass

import numpy as np
from scipy.fft import dct


def frechet_distance(
    mean_a: np.ndarray, covariance_a: np.ndarray, mean_b: np.ndarray, covariance_b: np.ndarray
) -> np.ndarray:
    """|m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a^.5 S_b S_a^.5)^.5) of means [..., d], covariances [..., d, d]: [...]."""
    values, vectors = np.linalg.eigh(covariance_a)
    root = (vectors * np.sqrt(values.clip(0))[..., None, :]) @ np.swapaxes(vectors, -1, -2)
    shared = np.sqrt(np.linalg.eigvalsh(root @ covariance_b @ root).clip(0)).sum(-1)
    traces = np.trace(covariance_a, axis1=-2, axis2=-1) + np.trace(covariance_b, axis1=-2, axis2=-1)
    return (((mean_a - mean_b) ** 2).sum(-1) + traces - 2 * shared).clip(0)


class Moments:
    """Counts, sums and sums of products of the items of several units, such as subjects.

    Args:
        units: how many.
        width: of an item.
    """

    def __init__(self, units: int, width: int) -> None:
        self.count = np.zeros(units)
        self.total = np.zeros((units, width))
        self.outer = np.zeros((units, width, width))

    def add(self, unit: int, items: np.ndarray) -> None:
        """Items [m, d] of a unit, best about a common centre, which keeps the sums small."""
        items = items.astype(np.float64)
        self.count[unit] += len(items)
        self.total[unit] += items.sum(0)
        self.outer[unit] += items.T @ items

    def gaussian(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean [..., d] and covariance [..., d, d] of all items, each unit counted `weights` [..., units] times."""
        units, width = self.total.shape
        count = weights @ self.count
        mean = weights @ self.total / count[..., None]
        outer = (weights @ self.outer.reshape(units, -1)).reshape(*weights.shape[:-1], width, width)
        spread = outer - count[..., None, None] * mean[..., :, None] * mean[..., None, :]
        return mean, spread / (count - 1)[..., None, None]


@dataclass(frozen=True)
class Components:
    """The leading principal components of features.

    Attributes:
        mean: [d].
        axes: [d, k].
    """

    mean: np.ndarray
    axes: np.ndarray

    @classmethod
    def of(cls, moments: Moments, wanted: int) -> "Components":
        """Those of all items; fewer than wanted where there are fewer than eight items for each."""
        mean, covariance = moments.gaussian(np.ones(len(moments.count)))
        kept = max(1, min(wanted, len(mean), int(moments.count.sum()) // ITEMS_A_COMPONENT))
        _, vectors = np.linalg.eigh(covariance)
        return cls(mean, vectors[:, ::-1][:, :kept])

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Features [..., d] as coordinates [..., k]."""
        return (features - self.mean) @ self.axes


# A covariance of more dimensions than that tells little but how few items there are.
ITEMS_A_COMPONENT = 8


def temporal_cosines(features: np.ndarray, count: int) -> np.ndarray:
    """The course of features [T, Z, d] over the cycle by its first cosine coefficients (DCT-II): [Z, count * d].

    Divided by the square root of T, so that the first is the mean over the cycle and T plays no part.
    """
    coefficients = dct(features, axis=0, norm="ortho")[:count] / np.sqrt(len(features))
    return np.moveaxis(coefficients, 0, 1).reshape(features.shape[1], -1)


def split_halves(units: int, splits: int, seed: int) -> np.ndarray:
    """Random halves of so many units: weights [splits, 2, units], of which every unit has one 1."""
    order = np.random.default_rng(seed).permuted(np.tile(np.arange(units), (splits, 1)), axis=1)
    first = order < units // 2
    return np.stack([first, ~first], axis=1).astype(float)
