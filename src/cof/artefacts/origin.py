"""Origin of a trained network's hearts: simulated, real or unknown, and the words in which it is reported.

A cohort's sheet, or `cohort.origin`, states the origin of its hearts. A training records it with the numbers of
subjects (`learnt_from`), and a run that borrows the network records where it was trained. Everything that shows results
of the network reads both here.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

SIMULATED, REAL, UNKNOWN = "simulated", "real", "unknown"
ORIGINS = (SIMULATED, REAL)
LEARNT_FROM = "learnt_from"
# File beside a network that a run has borrowed.
BORROWED = "borrowed.json"
# Record in the folder of a trained artefact: of the labeller, or of a registration or model.
RECORDS = ("labeller.json", "settings.json")


def origins(cohort: pd.DataFrame) -> pd.Series:
    """Return the origin of every row of `cohort/subjects.parquet`; it is unknown unless it was stated."""
    if "origin" not in cohort:
        return pd.Series(UNKNOWN, cohort.index)
    return cohort["origin"].where(cohort["origin"].isin(ORIGINS), UNKNOWN)


def learnt_from(subjects: Path, names: list[str]) -> dict[str, Any]:
    """Return the record of the training subjects that a training saves.

    Args:
        subjects: `cohort/subjects.parquet`.
        names: names of the training subjects.

    Returns:
        Numbers of `subjects` and `participants`, and of subjects that are `simulated`, `real` and `unknown`.
    """
    from cof.artefacts.parquet import read_table

    cohort = read_table(subjects)
    seen = cohort[cohort["subject"].isin(names)]
    kinds = origins(seen)
    counts = {kind: int((kinds == kind).sum()) for kind in (*ORIGINS, UNKNOWN)}
    participants = int(seen.get("participant", seen["subject"]).nunique())
    return {"subjects": len(seen), "participants": participants} | counts


@dataclass(frozen=True)
class Origin:
    """Origin of one trained artefact.

    Attributes:
        simulated, real, unknown: number of training subjects of each origin.
        where: where it was trained; None if in this run.
        cohort: name of the training cohort, if it was recorded.
        terms: text to show with all results that depend on it, such as the licence of its weights.
    """

    simulated: int = 0
    real: int = 0
    unknown: int = 0
    where: str | None = None
    cohort: str = ""
    terms: str = ""

    @classmethod
    def read(cls, folder: Path) -> "Origin | None":
        """Read the origin of `labeller/`, `registrations/{name}/` or `models/{name}/`; None without such an artefact.

        It is unknown for an artefact that was trained before origins were recorded.
        """
        file = next((folder / name for name in RECORDS if (folder / name).is_file()), None)
        if file is None:
            return None
        borrowed = folder / BORROWED
        where = str(json.loads(borrowed.read_text())["from"]) if borrowed.is_file() else None
        return cls.of(json.loads(file.read_text()), where)

    @classmethod
    def of(cls, record: dict[str, Any], where: str | None = None) -> "Origin":
        """Make the origin from the `labeller.json` or `settings.json` of an artefact."""
        known = record.get(LEARNT_FROM)
        if known is None:
            return cls(unknown=_counted(record), where=where)
        simulated, real, unknown = (int(known.get(kind, 0)) for kind in (*ORIGINS, UNKNOWN))
        return cls(simulated, real, unknown, where, str(known.get("cohort", "")), str(known.get("terms", "")))

    @property
    def count(self) -> int:
        """Number of training subjects; 0 where it is not known."""
        return self.simulated + self.real + self.unknown

    @property
    def kind(self) -> str:
        """Kind of hearts: "simulated", "real", "simulated and real", or "unknown"."""
        if self.unknown or not self.count:
            return UNKNOWN
        return " and ".join(kind for kind in ORIGINS if getattr(self, kind))

    @property
    def hearts(self) -> str:
        """Training hearts in words, without their number."""
        return "hearts of unknown origin" if self.kind == UNKNOWN else f"{self.kind} hearts"

    @property
    def counted(self) -> str:
        """Training hearts in words, with their number, cohort, place of training and terms."""
        number = f"{self.count:,} {self.hearts}" if self.count else self.hearts
        number = number.replace(" hearts", " heart", 1) if self.count == 1 else number
        places = ", ".join(filter(None, (self.cohort, self.where, self.terms)))
        return f"{number} ({places})" if places else number

    def foreign(self, cohort: set[str]) -> bool:
        """Tell whether all numbers that depend on it must be shown with its origin.

        Args:
            cohort: origins of the hearts that are shown.
        """
        return self.where is not None or bool(self.terms) or (self.simulated > 0 and cohort != {SIMULATED})


def _counted(record: dict[str, Any]) -> int:
    """Return the number of training subjects of an artefact without recorded origins, as far as it is known."""
    subjects = record.get("subjects")
    if isinstance(subjects, int):
        return subjects
    if isinstance(subjects, dict):
        return int(subjects.get("train", 0))
    participants = record.get("participants")
    return len(participants.get("training", ())) if isinstance(participants, dict) else 0


def labels_notice(labeller: Origin) -> str:
    """Return the notice to show with results that depend on the labels of a labeller."""
    terms = f"; {labeller.terms}" if labeller.terms else ""
    return f"labels by a network trained on {labeller.hearts}{terms}"
