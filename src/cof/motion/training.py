"""Training of TOPPR."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from cof.config.motion import RegistrationSettings
from cof.motion.augmentation import AffineMaps
from cof.motion.objective import Segmenter, draw_slices, evaluate_pairs
from cof.motion.pairs import DrawnPair, PairBatch, TrainingSubject, draw_pairs
from cof.motion.toppr import Toppr
from cof.training import loop
from cof.training.run import Loss, Run

LOG_COLUMNS = ("iteration", "loss", "rec", "seg", "labels", "smooth", "excess", "saturation")


class RandomPairs:
    """Source of training batches for TOPPR: random pairs of frames of the subjects."""

    held_out: Sequence[DrawnPair] = ()

    def __init__(self, subjects: Sequence[TrainingSubject], settings: RegistrationSettings, seed: int) -> None:
        self.subjects, self.settings, self.seed = subjects, settings, seed

    def draw(self, iteration: int) -> list[DrawnPair]:
        """Draw the pairs of an iteration, their affine maps, and the slices for the teacher."""
        settings, rng = self.settings, np.random.default_rng([self.seed, iteration])
        pairs = draw_pairs(self.subjects, settings.pairing, settings.batch, rng)
        maps = None
        if settings.augmentation is not None:
            maps = AffineMaps.draw(settings.augmentation, len(pairs), rng, torch.device("cpu"))
        valid = [sum(pair.subject.placement.valid) for pair in pairs]
        return [
            DrawnPair(
                pair.subject,
                pair.source,
                pair.target,
                draw_slices(pair.subject.crop, settings.seg_slices, rng) if settings.lambda_seg else None,
                maps.one(place) if maps is not None else None,
                valid[place] * len(pairs) / sum(valid),
            )
            for place, pair in enumerate(pairs)
        ]

    def load(self, items: Sequence[DrawnPair]) -> PairBatch:
        """Read the pairs."""
        return PairBatch.of(items, with_labels=self.settings.lambda_labels > 0)


def fit(
    subjects: Sequence[TrainingSubject],
    settings: RegistrationSettings,
    teacher: Segmenter | None,
    seed: int,
    run: Run,
) -> tuple[Toppr, pd.DataFrame]:
    """Train a network on random pairs of the subjects' frames.

    Args:
        subjects: training subjects on one canonical grid.
        settings: settings of the variant.
        teacher: the frozen labeller; not needed if `lambda_seg` is zero.
        seed: seed of initial weights, pairs, augmentation and slices.
        run: devices of the training, and the checkpoint to resume from.

    Returns:
        The trained network and its log, one row per iteration (`LOG_COLUMNS`).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Toppr.of(settings, subjects[0].placement.spacing_mm)

    def loss(network: Toppr, pairs: PairBatch) -> Loss:
        terms = evaluate_pairs(network, pairs, settings, teacher)
        return Loss(terms.total(settings), len(pairs), vars(terms))

    network, table = loop.fit(network, loss, RandomPairs(subjects, settings, seed), settings, run)
    return network, table[list(LOG_COLUMNS)]
