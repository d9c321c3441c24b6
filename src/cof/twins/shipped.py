"""Trained weights that lie in a checkout of the repository."""

from pathlib import Path

from cof.errors import UsageError

# Trained on real scans; the default wherever it is there. A wheel holds no weights.
REAL = Path(__file__).parents[3] / "weights" / "real"
HINT = "name the results of a run, or weights/bench or weights/real in a checkout of the repository"


def weights_or_default(weights: Path | None) -> Path:
    """The folder of trained weights that was named, or `weights/real` of the checkout.

    Raises:
        UsageError: none was named, and this is no checkout that has them.
    """
    if weights is not None:
        return weights
    if not (REAL / "models").is_dir():
        raise UsageError(f"weights: none were named, and none lie beside the program; {HINT}")
    return REAL
