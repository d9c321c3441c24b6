"""Deep ensemble (Lakshminarayanan et al., NeurIPS 2017): trainings of one model with different seeds, and spread."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from cof.config.controls import EnsembleSettings
from cof.models.base import Example, Generated, Save, Subject, TrainedModel
from cof.models.carried import carried_volumes
from cof.models.trained import MEMBERS, load
from cof.training.run import Run

# Decimals of the spread in the sidecar.
DECIMALS = 4


class EnsembleModel:
    """The members of an ensemble: trained models that each generate a displacement."""

    def __init__(self, members: Mapping[str, TrainedModel]) -> None:
        self.members = members

    def generate(self, subject: Subject, frames: int, seed: int) -> Generated:
        """Generate the mean displacement of the members, and measure their spread.

        Integration is linear in the velocity, so the mean of the displacements equals the displacement of the mean
        velocity. The spread is that of the LV, warped from the anchor's labels by each member. This avoids labelling
        the cine of every member; for the intervals, only the ratio of spreads between subjects matters.
        """
        made = []
        for member in self.members.values():
            displacement = member.generate(subject, frames, seed).displacement
            assert displacement is not None
            made.append(displacement)
        mean = torch.stack(made).mean(0)
        volumes = np.stack([carried_volumes(subject.anchor_labels, each, subject.placement) for each in made])
        return Generated(displacement=mean, measures={"members": len(made), **spread(volumes)})


def spread(volumes_ml: np.ndarray) -> dict[str, float | list[float]]:
    """Compute the SD over members of EF (%), ESV and volume curve (mL), from LV volumes [members, T] with ED first."""
    smallest = volumes_ml.min(1)
    ef_pct = 100 * (1 - smallest / np.maximum(volumes_ml[:, 0], 1e-6))
    return {
        "ef_sd_pct": round(float(ef_pct.std(ddof=1)), DECIMALS),
        "esv_sd_ml": round(float(smallest.std(ddof=1)), DECIMALS),
        "lv_curve_sd_ml": np.round(volumes_ml.std(0, ddof=1), DECIMALS).tolist(),
    }


class EnsembleFamily:
    """Several trainings of one model with different seeds: their mean displacement moves the heart, with their spread.

    The members are models of the configuration. The ensemble keeps copies of them and trains nothing.
    """

    def fit(
        self, train: Sequence[Example], validation: Sequence[Example], settings: EnsembleSettings, seed: int, run: Run
    ) -> Save:
        """Return a function that writes nothing; there is nothing to learn."""
        return lambda out: None

    def load(self, folder: Path, settings: EnsembleSettings) -> EnsembleModel:
        """Load the copies of the members in `folder`."""
        return EnsembleModel({name: load(folder / MEMBERS / name).model for name in settings.members})
