"""Doubts about each subject: measures of quality beyond their limits, and numbers that are not plausible."""

import math
from dataclasses import dataclass, field

import numpy as np

from cof.quality.catalogue import Measure, beyond
from cof.quality.plausibility import CHECKS, Doubt, doubts
from cof.report.artefacts import Results
from cof.report.plots import CURVE_NAMES


@dataclass(frozen=True)
class Judged:
    """One measured subject with its measures of quality, those beyond a limit, and the doubts about its labels.

    Attributes:
        name: name of the subject.
        batch: its batch.
        split: its split.
        values: values of the measures, by key.
        flags: measures beyond their flag limit.
        excluded: measures beyond their exclusion limit.
        doubts: numbers of its labels that are not plausible.
    """

    name: str
    batch: str
    split: str
    values: dict[str, float]
    flags: list[Measure]
    excluded: list[Measure]
    doubts: list[Doubt] = field(default_factory=list)

    @property
    def weight(self) -> int:
        """Number of flags, exclusions and doubts of the subject."""
        return len(self.flags) + len(self.excluded) + len(self.doubts)


def judge(results: Results) -> list[Judged]:
    """Return every measured subject of the cohort, sorted by name; empty if the run holds no measures of quality."""
    rows = results.rows("quality")
    if rows is None or results.subjects is None:
        return []
    limits = results.config.quality
    places = results.subjects.set_index("subject")
    checked = results.rows("plausibility")
    checks = {} if checked is None else {str(row["subject"]): row for row in checked.to_dict("records")}
    judged = []
    for row in rows.sort_values("subject").to_dict("records"):
        name = str(row.pop("subject"))
        values = {str(key): float(value) for key, value in row.items()}
        place = places.loc[name]
        flags, excluded = beyond(values, limits.flag), beyond(values, limits.exclude)
        found = doubts({check.key: checks.get(name, {}).get(check.key, math.nan) for check in CHECKS})
        judged.append(Judged(name, str(place["batch"]), str(place["split"]), values, flags, excluded, found))
    return judged


def remarks(judged: list[Judged]) -> dict[str, list[str]]:
    """Return the flags, exclusions and doubts of each subject, in words."""
    found = {}
    for subject in judged:
        said = [doubt.of(CURVE_NAMES["real"]) for doubt in subject.doubts]
        for measure in (*subject.excluded, *(m for m in subject.flags if m not in subject.excluded)):
            done = "left out" if measure in subject.excluded else "flagged"
            said.append(
                f"{done}: {measure.label} {value_text(measure, subject.values[measure.key])} {measure.unit}".strip()
            )
        if said:
            found[subject.name] = said
    return found


def value_text(measure: Measure, value: float) -> str:
    """Return a value as text."""
    return f"{value:.{measure.decimals}f}" if np.isfinite(value) else "not known"


def limit_text(measure: Measure, limit: float | None) -> str:
    """Return a limit as text; empty if there is none."""
    return "" if limit is None else f"{'at most' if measure.worse == 'high' else 'at least'} {limit:g}"
