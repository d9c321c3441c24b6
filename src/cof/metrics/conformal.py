"""Split-conformal intervals (Papadopoulos et al., ECML 2002; Lei et al., JASA 113:1094, 2018), scaled for each subject.

A quantity y of a subject's real heart is predicted by its generated one. The score of a calibration subject is its
error in units of its own scale, |y - predicted| / scale, and a new subject gets predicted +- q scale. With q the score
of rank ceil((n + 1)(1 - alpha)) among n, the interval holds y with a probability of at least 1 - alpha, whatever the
model and the scale are, if calibration subjects and new ones are exchangeable. The probability is over subjects and
calibrations, not for any one person. For a curve over the cycle, the score is the largest over its frames: the band
holds the whole curve at once.
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
# Added to every spread (% of EF, mL), so that members which happen to agree promise no certainty.
FLOOR = 1.0


def conformal_quantile(scores: np.ndarray, miscoverage: float) -> float:
    """The score of rank ceil((n + 1)(1 - alpha)) among n scores; infinite where n is too small for that rank.

    Args:
        scores: [n], at least 0; NaN, a subject whose error is not defined, counts as infinite.
        miscoverage: alpha, the share of subjects that may lie outside.
    """
    # Rounding must not push a whole number up: (9 + 1)(1 - .1) is 9.
    rank = math.ceil((len(scores) + 1) * (1 - miscoverage) - 1e-9)
    if rank > len(scores):
        return math.inf
    return float(np.sort(np.nan_to_num(scores, nan=math.inf, posinf=math.inf))[rank - 1])


def least_subjects(miscoverage: float) -> int:
    """The smallest n for which `conformal_quantile` is finite: n >= (1 - alpha) / alpha."""
    return math.ceil((1 - miscoverage) / miscoverage - 1e-9)


@dataclass(frozen=True)
class Scale:
    """The unit in which a subject's errors count.

    Attributes:
        ef: % of EF.
        esv: mL.
        curve: mL for each frame, [T].
    """

    ef: float
    esv: float
    curve: np.ndarray

    @classmethod
    def of(cls, measures: Mapping[str, Any], frames: int) -> Self:
        """From the spread that an ensemble measured; of a model without one, the same for every subject.

        Args:
            measures: of the generated heart's sidecar.
            frames: T of the curve.
        """
        curve = np.asarray(measures.get("lv_curve_sd_ml", [0.0]), np.float64)
        return cls(
            FLOOR + measures.get("ef_sd_pct", 0.0),
            FLOOR + measures.get("esv_sd_ml", 0.0),
            FLOOR + resample_phase(curve, frames).astype(np.float64),
        )


def scores(ours_ml: np.ndarray, theirs_ml: np.ndarray, scale: Scale) -> dict[str, float]:
    """The score of each of `QUANTITIES`.

    Args:
        ours_ml: LV volume curve [T] of the generated heart, frame 0 ED.
        theirs_ml: of the real heart, of any number of frames.
        scale: of the subject.
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
    """A calibration of one model.

    Attributes:
        miscoverage: the share of subjects that may lie outside.
        subjects: n of the calibration.
        quantiles: q by quantity; infinite where n is too small.
    """

    miscoverage: float
    subjects: int
    quantiles: Mapping[str, float]

    @classmethod
    def read(cls, path: Path) -> Self:
        """What `cof.metrics.calibration.calibrate` wrote."""
        record = json.loads(path.read_text())
        quantiles = {name: math.inf if value is None else float(value) for name, value in record["quantiles"].items()}
        return cls(float(record["miscoverage"]), int(record["subjects"]), quantiles)

    def half_widths(self, scale: Scale) -> dict[str, np.ndarray]:
        """Half the width of each quantity's interval for a subject: %, mL, and [T] mL."""
        return {name: self.quantiles[name] * np.asarray(getattr(scale, name)) for name in QUANTITIES}

    def around(self, ours_ml: np.ndarray, scale: Scale) -> dict[str, Any]:
        """The intervals of one heart as JSON values, cut off at what is possible; None where there is no bound.

        Args:
            ours_ml: LV volume curve [T] of the generated heart, frame 0 ED.
            scale: of the subject.
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
            "Calibrated on validation subjects of the training cohort: it holds for people and scans like those, as a "
            "share of many, and not for any one person."
            if all(map(math.isfinite, self.quantiles.values()))
            else f"No bound: {self.subjects} validation subjects are too few; {least_subjects(self.miscoverage)} are "
            "the least."
        )
        return found
