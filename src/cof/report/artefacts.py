"""A results folder as the report reads it. Every artefact may be absent; the report then says so."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cof.artefacts.contents import overlap_notice
from cof.artefacts.origin import SIMULATED, UNKNOWN, Origin, origins
from cof.artefacts.parquet import read_provenance, read_table, read_tables
from cof.cine.volume import Cine
from cof.config import Config

# Printed names of the splits.
SPLITS = {"train": "training", "validation": "validation", "test": "held out"}


@dataclass(frozen=True)
class Missing:
    """An artefact that the page would show and that this run does not hold.

    Attributes:
        what: description.
        path: path relative to the results folder; Snakemake makes it under this name.
    """

    what: str
    path: str


@dataclass(frozen=True)
class Results:
    """The artefacts of one run. `config` names its models, registrations and tables."""

    root: Path
    config: Config

    @property
    def synthetic(self) -> bool:
        """Whether the cohort is the synthetic one."""
        return self.config.cohort.sheet is None

    @property
    def split(self) -> str:
        """How the cohort was split, in words; empty if the run does not hold the cohort."""
        path = self.root / "cohort/subjects.parquet"
        return read_provenance(path).get("split", "") if path.is_file() else ""

    @cached_property
    def subjects(self) -> pd.DataFrame | None:
        """The table `cohort/subjects.parquet`, sorted by subject; None if it is absent."""
        path = self.root / "cohort/subjects.parquet"
        return read_table(path).sort_values("subject", ignore_index=True) if path.is_file() else None

    @cached_property
    def kinds(self) -> set[str]:
        """Origins of the cohort's hearts: simulated, real or unknown."""
        if self.synthetic:
            return {SIMULATED}
        return {UNKNOWN} if self.subjects is None else set(origins(self.subjects))

    @property
    def kind(self) -> str:
        """A sentence about the hearts shown, for the head of every page."""
        if self.synthetic:
            return "Synthetic cohort: this page shows no person"
        if self.kinds == {SIMULATED}:
            return "Simulated hearts, according to their sheet: this page shows no person"
        return "Data of real people: handle under your data agreement"

    def origin(self, folder: str) -> Origin | None:
        """Return the origin of `labeller`, `registrations/{name}` or `models/{name}`; None if it is absent."""
        return Origin.read(self.root / folder)

    def overlap_notice(self, folder: str) -> str:
        """Return a sentence if such an artefact may have learnt from held-out subjects of this run; "" otherwise."""
        return overlap_notice(self.root / folder)

    @cached_property
    def batches(self) -> list[str]:
        """Names of the cohort's batches, without batches of chosen subjects (`only-...`)."""
        return [] if self.subjects is None else sorted(self.subjects["batch"].unique())

    def rows(self, folder: str, columns: list[str] | None = None) -> pd.DataFrame | None:
        """Return the rows of `{folder}/{batch}.parquet` of all batches; None if the table of a batch is absent.

        Args:
            folder: folder below the results folder.
            columns: columns to read; None reads all. ECG tables hold signals: 24 MB per batch of 100 ECGs.
        """
        paths = [self.root / folder / f"{batch}.parquet" for batch in self.batches]
        if not paths or not all(path.is_file() for path in paths):
            return None
        return read_tables(paths, columns)

    def row(self, folder: str, subject: str) -> pd.Series | None:
        """Return one subject's row of `{folder}/{batch}.parquet` without loading the others; None if absent."""
        if self.subjects is None:
            return None
        for batch in self.subjects.loc[self.subjects["subject"] == subject, "batch"]:
            path = self.root / folder / f"{batch}.parquet"
            if path.is_file():
                for _, row in pd.read_parquet(path, filters=[("subject", "==", subject)]).iterrows():
                    return row
        return None

    def files(self, folder: str, suffix: str) -> dict[str, Path] | None:
        """Return the files `{folder}/{batch}/{subject}{suffix}` by subject; None if the folder of a batch is absent."""
        folders = [self.root / folder / batch for batch in self.batches]
        if not folders or not all(path.is_dir() for path in folders):
            return None
        found = [path for path in folders for path in sorted(path.glob(f"*{suffix}"))]
        return {path.name.removesuffix(suffix): path for path in found}

    def exclusions(self, folder: str) -> pd.DataFrame | None:
        """Return the exclusions of one stage, or of one variant of it such as `twins/cof`; None if they are absent."""
        return self.rows(f"exclusions/{folder}")

    def record(self, path: str) -> dict[str, Any] | None:
        """Read a JSON artefact; None if it is absent."""
        file = self.root / path
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None

    @property
    def truth(self) -> Path | None:
        """Folder of the synthetic cohort's exact truth; None if the run does not hold it or the key."""
        folder, key = self.root / "phantom/truth", self.root / "cohort/key.parquet"
        return folder if self.synthetic and folder.is_dir() and key.is_file() else None

    def exact_labels(self, subject: str, cine: Cine) -> np.ndarray | None:
        """Return the exact labels [T, Z, Y, X] of a synthetic cine; None if the truth is unknown."""
        if self.truth is None:
            return None
        from cof.truth.artefacts import Truth

        raw = read_table(self.root / "cohort/key.parquet").set_index("subject").loc[subject]
        return Truth.read(self.truth, f"{raw['participant']}_{raw['visit']}", cine).labels
