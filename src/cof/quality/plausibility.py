"""Plausibility checks: whether numbers can be those of a heart, with the limits of each and their source.

A check does not detect disease, but labels that have lost a ventricle. Its limits are therefore far outside the
published normal ranges: wide enough for dilated, hypertrophied, failing and small hearts. `benchmarks/plausibility`
measures how often hearts that experts labelled cause a warning (docs/science/method.md).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cof.config.base import Triple
from cof.heart import reference_ranges
from cof.heart.function import myocardial_mass, volume_curve
from cof.heart.structures import STRUCTURES

NORMAL = f"{reference_ranges.SOURCE} (normal hearts of UK Biobank)"
DISEASE = "Bernard et al., IEEE Trans Med Imaging 37:2514, 2018 (ACDC: hearts of five groups labelled by experts)"
NORMAL_AND_DISEASE = f"wide ranges around {NORMAL} and {DISEASE}"

# With at least so many frames, the labels are of a cycle and not only of ED and ES.
_CYCLE = 8
_UNKNOWN = float("nan")


@dataclass(frozen=True)
class Heart:
    """Measurements of one heart that the checks read.

    Attributes:
        lv_ml, rv_ml: volumes [T] of the ventricles, frame 0 at ED; one frame for an anchor.
        mass_g: mass of the LV's wall at ED.
        rr_scan_ms: RR interval of the scan; NaN where there is none.
        rr_ecg_ms: RR interval of the chosen ECG cycle; NaN where there is none.
    """

    lv_ml: np.ndarray
    rv_ml: np.ndarray
    mass_g: float
    rr_scan_ms: float = _UNKNOWN
    rr_ecg_ms: float = _UNKNOWN

    @classmethod
    def of(
        cls, labels: np.ndarray, spacing_mm: Triple, rr_scan_ms: float = _UNKNOWN, rr_ecg_ms: float = _UNKNOWN
    ) -> "Heart":
        """Measure the heart in labels [T, Z, Y, X] with voxel spacing (z, y, x)."""
        lv, rv = (volume_curve(labels, STRUCTURES[name], spacing_mm) for name in ("LV", "RV"))
        mass = myocardial_mass(labels[0], STRUCTURES["myocardium"], spacing_mm)
        return cls(lv, rv, mass, rr_scan_ms, rr_ecg_ms)


@dataclass(frozen=True)
class Check:
    """One number of a heart, and the limits outside which it is not plausible.

    Attributes:
        key: name of its column in the table of plausibility.
        label: name in reports and messages.
        unit: unit; empty for a pure number.
        decimals: number of decimals to print.
        low, high: limits, which are plausible themselves; None for no limit.
        value: function that returns the number; NaN where it is not defined.
        definition: definition in one sentence.
        source: source of the limits.
        of_labels: whether the number is computed from labels.
    """

    key: str
    label: str
    unit: str
    decimals: int
    low: float | None
    high: float | None
    value: Callable[[Heart], float]
    definition: str
    source: str
    of_labels: bool = True

    @property
    def limits(self) -> str:
        """Limits in words."""
        unit = f" {self.unit}" if self.unit else ""
        if self.low is None:
            return f"at most {self.high:g}{unit}"
        return f"at least {self.low:g}{unit}" if self.high is None else f"{self.low:g} to {self.high:g}{unit}"

    def beyond(self, value: float) -> bool:
        """Tell whether a value is outside the limits; False for an unknown value (NaN)."""
        return (self.low is not None and value < self.low) or (self.high is not None and value > self.high)


@dataclass(frozen=True)
class Doubt:
    """A check that a heart did not pass, with its value."""

    check: Check
    value: float

    def __str__(self) -> str:
        unit = f" {self.check.unit}" if self.check.unit else ""
        return f"{self.check.label} {self.value:.{self.check.decimals}f}{unit}, plausible is {self.check.limits}"

    def of(self, labels: str) -> str:
        """Return the doubt in words, with the name of the labels if the number is computed from labels."""
        return f"{self} ({labels})" if self.check.of_labels else str(self)

    def record(self) -> dict[str, Any]:
        """Return the doubt as JSON values."""
        check = self.check
        return {
            "check": check.key,
            "message": str(self),
            "value": round(self.value, check.decimals + 2),
            "unit": check.unit,
            "low": check.low,
            "high": check.high,
            "source": check.source,
        }


def _stroke(curve_ml: np.ndarray) -> float:
    """Return the EDV minus the smallest volume, mL; NaN for a single frame."""
    return float(curve_ml[0] - curve_ml.min()) if len(curve_ml) > 1 else _UNKNOWN


def _ejection(curve_ml: np.ndarray) -> float:
    """Return the ejection fraction in per cent; NaN for a single frame or an EDV of 0."""
    return 100 * _stroke(curve_ml) / float(curve_ml[0]) if curve_ml[0] > 0 else _UNKNOWN


def _esv(heart: Heart) -> float:
    return float(heart.lv_ml.min()) if len(heart.lv_ml) > 1 else _UNKNOWN


def _stroke_ratio(heart: Heart) -> float:
    left, right = _stroke(heart.lv_ml), _stroke(heart.rv_ml)
    return right / left if left > 0 else _UNKNOWN


def _ed_excess(heart: Heart) -> float:
    """Return by how many per cent the largest volume exceeds that of frame 0."""
    curve = heart.lv_ml
    return 100 * float(curve.max() / curve[0] - 1) if len(curve) > 1 and curve[0] > 0 else _UNKNOWN


def _open(heart: Heart) -> float:
    """Return the step from the last frame to the first as a share of the range of the volumes."""
    curve = heart.lv_ml
    span = float(np.ptp(curve))
    return abs(float(curve[0] - curve[-1])) / span if len(curve) >= _CYCLE and span > 0 else _UNKNOWN


CHECKS = (
    Check(
        "lv_edv_ml", "LV EDV", "mL", 1, 60, 500, lambda heart: float(heart.lv_ml[0]),
        "Volume of the left ventricle at end diastole.", NORMAL_AND_DISEASE,
    ),
    Check(
        "lv_esv_ml", "LV ESV", "mL", 1, 8, 450, _esv,
        "Smallest volume of the left ventricle.", NORMAL_AND_DISEASE,
    ),
    Check(
        "lv_sv_ml", "LV SV", "mL", 1, 15, 200, lambda heart: _stroke(heart.lv_ml),
        "Stroke volume of the left ventricle, EDV minus ESV.", NORMAL_AND_DISEASE,
    ),
    Check(
        "lv_ef_pct", "LV EF", "%", 1, 5, 88, lambda heart: _ejection(heart.lv_ml),
        "Ejection fraction of the left ventricle.", NORMAL_AND_DISEASE,
    ),
    Check(
        "lv_mass_g", "LV mass", "g", 1, 30, 450, lambda heart: heart.mass_g,
        "Mass of the left ventricle's wall at end diastole.", NORMAL_AND_DISEASE,
    ),
    Check(
        "rv_edv_ml", "RV EDV", "mL", 1, 40, 500, lambda heart: float(heart.rv_ml[0]),
        "Volume of the right ventricle at end diastole.", NORMAL_AND_DISEASE,
    ),
    Check(
        "rv_ef_pct", "RV EF", "%", 1, 3, 90, lambda heart: _ejection(heart.rv_ml),
        "Ejection fraction of the right ventricle.", NORMAL_AND_DISEASE,
    ),
    Check(
        "sv_ratio", "RV SV over LV SV", "", 2, 0.15, 4, _stroke_ratio,
        "Stroke volume of the right divided by that of the left ventricle; 1 without regurgitation or shunt.",
        f"conservation of blood; wide enough for shunts, regurgitation, and the experts' own hearts of {DISEASE}",
    ),
    Check(
        "ed_excess_pct", "excess of a later LV volume over that at ED", "%", 1, None, 5, _ed_excess,
        "Excess of the largest LV volume of the cycle over that of frame 0, which is end diastole.",
        "definition of end diastole, with a margin for the noise of labels",
    ),
    Check(
        "open_curve", "LV volume's step from the last frame to the first", "of its range", 2, None, 0.5, _open,
        "Step of the LV volume from the last frame to the first, divided by the range over the cycle; a heart beat "
        "ends at the volume at which it began.",
        "periodicity; the margin allows fast hearts, and cines that end before the atrium contracts",
    ),
    Check(
        "rr_ratio", "RR interval of the ECG over that of the scan", "", 2, 0.67, 1.5,
        lambda heart: heart.rr_ecg_ms / heart.rr_scan_ms,
        "RR interval of the chosen ECG cycle divided by that of the scan.",
        "both are recorded at rest; a factor of 1.5 is 60 instead of 90 beats per minute", of_labels=False,
    ),
)  # fmt: skip


def measure(heart: Heart) -> dict[str, float]:
    """Return the value of every check by its key; NaN where it is not defined."""
    return {check.key: float(check.value(heart)) for check in CHECKS}


def doubts(values: Mapping[str, float]) -> list[Doubt]:
    """Return a doubt for every check that the values, by key, do not pass; a check without a value is passed."""
    found = ((check, values.get(check.key, _UNKNOWN)) for check in CHECKS)
    return [Doubt(check, float(value)) for check, value in found if check.beyond(float(value))]
