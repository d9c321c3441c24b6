"""The section of the experts: agreement of the labeller's labels with the expert annotations of this cohort."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cof.cine.volume import read_cine, read_labels
from cof.heart.structures import STRUCTURES
from cof.metrics.overlap import dice
from cof.report.annotations import MOMENTS, function, number, read
from cof.report.artefacts import Results
from cof.report.section import Sources
from cof.tables.few import few

# Largest number of subjects that the page lists; the means are over all of them.
SHOWN = 40


def context(sources: Sources) -> dict[str, Any] | None:
    """Return the labeller's agreement with the annotations of this cohort, over all annotated subjects and per subject.

    Subjects whose participants were used to train the labeller form a group of their own.

    Returns:
        The context; None if no subject is both annotated and labelled.
    """
    results = sources.results
    annotated, labels, cines = (
        results.files(folder, suffix) or {}
        for folder, suffix in (("annotations", ".nii.gz"), ("labels", ".nii.gz"), ("cine", ".nii"))
    )
    cases = []
    for subject in sorted(annotated.keys() & labels.keys() & cines.keys()):
        found = _case(results, subject, annotated[subject], labels[subject], cines[subject])
        if found is not None:
            cases.append(found)
    if not cases:
        return None
    groups = []
    for seen, title in ((False, "not used to train the labeller"), (True, "used to train the labeller")):
        members = [case for case in cases if case.seen == seen]
        if members:
            groups.append(
                {
                    "title": title,
                    "count": len(members),
                    "few": few(len(members), intervals=False),
                    "rows": _means(members),
                }
            )
    headings = list(cases[0].expert)
    rows = [
        (case.subject, case.seen, [(number(case.expert[name]), number(case.labelled[name])) for name in headings],
         [number(case.dice.get((moment, name), float("nan")), 3) for moment in MOMENTS for name in STRUCTURES])
        for case in sorted(cases, key=lambda case: case.seen)
    ]  # fmt: skip
    return {
        "count": len(cases),
        "groups": groups,
        "headings": headings,
        "dice_headings": [f"{name} {moment}" for moment in MOMENTS for name in STRUCTURES],
        "rows": rows[:SHOWN],
    }


@dataclass(frozen=True)
class _Case:
    subject: str
    seen: bool
    expert: dict[str, float]
    labelled: dict[str, float]
    dice: dict[tuple[str, str], float]
    error_ml: dict[tuple[str, str], float]


def _case(results: Results, subject: str, annotation: Path, labels: Path, cine: Path) -> _Case | None:
    """Return one subject; None if its annotation does not fit its cine."""
    expert = read(annotation, read_cine(cine))
    if expert is None:
        return None
    labelled = expert.on(read_labels(labels))
    overlap, errors = {}, {}
    for moment in expert.frames:
        for name in sorted(expert.structures):
            ours, theirs = (one.labels[moment][None] for one in (labelled, expert))
            if (theirs == STRUCTURES[name]).any():
                overlap[moment, name] = float(dice(ours, theirs, STRUCTURES[name])[0])
                errors[moment, name] = labelled.volume_ml(moment, name) - expert.volume_ml(moment, name)
    return _Case(subject, _seen(results, subject), function(expert), function(labelled), overlap, errors)


def _seen(results: Results, subject: str) -> bool:
    """Tell whether the labeller was trained on the subject's participant; a borrowed labeller was not."""
    origin = results.origin("labeller")
    if origin is None or origin.where is not None or results.subjects is None:
        return False
    trained = (results.record("labeller/labeller.json") or {}).get("participants", {}).get("training", ())
    rows = results.subjects.loc[results.subjects["subject"] == subject, "participant"]
    return bool(rows.isin(trained).any())


def _means(cases: list[_Case]) -> list[tuple[str, str, int, str, str]]:
    """Return rows of phase, structure, number of cases, Dice and volume error (both mean and SD)."""
    rows = []
    for moment in MOMENTS:
        for name in STRUCTURES:
            key = moment, name
            overlap = [case.dice[key] for case in cases if key in case.dice]
            errors = [case.error_ml[key] for case in cases if key in case.error_ml]
            if overlap:
                rows.append((moment, name, len(overlap), _spread(overlap, 3), _spread(errors, 1, "+")))
    return rows


def _spread(values: list[float], decimals: int, sign: str = "") -> str:
    mean = f"{np.mean(values):{sign}.{decimals}f}"
    return f"{mean} ± {np.std(values, ddof=1):.{decimals}f}" if len(values) > 1 else mean
