"""A deep ensemble (Lakshminarayanan et al., NeurIPS 2017): trainings that differ in their seed, and their spread."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cof.cine.grid import Placement
from cof.config.controls import EnsembleSettings
from cof.heart.structures import STRUCTURES
from cof.models.base import Example, Generated, Save, Subject, TrainedModel
from cof.models.trained import MEMBERS, load
from cof.motion.resolution import to_canonical
from cof.motion.warp import fill_invalid, warp
from cof.training.run import Run

# The folder of the members, inside that of the ensemble.
DECIMALS = 4


def carried_volumes(labels: np.ndarray, displacement: Tensor, placement: Placement) -> np.ndarray:
    """LV volume in mL over the cycle, [T], of the anchor's LV carried by a displacement.

    Args:
        labels: [Z, Y, X] of the anchor on the canonical grid.
        displacement: [T, 3, Z, Y/2, X/2] in mm, pointing to the anchor.
        placement: the canonical grid.

    Returns:
        From the sums of the shares of LV in the voxels of valid slices, which follow the displacement continuously.
    """
    cavity = torch.from_numpy((labels == STRUCTURES["LV"]).astype(np.float32))
    filled = fill_invalid(cavity, placement.valid)[None, None]
    valid = torch.tensor(placement.valid)
    frames = (warp(filled, to_canonical(u[None]), placement.spacing_mm)[0, 0] for u in displacement)
    return np.array([float(frame[valid].sum()) for frame in frames]) * float(np.prod(placement.spacing_mm)) / 1000


class EnsembleModel:
    """Trained models of the same motion."""

    def __init__(self, members: Mapping[str, TrainedModel]) -> None:
        self.members = members

    def generate(self, subject: Subject, frames: int, seed: int) -> Generated:
        """The mean displacement, and how far the members are apart.

        Integration is linear in the velocity, so the mean of the members' displacements is the displacement of their
        mean velocity: there is no choice to make between the two. The spread is that of the LV, carried from the
        anchor's labels by each member: it needs no labelling of every member's cine, and only its size relative to
        other subjects matters to the intervals.
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
    """SD over members of EF (%), ESV and the curve (mL) of LV volumes [members, T], frame 0 ED."""
    smallest = volumes_ml.min(1)
    ef_pct = 100 * (1 - smallest / np.maximum(volumes_ml[:, 0], 1e-6))
    return {
        "ef_sd_pct": round(float(ef_pct.std(ddof=1)), DECIMALS),
        "esv_sd_ml": round(float(smallest.std(ddof=1)), DECIMALS),
        "lv_curve_sd_ml": np.round(volumes_ml.std(0, ddof=1), DECIMALS).tolist(),
    }


class EnsembleFamily:
    """Several trainings of one model that differ in their seed; their mean moves the heart, their spread is told.

    The members are models of the configuration, of which the ensemble keeps copies; nothing is trained for it.
    """

    def fit(
        self, train: Sequence[Example], validation: Sequence[Example], settings: EnsembleSettings, seed: int, run: Run
    ) -> Save:
        """Nothing to learn."""
        return lambda out: None

    def load(self, folder: Path, settings: EnsembleSettings) -> EnsembleModel:
        """The members that lie in `folder`."""
        return EnsembleModel({name: load(folder / MEMBERS / name).model for name in settings.members})
