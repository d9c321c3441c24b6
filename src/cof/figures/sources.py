"""The results of a run as the figures read them."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from cof.artefacts.parquet import read_table, read_tables
from cof.config.evaluation import EvaluationSettings
from cof.config.figures import ECGS, METRICS, FigureSettings
from cof.config.metrics import DEFINITIONS_VERSION
from cof.ecg.categories import ORDER
from cof.errors import UsageError


class NotDrawn(Exception):
    """A figure cannot be drawn from these results; the message says why, and stands in the picture's place."""


@dataclass(frozen=True)
class Sources:
    """The results of a run.

    Attributes:
        root: results folder.
        settings: settings of the figures, with the model named.
        evaluation: number of resamples and their seed.
    """

    root: Path
    settings: FigureSettings
    evaluation: EvaluationSettings

    @property
    def model(self) -> str:
        """Name of the model that is drawn."""
        assert self.settings.model is not None
        return self.settings.model

    @cached_property
    def subjects(self) -> pd.DataFrame:
        """The table of the cohort, `cohort/subjects.parquet`, sorted by subject.

        Raises:
            UsageError: the results folder does not hold it.
        """
        path = self.root / "cohort/subjects.parquet"
        if not path.is_file():
            raise UsageError(f"--results: {self.root} holds no cohort/subjects.parquet")
        return read_table(path).sort_values("subject", ignore_index=True)

    @cached_property
    def batches(self) -> dict[str, str]:
        """Batch of every subject, by the subject."""
        return dict(zip(self.subjects["subject"], self.subjects["batch"]))

    def table(self, pattern: str, columns: list[str]) -> pd.DataFrame:
        """Return these columns of `pattern`, a path below the results folder with `{batch}`, of all batches."""
        return read_tables([self._path(pattern.format(batch=batch)) for batch in self._batch_names], columns)

    def row(self, pattern: str, subject: str) -> pd.Series | None:
        """Return a subject's row of `pattern`, a table below the results folder with `{batch}`; None without one."""
        path = self._path(pattern.format(batch=self.batches[subject]))
        found = pq.read_table(path, filters=[("subject", "==", subject)]).to_pandas()
        return None if found.empty else found.iloc[0]

    def file(self, pattern: str, subject: str, end: str) -> Path:
        """Return the path of a subject's file in `pattern`, a folder below the results folder; `end` is its suffix.

        Raises:
            UsageError: there is no such file.
        """
        return self._path(f"{pattern.format(batch=self.batches[subject], model=self.model)}/{subject}{end}")

    def rows(self, metrics: list[str], model: str | None = None) -> pd.DataFrame:
        """Return the long-form rows of these metrics, of all subjects of a model (default: the drawn one).

        Returns:
            The columns subject, structure, slice, metric and value; no rows for a metric that the run lacks. An
            infinite value, such as a relative change of nothing, is undefined: NaN.

        Raises:
            UsageError: the model has no metrics, or they follow other definitions.
        """
        columns = ["subject", "structure", "slice", "metric", "value", "version"]
        model = model or self.model
        found = []
        for batch in self._batch_names:
            path = self._path(METRICS.format(model=model, batch=batch))
            rows = pq.read_table(path, columns=columns, filters=[("metric", "in", metrics)]).to_pandas()
            if set(rows["version"]) - {DEFINITIONS_VERSION}:
                raise UsageError(
                    f"{path}: the metrics of '{model}' follow outdated definitions (now {DEFINITIONS_VERSION}); "
                    "evaluate the model again"
                )
            found.append(rows)
        rows = pd.concat([rows for rows in found if len(rows)] or found, ignore_index=True)
        return rows.assign(value=rows["value"].where(np.isfinite(rows["value"])))

    @cached_property
    def categories(self) -> dict[str, list[str]]:
        """Subjects of every ECG category, in the order of `cof.ecg.categories.ORDER`; a subject may be in several."""
        table = self.table(ECGS, ["subject", "categories"])
        found = {name: [one for one, of in zip(table["subject"], table["categories"]) if name in of] for name in ORDER}
        return {name: sorted(subjects) for name, subjects in found.items() if subjects}

    def values(self, metric: str, structure: str = "", model: str | None = None) -> pd.Series:
        """Return one value per subject of a metric: the mean over its frames and slices, NaN left out.

        Subjects without a defined value are left out.
        """
        rows = self.rows([metric], model)
        rows = rows[rows["structure"] == structure]
        return rows.groupby("subject")["value"].mean().dropna().sort_index()

    @property
    def _batch_names(self) -> list[str]:
        return sorted(set(self.batches.values()))

    def _path(self, relative: str) -> Path:
        path = self.root / relative
        if not path.is_file():
            raise UsageError(f"--results: {self.root} holds no {relative}: make it first")
        return path
