"""Trained networks of a weights folder, and the settings of the run that made them."""

import json
from dataclasses import dataclass
from pathlib import Path

from cof import config
from cof.config import Config
from cof.config.motion import PathSettings
from cof.errors import UsageError
from cof.labels.predict import Labeller
from cof.models.trained import Trained as TrainedModel
from cof.models.trained import load as load_model
from cof.motion.stage import Trained as TrainedRegistration
from cof.motion.stage import load as load_registration


@dataclass(frozen=True)
class Weights:
    """A folder with `labeller`, `registrations`, `models` and `config.json`: shipped weights, or results of a run."""

    folder: Path
    settings: Config

    @classmethod
    def of(cls, folder: Path) -> "Weights":
        """Read the settings of a folder.

        Raises:
            UsageError: the folder has no config.json, or one that cannot be parsed.
        """
        file = folder / "config.json"
        if not file.is_file():
            raise UsageError(f"{folder} has no config.json: name shipped weights, or the results folder of a run")
        return cls(folder, config.parse(json.loads(file.read_text()), str(file)))

    @property
    def name(self) -> str:
        """Return the last two parts of the path, such as weights/real."""
        return "/".join(self.folder.resolve().parts[-2:])

    def labeller(self, mirroring: bool) -> Labeller:
        """Load the labeller."""
        return Labeller.load(self.folder / "labeller", mirroring)

    def registration(self, name: str) -> TrainedRegistration:
        """Load a registration."""
        return load_registration(self.folder / "registrations" / name)

    def path(self, name: str) -> PathSettings:
        """Return how `config.json` makes a path by a registration; a pair has no harmonics of a cycle."""
        return self.settings.registrations[name].path.model_copy(update={"harmonics": None})

    def model(self, name: str) -> TrainedModel:
        """Load a model."""
        return load_model(self.folder / "models" / name)
