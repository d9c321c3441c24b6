"""Cautions beside one heart: the origin of its networks, and numbers that are not plausible."""

import json
import logging
from pathlib import Path
from typing import Any

from cof.artefacts.origin import REAL, Origin, labels_notice
from cof.artefacts.parquet import read_table
from cof.cine.volume import read_cine, read_labels
from cof.models.trained import Trained
from cof.quality.plausibility import Heart, doubts, measure

log = logging.getLogger(__name__)

# What a number was counted from.
SCAN, GENERATED, RATES = "labels of the scan", "labels of the generated heart", "rates of ECG and scan"


def trained_on(results: Path, model: str, trained: Trained) -> dict[str, Any]:
    """Origin of each network behind a heart, as JSON values.

    Args:
        results: folder with `labeller`, `models/{model}` and perhaps `registrations`.
        model: name of the model.
        trained: the same model, opened.

    Returns:
        For `labeller`, `model` and the model's `registration` what `cof.artefacts.origin.Origin` tells: `hearts` in
        words, and their numbers by origin. The labeller has its `notice`, and in `held_out` its Dice on further hearts
        of the same cohort: it is that of no other.
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
            # Where it was trained may be a private path.
            found[name] = {"hearts": origin.hearts, "subjects": numbers, "cohort": origin.cohort}
            if name == "labeller":
                scores = json.loads((folder / "labeller.json").read_text()).get("held_out", {})
                found[name] |= {
                    "notice": labels_notice(origin),
                    "held_out": {"hearts": origin.hearts, "dice": _dice(scores)},
                }
    return found


def _dice(scores: dict[str, Any]) -> dict[str, Any]:
    """Mean Dice and number of cases by phase and structure."""
    return {
        phase: {name: {"n": score["n"], "mean": score["dice"]} for name, score in structures.items()}
        for phase, structures in scores.items()
    }


def caution(root: Path, folder: Path, results: Path, model: str, trained: Trained) -> None:
    """Add `trained_on` and `warnings` to `summary.json`, and say both in the terminal.

    Args:
        root: folder of the stages: `beats`, `cine` and `labels`.
        folder: of the heart.
        results: as in `trained_on`.
        model: as in `trained_on`.
        trained: as in `trained_on`.
    """
    rr_ecg_ms = float(read_table(root / "beats").iloc[0]["rr_ms"])
    warnings = []
    for of, cine, labels in (
        (SCAN, root / "cine", root / "labels"),
        (GENERATED, folder, folder),
    ):
        drawn = read_labels(next(labels.glob("*.nii.gz")))
        stack = read_cine(next(cine.glob("*.nii")))
        # The rates of ECG and scan are compared once.
        compared = {"rr_ecg_ms": rr_ecg_ms} if of == SCAN else {}
        heart = Heart.of(drawn, stack.spacing_mm, stack.rr_ms, **compared)
        found = doubts(measure(heart))
        warnings += [doubt.record() | {"of": of if doubt.check.of_labels else RATES} for doubt in found]
    learnt = trained_on(results, model, trained)
    for name, network in learnt.items():
        if network["hearts"] != f"{REAL} hearts":
            said = network.get("notice", f"{name} trained on {network['hearts']}")
            log.warning("%s%s", said, f" ({network['cohort']})" if network["cohort"] else "")
    for warning in warnings:
        log.warning("%s: %s", warning["of"], warning["message"])
    file = folder / "summary.json"
    summary = json.loads(file.read_text()) | {"trained_on": learnt, "warnings": warnings}
    file.write_text(json.dumps(summary, indent=1, sort_keys=True, allow_nan=False))
