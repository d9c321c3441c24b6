"""Experts' annotations of this cohort: their volumes, and how well the labeller's labels agree with them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cof.cine.volume import Cine, read_cine, read_labels
from cof.config.base import Triple
from cof.heart.function import MYOCARDIAL_DENSITY_G_PER_ML
from cof.heart.structures import STRUCTURES
from cof.labels.dataset import annotated_frames
from cof.metrics.overlap import dice
from cof.report.artefacts import Results
from cof.tables.few import few
from cof.tables.markup import DASH

# A page lists no more subjects; the means are over all of them.
SHOWN = 40
MOMENTS = ("ED", "ES")


@dataclass(frozen=True)
class Annotation:
    """What an expert drew in one cine.

    Attributes:
        frames: of the cine, by `ED` and `ES` as far as they are annotated.
        labels: uint8 [Z, Y, X] of each.
        structures: that the expert drew in any of them.
        voxel_ml: volume of a voxel.
    """

    frames: dict[str, int]
    labels: dict[str, np.ndarray]
    structures: frozenset[str]
    voxel_ml: float

    @classmethod
    def of(cls, labels: np.ndarray, spacing_mm: Triple) -> "Annotation":
        """That of labels [T, Z, Y, X], zero in the frames that nobody annotated."""
        found = {moment: frame for frame, moment in annotated_frames(labels).items()}
        frames = {moment: found[moment] for moment in MOMENTS if moment in found}
        stacks = {moment: labels[frame] for moment, frame in frames.items()}
        structures = {name for name, code in STRUCTURES.items() if any((one == code).any() for one in stacks.values())}
        return cls(frames, stacks, frozenset(structures), float(np.prod(spacing_mm)) / 1000)

    def volume_ml(self, moment: str, structure: str) -> float:
        """Volume at ED or ES; NaN where that is not annotated, or the structure nowhere is."""
        if moment not in self.labels or structure not in self.structures:
            return float("nan")
        return float((self.labels[moment] == STRUCTURES[structure]).sum()) * self.voxel_ml

    def on(self, labels: np.ndarray) -> "Annotation":
        """The same structures in the same frames, as other labels [T, Z, Y, X] show them."""
        return replace(self, labels={moment: labels[frame] for moment, frame in self.frames.items()})


def read(path: Path, cine: Cine) -> Annotation | None:
    """The annotation in a file; None where it does not fit its cine."""
    labels = read_labels(path)
    if labels.shape != cine.frames.shape or not labels.any() or labels.max() > max(STRUCTURES.values()):
        return None
    return Annotation.of(labels, cine.spacing_mm)


def function(annotation: Annotation) -> dict[str, float]:
    """Volumes, EF and mass by their printed names; NaN where the frame or the structure is not annotated."""
    edv, esv = (annotation.volume_ml(moment, "LV") for moment in MOMENTS)
    return {
        "EDV (mL)": edv,
        "ESV (mL)": esv,
        "SV (mL)": edv - esv,
        "EF (%)": 100 * (edv - esv) / edv if edv else float("nan"),
        "LV mass (g)": MYOCARDIAL_DENSITY_G_PER_ML * annotation.volume_ml("ED", "myocardium"),
        "RV EDV (mL)": annotation.volume_ml("ED", "RV"),
        "RV ESV (mL)": annotation.volume_ml("ES", "RV"),
    }


@dataclass(frozen=True)
class _Case:
    subject: str
    seen: bool
    expert: dict[str, float]
    labelled: dict[str, float]
    dice: dict[tuple[str, str], float]
    error_ml: dict[tuple[str, str], float]


def summary(results: Results) -> dict[str, Any] | None:
    """The labeller against the annotations of this cohort, over all annotated subjects and one by one.

    Returns:
        None where nobody is annotated and labelled. Cases whose participants have trained the labeller are kept apart.
    """
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
    for seen, title in ((False, "never seen by the labeller"), (True, "the labeller was trained on them")):
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


def _case(results: Results, subject: str, annotation: Path, labels: Path, cine: Path) -> _Case | None:
    """One subject; None where its annotation does not fit its cine."""
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
    """Whether the labeller has trained on the subject's participant; a borrowed one has trained elsewhere."""
    origin = results.origin("labeller")
    if origin is None or origin.where is not None or results.subjects is None:
        return False
    trained = (results.record("labeller/labeller.json") or {}).get("participants", {}).get("training", ())
    rows = results.subjects.loc[results.subjects["subject"] == subject, "participant"]
    return bool(rows.isin(trained).any())


def _means(cases: list[_Case]) -> list[tuple[str, str, int, str, str]]:
    """Phase, structure, cases, Dice and volume error, mean and SD."""
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


def number(value: float, decimals: int = 1) -> str:
    """A number as people read it; a dash where there is none."""
    return f"{value:.{decimals}f}" if np.isfinite(value) else DASH
