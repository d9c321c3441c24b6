"""A results folder as the report reads it: every artefact may be absent, and absence is a fact to print."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cof.artefacts.origin import SIMULATED, UNKNOWN, Origin, origins
from cof.artefacts.parquet import read_provenance, read_table, read_tables
from cof.cine.volume import Cine
from cof.config import Config

# Names of the splits as people read them.
SPLITS = {"train": "training", "validation": "validation", "test": "held out"}


@dataclass(frozen=True)
class Missing:
    """Something that the page would show and that this run does not hold.

    Attributes:
        what: in words.
        path: relative to the results folder; also what to ask Snakemake for.
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
        """The split of the cohort, in words; empty where the run does not hold it."""
        path = self.root / "cohort/subjects.parquet"
        return read_provenance(path).get("split", "") if path.is_file() else ""

    @cached_property
    def subjects(self) -> pd.DataFrame | None:
        """`cohort/subjects.parquet`, ordered by subject."""
        path = self.root / "cohort/subjects.parquet"
        return read_table(path).sort_values("subject", ignore_index=True) if path.is_file() else None

    @cached_property
    def kinds(self) -> set[str]:
        """Kinds of the cohort's hearts: simulated, real, unknown, as far as was stated."""
        if self.synthetic:
            return {SIMULATED}
        return {UNKNOWN} if self.subjects is None else set(origins(self.subjects))

    @property
    def kind(self) -> str:
        """Words on the hearts shown, for the head of every page."""
        if self.synthetic:
            return "Synthetic cohort: no person is shown here"
        if self.kinds == {SIMULATED}:
            return "Simulated hearts, as their sheet states: no person is shown here"
        return "Data of real people: handle under your data agreement"

    def origin(self, folder: str) -> Origin | None:
        """Origin of `labeller`, `registrations/{name}` or `models/{name}`; None where the run holds none."""
        return Origin.read(self.root / folder)

    @cached_property
    def batches(self) -> list[str]:
        """Names of the cohort's batches; batches of chosen subjects (`only-...`) are no part of the report."""
        return [] if self.subjects is None else sorted(self.subjects["batch"].unique())

    def rows(self, folder: str, columns: list[str] | None = None) -> pd.DataFrame | None:
        """The rows of `{folder}/{batch}.parquet` over all batches; nothing if a batch's table is not there.

        Args:
            folder: below the results folder.
            columns: those to read. Signals are among the others: for one batch of 100 ECGs 24 MB.
        """
        paths = [self.root / folder / f"{batch}.parquet" for batch in self.batches]
        if not paths or not all(path.is_file() for path in paths):
            return None
        return read_tables(paths, columns)

    def row(self, folder: str, subject: str) -> pd.Series | None:
        """One subject's row of `{folder}/{batch}.parquet`, of which no other row stays in memory."""
        if self.subjects is None:
            return None
        for batch in self.subjects.loc[self.subjects["subject"] == subject, "batch"]:
            path = self.root / folder / f"{batch}.parquet"
            if path.is_file():
                for _, row in pd.read_parquet(path, filters=[("subject", "==", subject)]).iterrows():
                    return row
        return None

    def files(self, folder: str, suffix: str) -> dict[str, Path] | None:
        """`{folder}/{batch}/{subject}{suffix}` by subject, of all batches; nothing if a batch's folder is absent."""
        folders = [self.root / folder / batch for batch in self.batches]
        if not folders or not all(path.is_dir() for path in folders):
            return None
        found = [path for path in folders for path in sorted(path.glob(f"*{suffix}"))]
        return {path.name.removesuffix(suffix): path for path in found}

    def exclusions(self, folder: str) -> pd.DataFrame | None:
        """The exclusion rows of one stage, or of one variant of it such as `twins/cof`."""
        return self.rows(f"exclusions/{folder}")

    def record(self, path: str) -> dict[str, Any] | None:
        """A JSON artefact."""
        file = self.root / path
        return json.loads(file.read_text()) if file.is_file() else None

    @property
    def truth(self) -> Path | None:
        """The folder of the synthetic cohort's exact truth, where the run holds it and the key to it."""
        folder, key = self.root / "phantom/truth", self.root / "cohort/key.parquet"
        return folder if self.synthetic and folder.is_dir() and key.is_file() else None

    def exact_labels(self, subject: str, cine: Cine) -> np.ndarray | None:
        """Exact labels [T, Z, Y, X] of a synthetic cine; nothing where the truth is unknown."""
        if self.truth is None:
            return None
        from cof.truth.artefacts import Truth

        raw = read_table(self.root / "cohort/key.parquet").set_index("subject").loc[subject]
        return Truth.read(self.truth, f"{raw['participant']}_{raw['visit']}", cine).labels
