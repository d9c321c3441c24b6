"""Trained weights that a checkout of the repository contains."""

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
