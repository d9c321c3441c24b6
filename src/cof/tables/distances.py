"""Table columns of the whole cohort: Fréchet distances between the features of all hearts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cof.config.evaluation import EvaluationSettings
from cof.config.metrics import Metric
from cof.errors import UsageError
from cof.features.artefacts import Features
from cof.metrics.frechet import Components, Moments, frechet_distance, split_halves, temporal_cosines
from cof.tables.bootstrap import GROUPS, Estimate

# Networks provided by the user. Their distances are those of the literature: they use all features, not components.
NAMED = ("inception", "i3d")
HALVES = 10
# Number of distances computed at once.
_AT_ONCE = 50


@dataclass(frozen=True)
class Distances:
    """The Fréchet distances of one column.

    Attributes:
        subjects: number of subjects compared; 0, without values, if there are fewer than two.
        items: number of images or videos per model.
        dimensions: dimensions of the compared vectors.
        network: name of the network.
        sha256: hash of its weights.
        floor: mean distance between random halves of the real subjects.
        estimates: distance from the real hearts, by model, with a jackknife over groups of subjects that is paired
            between models. FID and FVD have none: their covariances are too large to be computed for every group.
    """

    subjects: int
    items: int
    dimensions: int
    network: str
    sha256: str
    floor: float
    estimates: Mapping[str, Estimate]


def distances(
    metrics: Sequence[Metric],
    features: Mapping[str, Features],
    real: Features,
    subjects: Sequence[str],
    evaluation: EvaluationSettings,
) -> dict[str, Distances]:
    """Return the columns of `metrics`, by their keys.

    Args:
        metrics: metrics with an extractor.
        features: features of the generated hearts, by model.
        real: features of the real hearts.
        subjects: subjects that every model has; a subject whose features are missing anywhere is left out.
        evaluation: number of components, and seed of the halves.

    Raises:
        UsageError: the features were computed by different networks.
    """
    spaces: dict[str, _Space] = {}
    found = {}
    for metric in metrics:
        network = metric.extractor
        known = real.networks.get(network)
        if known is None or any(of.networks.get(network) != known for of in features.values()):
            raise UsageError(
                f"{metric.key}: the features of '{network}' are missing or come from different networks; compute them "
                "again"
            )
        every = (real.subjects(network), *(of.subjects(network) for of in features.values()))
        shared = sorted(set(subjects).intersection(*every))
        if len(shared) < 2:  # too few for a covariance
            none = dict.fromkeys(features, Estimate.none())
            found[metric.key] = Distances(0, 0, 0, known["name"], known["sha256"], math.nan, none)
            continue
        if network not in spaces:
            spaces[network] = _Space(network, shared, real, evaluation)
        found[metric.key] = spaces[network].column(metric, features, known)
    return found


class _Space:
    """The compared features of one network: all of them, or principal components of the real hearts' features.

    A jackknife needs the moments of every group of subjects (of every subject in a small cohort), which is possible
    only with few components. Without it, the moments of two halves are enough.
    """

    def __init__(self, network: str, subjects: list[str], real: Features, evaluation: EvaluationSettings) -> None:
        self.network, self.subjects, self.real, self.evaluation = network, subjects, real, evaluation
        self.images: Components | None = None
        self.videos: Components | None = None
        self.reduced = network not in NAMED
        if self.reduced:
            self.images = Components.of(self._moments(real, False, 1), evaluation.components)
            self.videos = Components.of(self._moments(real, True, 1), evaluation.components)
        self.units = min(len(subjects), GROUPS) if self.reduced else 2

    def column(self, metric: Metric, features: Mapping[str, Features], known: Mapping[str, str]) -> Distances:
        """Return the distances of one metric."""
        real = self._moments(self.real, metric.video, self.units)
        halves = split_halves(self.units, HALVES, self.evaluation.seed)
        floor = frechet_distance(*real.gaussian(halves[:, 0]), *real.gaussian(halves[:, 1])).mean()
        estimates, items = {}, 0
        for model, of in features.items():
            ours = self._moments(of, metric.video, self.units)
            items = int(ours.count.sum())
            value = float(_distance(ours, real, np.ones(self.units)))
            left_out = [np.empty(0), *(_distance(ours, real, weights) for weights in self._jackknife())]
            estimates[model] = Estimate(len(self.subjects), value, np.empty(0), np.concatenate(left_out))
        width = real.total.shape[1]
        return Distances(len(self.subjects), items, width, known["name"], known["sha256"], float(floor), estimates)

    def _moments(self, features: Features, video: bool, units: int) -> Moments:
        moments: Moments | None = None
        for index, subject in enumerate(self.subjects):
            items = self._items(features.of(subject, self.network), video)
            moments = moments or Moments(units, items.shape[1])
            moments.add(index % units, items)
        assert moments is not None
        return moments

    def _items(self, features: np.ndarray, video: bool) -> np.ndarray:
        """Return the compared vectors [items, width] of one subject, from features [T, Z, d], or [Z, d] of videos."""
        if features.ndim == 2:
            return features
        seen = features if self.images is None else self.images(features)
        if not video:
            return seen[1:].reshape(-1, seen.shape[-1])  # every generator copies frame 0
        courses = temporal_cosines(seen, self.evaluation.cosines)
        return courses if self.videos is None else self.videos(courses)

    def _jackknife(self) -> list[np.ndarray]:
        """Return weights [g, g] that leave out each group of subjects, in parts; none for FID and FVD.

        Fewer than three subjects have none either: the covariance of a single heart is not that of a cohort.
        """
        if not self.reduced or self.units < 3:
            return []
        kept = 1 - np.eye(self.units)
        return np.array_split(kept, -(-len(kept) // _AT_ONCE))


def _distance(ours: Moments, real: Moments, weights: np.ndarray) -> np.ndarray:
    return frechet_distance(*ours.gaussian(weights), *real.gaussian(weights))
