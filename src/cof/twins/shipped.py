"""Trained weights that a checkout of the repository contains."""

import json
from pathlib import Path

from cof.errors import UsageError

# Weights trained on real scans; the default if the folder exists. An installed wheel contains no weights.
REAL = Path(__file__).parents[3] / "weights" / "real"
HINT = "name the results of a run, or weights/bench or weights/real in a checkout of the repository"


def weights_or_default(weights: Path | None) -> Path:
    """Return the given folder of trained weights; without one, `weights/real` of the checkout, else `results`.

    Raises:
        UsageError: no folder was given, and neither of the two defaults exists.
    """
    if weights is not None:
        return weights
    for folder in (REAL, Path("results")):
        if (folder / "models").is_dir():
            return folder
    raise UsageError(
        f"no weights were given, and neither {REAL.parent.name}/{REAL.name} nor results has trained models: {HINT}"
    )


def model_or_default(weights: Path, model: str | None) -> str:
    """Return the name of the given model; without one, the model that the report of these weights shows.

    That is `report.model` of `config.json` in the folder of weights; "cof" if there is no such file or model.
    """
    file = weights / "config.json"
    if model is None and file.is_file():
        shown = json.loads(file.read_text()).get("report", {}).get("model")
        model = shown if shown and (weights / "models" / shown).is_dir() else None
    return model or "cof"
