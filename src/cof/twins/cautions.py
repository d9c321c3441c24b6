"""Cautions about one generated heart: the origin of its networks, doubtful labels, and implausible numbers."""

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cof.artefacts.origin import REAL, Origin, labels_notice
from cof.artefacts.parquet import read_table
from cof.cine.volume import Cine, read_cine, read_labels
from cof.models.trained import Trained
from cof.quality.plausibility import Heart, doubts, measure

if TYPE_CHECKING:
    from cof.labels.doubt import Doubt

log = logging.getLogger(__name__)

# Where the number behind a warning comes from.
SCAN, GENERATED, RATES = "labels of the scan", "labels of the generated heart", "rates of ECG and scan"


def trained_on(results: Path, model: str, trained: Trained) -> dict[str, Any]:
    """Return the origin of every network that a generated heart depends on, as JSON values.

    Args:
        results: folder with `labeller`, `models/{model}` and, if the model has a registration, `registrations`.
        model: name of the model.
        trained: the same model, loaded.

    Returns:
        For `labeller`, `model` and the model's `registration`, the content of `cof.artefacts.origin.Origin`: the
        training hearts in words (`hearts`), their number by origin, their cohort and, if there are any, licence terms.
        The labeller also has its `notice` and, in `held_out`, its Dice on held-out hearts of the same cohort; this Dice
        says nothing about other cohorts.
    """
    folders = {"labeller": results / "labeller", "model": results / "models" / model}
    registration = trained.settings.motion
    if registration:
        folders["registration"] = results / "registrations" / registration
    found: dict[str, Any] = {}
    for name, folder in folders.items():
        origin = Origin.read(folder)
        if origin is not None:
            numbers = {"simulated": origin.simulated, "real": origin.real, "unknown": origin.unknown}
            # The folder of the training is left out: it may be a private path.
            found[name] = {"hearts": origin.hearts, "subjects": numbers, "cohort": origin.cohort}
            if origin.terms:
                found[name]["terms"] = origin.terms
            if name == "labeller":
                scores = json.loads((folder / "labeller.json").read_text()).get("held_out", {})
                found[name] |= {
                    "notice": labels_notice(origin),
                    "held_out": {"hearts": origin.hearts, "dice": _dice(scores)},
                }
    return found


def _dice(scores: dict[str, Any]) -> dict[str, Any]:
    """Return mean Dice and number of cases by phase and structure."""
    return {
        phase: {name: {"n": score["n"], "mean": score["dice"]} for name, score in structures.items()}
        for phase, structures in scores.items()
    }


def caution(root: Path, folder: Path, results: Path, model: str, trained: Trained) -> None:
    """Add `trained_on`, `labels`, `warnings` and `terms` to `summary.json`, and log them as warnings.

    `labels` says how far the labels of the scan can be trusted (`cof.labels.doubt.Doubt`). `terms` holds the licence
    of weights that have their own.

    Args:
        root: folder of the stages' results: `beats` (without rows if there is no ECG), `cine` and `labels`.
        folder: folder of the generated heart.
        results: as in `trained_on`.
        model: as in `trained_on`.
        trained: as in `trained_on`.
    """
    beats = read_table(root / "beats")
    told = {"rr_ecg_ms": float(beats.iloc[0]["rr_ms"])} if len(beats) else {}
    warnings: list[dict[str, Any]] = []
    doubt = doubt_of_labels(root, results)
    if doubt.doubtful:
        warnings.append(doubt.warning() | {"of": SCAN})
    scan, made = (
        (read_cine(next(cine.glob("*.nii"))), read_labels(next(labels.glob("*.nii.gz"))))
        for cine, labels in ((root / "cine", root / "labels"), (folder, folder))
    )
    warnings += implausible(scan, made, told)
    learnt = trained_on(results, model, trained)
    for name, network in learnt.items():
        if network["hearts"] != f"{REAL} hearts":
            said = network.get("notice", f"{name} trained on {network['hearts']}")
            log.warning("%s%s", said, f" ({network['cohort']})" if network["cohort"] else "")
    for warning in warnings:
        log.warning("%s: %s", warning["of"], warning["message"])
    terms = sorted({network["terms"] for network in learnt.values() if "terms" in network})
    for term in terms:
        log.warning("%s", term)
    file = folder / "summary.json"
    summary = json.loads(file.read_text()) | {
        "trained_on": learnt,
        "labels": doubt.record(),
        "warnings": warnings,
        "terms": terms,
    }
    file.write_text(json.dumps(summary, indent=1, sort_keys=True, allow_nan=False))


def implausible(
    scan: tuple[Cine, np.ndarray], made: tuple[Cine, np.ndarray], told: dict[str, float]
) -> list[dict[str, Any]]:
    """Return the warnings about implausible numbers, as JSON values with `of`, where the number comes from.

    Args:
        scan, made: cine and labels [T, Z, Y, X] of the scan and of the generated heart.
        told: `rr_ecg_ms` in ms, if there is an ECG; the rates of ECG and scan are compared once, for the scan.
    """
    warnings = []
    for of, (stack, drawn), compared in ((SCAN, scan, told), (GENERATED, made, {})):
        heart = Heart.of(drawn, stack.spacing_mm, stack.rr_ms, **compared)
        found = doubts(measure(heart))
        warnings += [said.record() | {"of": of if said.check.of_labels else RATES} for said in found]
    return warnings


def doubt_of_labels(root: Path, results: Path) -> "Doubt":
    """Judge how far the labels of the scan can be trusted.

    Args:
        root: as in `caution`.
        results: folder with the `labeller` that made them.
    """
    from cof.labels import artefact
    from cof.labels.doubt import judge

    stack = read_cine(next((root / "cine").glob("*.nii")))
    drawn = read_labels(next((root / "labels").glob("*.nii.gz")))
    return judge(artefact.load(results / "labeller"), stack.frames, drawn, stack.spacing_mm)
