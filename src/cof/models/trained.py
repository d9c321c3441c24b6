"""Loading of a trained model from its folder."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from cof.artefacts.folders import beside
from cof.config.base import Triple
from cof.config.models import ModelSettings
from cof.errors import UsageError
from cof.models.base import TrainedModel
from cof.models.registry import family_of

SETTINGS, CARD = "settings.json", "card.md"
# Subfolders with copies of the models that a model applies: of a single one, and of several by their names.
MODEL, MEMBERS = "model", "members"


@dataclass(frozen=True)
class Trained:
    """A trained model, and the facts about its training that generation needs.

    Attributes:
        model: the model, ready to generate.
        settings: settings of the model; `sees` says which data of the real heart generation passes to it.
        anchor_phase: phase of the frame that is the anchor of its subjects; 0 is end diastole.
        frames: number of frames of a cycle in the training data.
        shape: voxels of the canonical grid (z, y, x).
        spacing_mm: spacing of the canonical grid (z, y, x).
        beat_samples: number of samples of an R-R cycle.
        provenance: provenance of the training.
    """

    model: TrainedModel
    settings: ModelSettings
    anchor_phase: float
    frames: int
    shape: tuple[int, int, int]
    spacing_mm: Triple
    beat_samples: int
    provenance: dict[str, Any]


def load(folder: Path, settings: ModelSettings | None = None) -> Trained:
    """Load the model that `train` wrote into `folder`.

    Args:
        folder: `models/{model}`.
        settings: settings to use instead of those of the training; they may differ in what only generation uses, such
            as the solver.

    Raises:
        UsageError: the folder holds no trained model, or the settings do not fit it.
    """
    file = folder / SETTINGS
    if not file.is_file():
        raise UsageError(f"{folder} is not a trained model; {beside(folder, CARD)}")
    record = json.loads(file.read_text())
    if "family" not in record["settings"]:
        raise UsageError(f"{folder} is a trained registration, not a trained model; models are in models/")
    trained: ModelSettings = TypeAdapter(ModelSettings).validate_python(record["settings"])
    settings = settings or trained
    if settings.family != trained.family:
        raise UsageError(
            f"{folder} holds a model of the family '{trained.family}', but the settings name the family "
            f"'{settings.family}': train it again, or correct the settings"
        )
    family = family_of(settings.family)
    shape, spacing = record["shape"], record["spacing_mm"]
    return Trained(
        family.load(folder, settings),
        settings,
        settings.anchored_at or 0.0,
        record["frames"],
        (shape[0], shape[1], shape[2]),
        (spacing[0], spacing[1], spacing[2]),
        record["beat_samples"],
        record["provenance"],
    )
