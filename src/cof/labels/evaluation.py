"""Evaluation of the labeller on the held-out annotated participants."""

from typing import Any

import numpy as np

from cof.heart.structures import STRUCTURES
from cof.labels.dataset import Case
from cof.labels.predict import Labeller


def _dice(predicted: np.ndarray, truth: np.ndarray) -> float:
    total = int(predicted.sum()) + int(truth.sum())
    return 2.0 * int((predicted & truth).sum()) / total if total else float("nan")


def _mean_sd(values: list[float]) -> tuple[float, float]:
    """Return mean and sample SD, rounded to 4 decimals; the SD of one value is 0."""
    return round(float(np.mean(values)), 4), round(float(np.std(values, ddof=1)) if len(values) > 1 else 0.0, 4)


def evaluate(labeller: Labeller, cases: list[Case]) -> dict[str, Any]:
    """Compute Dice and volume bias of the labeller on the held-out cases.

    Returns:
        phase -> structure -> {n, dice, dice_sd, volume_ml (mean of the annotation), bias_ml, bias_ml_sd (predicted
        minus annotated), bias_percent (mean of the cases' relative errors)}. A structure is absent from a phase if no
        annotation of that phase has it.
    """
    rows: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    for case in cases:
        predicted = labeller.label(case.image[None], case.spacing_mm)[0]
        for name, label in STRUCTURES.items():
            truth = case.labels == label
            if truth.any():
                volume = float(truth.sum()) * case.voxel_ml
                error = float((predicted == label).sum()) * case.voxel_ml - volume
                rows.setdefault((case.phase, name), []).append((_dice(predicted == label, truth), volume, error))
    result: dict[str, Any] = {}
    for (phase, name), values in sorted(rows.items()):
        dice, volumes, errors = (list(column) for column in zip(*values))
        dice_mean, dice_sd = _mean_sd(dice)
        bias, bias_sd = _mean_sd(errors)
        result.setdefault(phase, {})[name] = {
            "n": len(values),
            "dice": dice_mean,
            "dice_sd": dice_sd,
            "volume_ml": _mean_sd(volumes)[0],
            "bias_ml": bias,
            "bias_ml_sd": bias_sd,
            "bias_percent": _mean_sd([100 * error / volume for error, volume in zip(errors, volumes)])[0],
        }
    return result
