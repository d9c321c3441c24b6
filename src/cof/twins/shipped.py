"""Trained weights that lie in a checkout of the repository."""

from pathlib import Path

from cof.errors import UsageError

# Trained on real scans; the default wherever it is there. A wheel holds no weights.
REAL = Path(__file__).parents[3] / "weights" / "real"
HINT = "name the results of a run, or weights/bench or weights/real in a checkout of the repository"


def weights_or_default(weights: Path | None) -> Path:
    """The folder of trained weights that was named; else `weights/real` of the checkout, else a run's `results`.

    Raises:
        UsageError: none was named, and there are none of the two.
    """
    if weights is not None:
        return weights
    for folder in (REAL, Path("results")):
        if (folder / "models").is_dir():
            return folder
    raise UsageError(
        f"weights: none were named, and there are neither {REAL.parent.name}/{REAL.name} nor results; {HINT}"
    )
