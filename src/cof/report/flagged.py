"""Subjects that something speaks against: quality beyond its limits, and numbers that are not plausible."""

from typing import Any

from cof.report.figures import CURVE_NAMES
from cof.report.qc import Judged, value_text
from cof.report.sections import SPLITS

# A page lists no more; the table of all subjects has the rest.
SHOWN = 50


def remarks(judged: list[Judged]) -> dict[str, list[str]]:
    """What speaks against each subject, in words."""
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


def summary(judged: list[Judged], said: dict[str, list[str]], checked: bool) -> dict[str, Any]:
    """The subjects with remarks, those with the most first.

    Args:
        judged: all measured subjects.
        said: of `remarks`.
        checked: whether the run holds the values of the checks of plausibility.
    """
    splits = {subject.name: SPLITS[subject.split] for subject in judged}
    order = sorted(said, key=lambda name: (-len(said[name]), name))
    rows = [(name, splits[name], said[name]) for name in order[:SHOWN]]
    doubted = sum(bool(subject.doubts) for subject in judged)
    return {"rows": rows, "count": len(said), "doubted": doubted, "of": len(judged), "checked": checked}
