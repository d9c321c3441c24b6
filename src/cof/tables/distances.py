"""The columns of a table that belong to the whole cohort: Fréchet distances between features of all its hearts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cof.config.evaluation import EvaluationSettings
from cof.config.metrics import Metric
from cof.errors import UsageError
from cof.features.artefacts import Features
from cof.metrics.frechet import Components, Moments, frechet_distance, split_halves, temporal_cosines

# Networks of the user's, whose distances are those of the literature: all their features, no components of them.
NAMED = ("inception", "i3d")
HALVES = 10
# Resamples that are computed at once.
_AT_ONCE = 50


@dataclass(frozen=True)
class Distances:
    """One column.

    Attributes:
        subjects: compared; fewer than two are not, and have no values.
        items: images or videos of one model.
        dimensions: of what is compared.
        network: its name.
        sha256: of its weights.
        floor: mean distance between random halves of the real subjects.
        values: model to its distance from the real hearts.
        draws: model to the distances in resamples of the subjects, paired between models; none for FID and FVD, whose
            covariances are too large to be resampled.
    """

    subjects: int
    items: int
    dimensions: int
    network: str
    sha256: str
    floor: float
    values: Mapping[str, float]
    draws: Mapping[str, np.ndarray]


def distances(
    metrics: Sequence[Metric],
    features: Mapping[str, Features],
    real: Features,
    subjects: Sequence[str],
    evaluation: EvaluationSettings,
) -> dict[str, Distances]:
    """The columns of `metrics`, by their keys.

    Args:
        metrics: those with an extractor.
        features: of the generated hearts, by model.
        real: of the real hearts.
        subjects: that every model has; those without features in any of them are passed over.
        evaluation: components, resamples and their seed.

    Raises:
        UsageError: they were made by different networks.
    """
    spaces: dict[str, _Space] = {}
    found = {}
    for metric in metrics:
        network = metric.extractor
        known = real.networks.get(network)
        if known is None or any(of.networks.get(network) != known for of in features.values()):
            raise UsageError(f"{metric.key}: the features are of different or of no networks; make them again")
        every = (real.subjects(network), *(of.subjects(network) for of in features.values()))
        shared = sorted(set(subjects).intersection(*every))
        if len(shared) < 2:  # too few for a covariance worth the name
            none, nothing = dict.fromkeys(features, math.nan), dict.fromkeys(features, np.empty(0))
            found[metric.key] = Distances(0, 0, 0, known["name"], known["sha256"], math.nan, none, nothing)
            continue
        if network not in spaces:
            spaces[network] = _Space(network, shared, real, evaluation)
        found[metric.key] = spaces[network].column(metric, features, known)
    return found


class _Space:
    """What of one network's features is compared: all of them, or principal components of the real hearts'.

    Resampling of subjects needs a covariance for each, which only few components allow; without it, one for each half.
    """

    def __init__(self, network: str, subjects: list[str], real: Features, evaluation: EvaluationSettings) -> None:
        self.network, self.subjects, self.real, self.evaluation = network, subjects, real, evaluation
        self.images: Components | None = None
        self.videos: Components | None = None
        self.resampled = network not in NAMED
        if self.resampled:
            self.images = Components.of(self._moments(real, False, 1), evaluation.components)
            self.videos = Components.of(self._moments(real, True, 1), evaluation.components)
        self.units = len(subjects) if self.resampled else 2

    def column(self, metric: Metric, features: Mapping[str, Features], known: Mapping[str, str]) -> Distances:
        """The distances of one metric."""
        real = self._moments(self.real, metric.video, self.units)
        halves = split_halves(self.units, HALVES, self.evaluation.seed)
        floor = frechet_distance(*real.gaussian(halves[:, 0]), *real.gaussian(halves[:, 1])).mean()
        values, draws, items = {}, {}, 0
        for model, of in features.items():
            ours = self._moments(of, metric.video, self.units)
            items = int(ours.count.sum())
            values[model] = float(_distance(ours, real, np.ones(self.units)))
            parts = [_distance(ours, real, weights) for weights in self._resamples()]
            draws[model] = np.concatenate([np.empty(0), *parts])
        width = real.total.shape[1]
        return Distances(len(self.subjects), items, width, known["name"], known["sha256"], float(floor), values, draws)

    def _moments(self, features: Features, video: bool, units: int) -> Moments:
        moments: Moments | None = None
        for index, subject in enumerate(self.subjects):
            items = self._items(features.of(subject, self.network), video)
            moments = moments or Moments(units, items.shape[1])
            moments.add(index % units, items)
        assert moments is not None
        return moments

    def _items(self, features: np.ndarray, video: bool) -> np.ndarray:
        """What is compared of one subject's features [T, Z, d], or [Z, d] of videos: [items, width]."""
        if features.ndim == 2:
            return features
        seen = features if self.images is None else self.images(features)
        if not video:
            return seen[1:].reshape(-1, seen.shape[-1])  # every generator copies frame 0
        courses = temporal_cosines(seen, self.evaluation.cosines)
        return courses if self.videos is None else self.videos(courses)

    def _resamples(self) -> list[np.ndarray]:
        """How often each subject is drawn in each resample, [r, n], in parts."""
        if not self.resampled:
            return []
        replicates = self.evaluation.bootstrap
        drawn = np.random.default_rng(self.evaluation.seed).integers(self.units, size=(replicates, self.units))
        counted = np.stack([np.bincount(row, minlength=self.units) for row in drawn]).astype(float)
        return np.array_split(counted, -(-replicates // _AT_ONCE))


def _distance(ours: Moments, real: Moments, weights: np.ndarray) -> np.ndarray:
    return frechet_distance(*ours.gaussian(weights), *real.gaussian(weights))
