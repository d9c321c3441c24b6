"""The Fréchet distance between Gaussians fitted to features (Dowson and Landau, 1982; Heusel et al., 2017)."""

from dataclasses import dataclass

import numpy as np
from scipy.fft import dct


def frechet_distance(
    mean_a: np.ndarray, covariance_a: np.ndarray, mean_b: np.ndarray, covariance_b: np.ndarray
) -> np.ndarray:
    """Return the Fréchet distance [...] of Gaussians with means [..., d] and covariances [..., d, d].

    It is |m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a^.5 S_b S_a^.5)^.5).
    """
    values, vectors = np.linalg.eigh(covariance_a)
    root = (vectors * np.sqrt(values.clip(0))[..., None, :]) @ np.swapaxes(vectors, -1, -2)
    shared = np.sqrt(np.linalg.eigvalsh(root @ covariance_b @ root).clip(0)).sum(-1)
    traces = np.trace(covariance_a, axis1=-2, axis2=-1) + np.trace(covariance_b, axis1=-2, axis2=-1)
    return (((mean_a - mean_b) ** 2).sum(-1) + traces - 2 * shared).clip(0)


class Moments:
    """Counts, sums and sums of products of the items of several units, such as subjects.

    Args:
        units: number of units.
        width: length of an item.
    """

    def __init__(self, units: int, width: int) -> None:
        self.count = np.zeros(units)
        self.total = np.zeros((units, width))
        self.outer = np.zeros((units, width, width))

    def add(self, unit: int, items: np.ndarray) -> None:
        """Add items [m, d] of a unit; items near zero keep the sums small, so subtract a common centre first."""
        items = items.astype(np.float64)
        self.count[unit] += len(items)
        self.total[unit] += items.sum(0)
        self.outer[unit] += items.T @ items

    def gaussian(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean [..., d] and covariance [..., d, d] of all items; `weights` [..., units] counts each unit."""
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
        """Return the components of all items; fewer than wanted if there are fewer than eight items per component."""
        mean, covariance = moments.gaussian(np.ones(len(moments.count)))
        kept = max(1, min(wanted, len(mean), int(moments.count.sum()) // ITEMS_A_COMPONENT))
        _, vectors = np.linalg.eigh(covariance)
        return cls(mean, vectors[:, ::-1][:, :kept])

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Return features [..., d] as coordinates [..., k]."""
        return (features - self.mean) @ self.axes


# With fewer items per dimension, the estimate of a covariance reflects mainly the small number of items.
ITEMS_A_COMPONENT = 8


def temporal_cosines(features: np.ndarray, count: int) -> np.ndarray:
    """Return the first cosine coefficients (DCT-II) over the cycle of features [T, Z, d]: [Z, count * d].

    They are divided by the square root of T, so that the first is the mean over the cycle and T has no effect.
    """
    coefficients = dct(features, axis=0, norm="ortho")[:count] / np.sqrt(len(features))
    return np.moveaxis(coefficients, 0, 1).reshape(features.shape[1], -1)


def split_halves(units: int, splits: int, seed: int) -> np.ndarray:
    """Return random splits of the units into halves: weights [splits, 2, units], 1 for a unit in that half, else 0."""
    order = np.random.default_rng(seed).permuted(np.tile(np.arange(units), (splits, 1)), axis=1)
    first = order < units // 2
    return np.stack([first, ~first], axis=1).astype(float)
