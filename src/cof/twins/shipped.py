"""Trained weights that lie in a checkout of the repository, and the terms under which weights are given."""

from pathlib import Path

from cof.errors import UsageError

# Trained on real scans; the default wherever it is there. A wheel holds no weights.
REAL = Path(__file__).parents[3] / "weights" / "real"
TERMS = "TERMS"
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


def terms_of(weights: Path) -> str:
    """What has to be said wherever results of these weights are shown, such as their licence: the file `TERMS`.

    Returns:
        One line; empty for weights under the licence of the program, and those of a run.
    """
    file = weights / TERMS
    return " ".join(file.read_text().split()) if file.is_file() else ""
