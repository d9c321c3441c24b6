"""Split-conformal intervals (Papadopoulos et al., ECML 2002; Lei et al., JASA 113:1094, 2018), scaled per subject.

The generated heart predicts a quantity y of the subject's real heart. The score of a calibration subject is its error
in units of its own scale, |y - predicted| / scale. A new subject gets the interval predicted +- q scale, where q is the
score of rank ceil((n + 1)(1 - alpha)) among n. If calibration subjects and new subjects are exchangeable, the interval
contains y with a probability of at least 1 - alpha, for any model and any scale. The probability is over subjects and
calibrations; it does not hold for one given person. For a curve over the cycle, the score is the largest over its
frames, so that the band contains the whole curve at once.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from cof.cine.grid import resample_phase
from cof.heart.function import Function, ventricular_function

QUANTITIES = ("ef", "esv", "curve")
# Added to every spread (% of EF, mL), so that the scale is not zero where the members of an ensemble happen to agree.
FLOOR = 1.0


def conformal_quantile(scores: np.ndarray, miscoverage: float) -> float:
    """Return the score of rank ceil((n + 1)(1 - alpha)) among n scores; infinity if n is too small for that rank.

    Args:
        scores: [n], not negative; NaN (the error of the subject is undefined) counts as infinite.
        miscoverage: alpha, the share of subjects that may lie outside the interval.
    """
    # Rounding must not push a whole number up: (9 + 1)(1 - .1) is 9.
    rank = math.ceil((len(scores) + 1) * (1 - miscoverage) - 1e-9)
    if rank > len(scores):
        return math.inf
    return float(np.sort(np.nan_to_num(scores, nan=math.inf, posinf=math.inf))[rank - 1])


def least_subjects(miscoverage: float) -> int:
    """Return the smallest n for which `conformal_quantile` is finite: n >= (1 - alpha) / alpha."""
    return math.ceil((1 - miscoverage) / miscoverage - 1e-9)


@dataclass(frozen=True)
class Scale:
    """The scale of a subject: the units in which its errors are measured.

    Attributes:
        ef: for EF, percentage points.
        esv: for ESV, mL.
        curve: for the volume curve, mL per frame, [T].
    """

    ef: float
    esv: float
    curve: np.ndarray

    @classmethod
    def of(cls, measures: Mapping[str, Any], frames: int) -> Self:
        """Return the scale from the spread of an ensemble; for other models it is the same for every subject.

        Args:
            measures: the measures in the sidecar of the generated heart.
            frames: T of the curve.
        """
        curve = np.asarray(measures.get("lv_curve_sd_ml", [0.0]), np.float64)
        return cls(
            FLOOR + measures.get("ef_sd_pct", 0.0),
            FLOOR + measures.get("esv_sd_ml", 0.0),
            FLOOR + resample_phase(curve, frames).astype(np.float64),
        )


def scores(ours_ml: np.ndarray, theirs_ml: np.ndarray, scale: Scale) -> dict[str, float]:
    """Return the score of each of `QUANTITIES`.

    Args:
        ours_ml: LV volume curve [T] of the generated heart; frame 0 is ED.
        theirs_ml: LV volume curve of the real heart, with any number of frames.
        scale: scale of the subject.
    """
    ours, theirs = _function(ours_ml), _function(theirs_ml)
    matched = theirs_ml if len(theirs_ml) == len(ours_ml) else resample_phase(theirs_ml, len(ours_ml))
    off = np.abs(ours_ml - matched)
    return {
        "ef": abs(ours.ef_pct - theirs.ef_pct) / scale.ef,
        "esv": abs(ours.esv_ml - theirs.esv_ml) / scale.esv,
        "curve": float((off / scale.curve).max()),
    }


def _function(curve_ml: np.ndarray) -> Function:
    return ventricular_function(curve_ml, rr_ms=1.0)


@dataclass(frozen=True)
class Intervals:
    """The calibration of one model.

    Attributes:
        miscoverage: the share of subjects that may lie outside the interval.
        subjects: number n of calibration subjects.
        quantiles: q by quantity; infinite if n is too small.
    """

    miscoverage: float
    subjects: int
    quantiles: Mapping[str, float]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file that `cof.metrics.calibration.calibrate` wrote."""
        record = json.loads(path.read_text())
        quantiles = {name: math.inf if value is None else float(value) for name, value in record["quantiles"].items()}
        return cls(float(record["miscoverage"]), int(record["subjects"]), quantiles)

    def half_widths(self, scale: Scale) -> dict[str, np.ndarray]:
        """Return half the width of a subject's interval for each quantity: %, mL, and [T] mL."""
        return {name: self.quantiles[name] * np.asarray(getattr(scale, name)) for name in QUANTITIES}

    def around(self, ours_ml: np.ndarray, scale: Scale) -> dict[str, Any]:
        """Return the intervals of one heart as JSON values, clipped to possible values; None where unbounded.

        Args:
            ours_ml: LV volume curve [T] of the generated heart; frame 0 is ED.
            scale: scale of the subject.
        """
        half = self.half_widths(scale)
        function = _function(ours_ml)
        values = {"ef": function.ef_pct, "esv": function.esv_ml, "curve": ours_ml}
        top = {"ef": 100.0, "esv": math.inf, "curve": math.inf}

        def plain(value: Any) -> Any:
            rounded = np.round(np.asarray(value, float), 2)
            return np.where(np.isfinite(rounded), rounded, None).tolist()  # type: ignore[call-overload]

        found: dict[str, Any] = {"coverage": round(1 - self.miscoverage, 6), "calibration_subjects": self.subjects}
        for name, unit in (("ef", "pct"), ("esv", "ml"), ("curve", "ml")):
            bounded = math.isfinite(self.quantiles[name])
            low = np.maximum(values[name] - half[name], 0.0) if bounded else np.full_like(half[name], math.nan)
            high = np.minimum(values[name] + half[name], top[name]) if bounded else np.full_like(half[name], math.nan)
            found[f"{name}_{unit}"] = {"value": plain(values[name]), "low": plain(low), "high": plain(high)}
        found["note"] = (
            "Calibrated on validation subjects of the training cohort. The coverage is a share of many people with "
            "scans like those; it does not hold for one given person."
            if all(map(math.isfinite, self.quantiles.values()))
            else f"No bound: {self.subjects} validation subjects are too few; at least "
            f"{least_subjects(self.miscoverage)} are needed."
        )
        return found
