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
    """One measured subject: its row of the table of quality, the measures by which it is beyond the limits, and the
    numbers of its labels that are not plausible.
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
        """Number of doubts about the subject."""
        return len(self.flags) + len(self.excluded) + len(self.doubts)


def judge(results: Results) -> list[Judged]:
    """Every measured subject of the cohort in the order of their names; none if the run holds no quality."""
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
    """Doubts about each subject, in words."""
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
    """A value as people read it."""
    return f"{value:.{measure.decimals}f}" if np.isfinite(value) else "not known"


def limit_text(measure: Measure, limit: float | None) -> str:
    """A limit as people read it; empty where there is none."""
    return "" if limit is None else f"{'at most' if measure.worse == 'high' else 'at least'} {limit:g}"
