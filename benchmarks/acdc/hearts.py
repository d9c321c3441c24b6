"""ACDC's patients, and synthetic hearts in their place, read as the workflow reads them."""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cof.artefacts.parquet import read_table
from cof.cine.stage import stack_batch
from cof.cine.volume import Cine, read_cine, read_labels
from cof.cohort import build_cohort
from cof.config.data import CineSettings, CohortSettings
from cof.heart.structures import STRUCTURES
from cof.sheets.acdc import write_acdc
from cof.truth.artefacts import Truth

PHASES = ("ED", "ES")
PHANTOM = "phantom"


@dataclass(frozen=True)
class Heart:
    """One patient.

    Attributes:
        name: patientNNN.
        group: diagnosis, of `cof.sheets.acdc.GROUPS`.
        split: `train` or `validation`.
        frames: [2, Z, Y, X], ED and ES, slices from base to apex, native intensities.
        labels: uint8 of the same shape, by the expert.
        spacing_mm: z, y, x.
    """

    name: str
    group: str
    split: str
    frames: np.ndarray
    labels: np.ndarray
    spacing_mm: tuple[float, float, float]

    @property
    def who(self) -> dict[str, str]:
        """Return the columns that every row of this patient begins with."""
        return {"patient": self.name, "group": self.group}

    @property
    def ef_pct(self) -> float:
        """Return the EF in % by the expert's labels."""
        return ejection_fraction(self.labels)


def read_hearts(folder: Path, splits: Sequence[str], count: int | None) -> Iterator[Heart]:
    """Read patients of some splits of `cof sheet acdc`, split after split, at most `count` of each.

    What is left out, and why, is printed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        print(write_acdc(folder, root / "acdc.csv"), file=sys.stderr)
        for row, cine in _stacked(root / "acdc.csv", root, splits, count):
            drawn = root / f"annotations/{row['subject']}.nii.gz"
            if drawn.is_file():
                who = row["participant"], row["group"], row["split"]
                yield Heart(*who, np.array(cine.frames), read_labels(drawn), cine.spacing_mm)


def read_phantoms(folder: Path, count: int | None) -> Iterator[Heart]:
    """Read the held-out hearts that `cof phantom` has written to a folder, at most `count`, with their exact labels.

    ES is the frame in which the exact LV is smallest. Their group is `PHANTOM`.
    """
    with tempfile.TemporaryDirectory() as scratch:
        for row, cine in _stacked(folder / "subjects.csv", Path(scratch), ("test",), count):
            exact = Truth.read(folder / "truth", f"{row['participant']}_{row['visit']}", cine).labels
            es = int(np.argmin((exact == STRUCTURES["LV"]).sum(axis=(1, 2, 3))))
            yield Heart(
                row["subject"], PHANTOM, "test", np.array(cine.frames[[0, es]]), exact[[0, es]], cine.spacing_mm
            )


def _stacked(sheet: Path, root: Path, splits: Sequence[str], count: int | None) -> Iterator[tuple[pd.Series, Cine]]:
    """Stack the cines of a sheet into the folder `root`; yield the row of each in the cohort, and the cine."""
    key = root / "key.parquet"
    build_cohort(sheet=sheet, out=root / "subjects.parquet", key=key, settings=CohortSettings())
    cohort = read_table(root / "subjects.parquet")
    cohort = pd.concat([cohort[cohort["split"] == split].head(count or len(cohort)) for split in splits])
    cohort.to_parquet(root / "batch.parquet")
    stack_batch(
        sheet=root / "batch.parquet",
        key=key,
        out=root / "cine",
        annotations=root / "annotations",
        exclusions=root / "exclusions.parquet",
        settings=CineSettings(),
    )
    for _, gone in read_table(root / "exclusions.parquet").iterrows():
        print(f"left out: {gone['subject']}, {gone['reason']}: {gone['message']}")
    for _, row in cohort.iterrows():
        path = root / f"cine/{row['subject']}.nii"
        if path.is_file():
            yield row, read_cine(path)


def ejection_fraction(labels: np.ndarray) -> float:
    """Compute the EF in % from the LV voxels of ED and ES, [2, Z, Y, X]; NaN where ED shows no LV."""
    ed, es = ((frame == STRUCTURES["LV"]).sum() for frame in labels)
    return float(100 * (1 - es / ed)) if ed else float("nan")
