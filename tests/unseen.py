"""A phantom that no training has seen, as raw files and exact truth, and the example that makes its heart."""

import io
import json
import runpy
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

REPOSITORY = Path(__file__).parents[1]
BENCH = REPOSITORY / "weights/bench"
_NOBODYS = 9001  # far beyond the participants of every cohort in workflow/config


@dataclass(frozen=True)
class Unseen:
    """Files of one phantom: ECG and scan as raw files, exact labels, and what else is known of it."""

    ecg: Path
    scan: Path
    labels: Path
    known: dict[str, Any]

    @staticmethod
    def make(root: Path) -> None:
        """Write the files below a folder."""
        from cof.config.data import OdditySettings, PhantomSettings  # every test waits for what is imported above
        from cof.phantom.stage import make_cohort

        none = OdditySettings(
            repeated_series=0, missing_frame=0, mixed_file_order=0, misspelt_manifest=0, inline_vf_series=0
        )
        settings = PhantomSettings(
            first=_NOBODYS, train=0, validation=0, test=1, frames=25, slices=10, matrix=144, oddities=none
        )
        make_cohort(out=root / "phantom", settings=settings, seed=0, workers=1)

    @classmethod
    def find(cls, root: Path) -> "Unseen":
        """What `make` has written there."""
        (ecg,), (scan,) = (sorted((root / "phantom/raw" / kind).iterdir()) for kind in ("ecg", "cine"))
        truth = root / "phantom/truth" / f"sub-{_NOBODYS}_2.json"
        return cls(ecg, scan, truth.with_suffix(".labels.nii.gz"), json.loads(truth.read_text()))


def run_example(name: str, *words: object) -> str:
    """Output of a script of `examples/`."""
    script = REPOSITORY / "examples" / name
    with patch("sys.argv", [str(script), *map(str, words)]), redirect_stdout(io.StringIO()) as said:
        runpy.run_path(str(script), run_name="__main__")
    return said.getvalue()
