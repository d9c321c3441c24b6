"""The way back from the folder of a trained model."""

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
# Copies of the models that a model applies lie below its own folder: of the one, or of several by their names.
MODEL, MEMBERS = "model", "members"


@dataclass(frozen=True)
class Trained:
    """A trained model, and what generation has to know about its training.

    Attributes:
        model: ready to generate.
        settings: of the model; they say what generation is told (`sees`).
        anchor_phase: phase of the frame that is its subjects' anchor; 0 is end diastole.
        frames: phases of a cycle in the training data.
        shape: voxels of the canonical grid (z, y, x).
        spacing_mm: of the canonical grid (z, y, x).
        beat_samples: samples of an R-R cycle.
        provenance: of the training.
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
    """The model that `train` wrote into `folder`.

    Args:
        folder: `models/{model}`.
        settings: in place of those that it was trained with, for what only matters at generation (the solver).

    Raises:
        UsageError: the folder holds no trained model, or one that the settings do not fit.
    """
    file = folder / SETTINGS
    if not file.is_file():
        raise UsageError(f"{folder} is no trained model; {beside(folder, CARD)}")
    record = json.loads(file.read_text())
    if "family" not in record["settings"]:
        raise UsageError(f"{folder} is no trained model but a registration; models lie in models/")
    trained: ModelSettings = TypeAdapter(ModelSettings).validate_python(record["settings"])
    settings = settings or trained
    if settings.family != trained.family:
        raise UsageError(f"{folder} holds a model of the family '{trained.family}', not '{settings.family}'")
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
