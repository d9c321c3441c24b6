"""Reference ranges of ventricular function in healthy adults, and the body surface area that indexes them.

All numbers are of one publication, in which papillary muscles are counted to the cavity: EF and indexed mass from its
abstract, volumes as public software that cites it holds them, not compared with its tables. They tell what is usual in
health. Whether a number can be that of a heart at all is another question, with far wider limits:
`cof.quality.plausibility`.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

SOURCE = "Petersen et al., J Cardiovasc Magn Reson 19:18, 2017"
DOI = "10.1186/s12968-017-0327-9"
AGES_Y = (45, 74)
POPULATION = (
    f"368 healthy men and 432 healthy women of UK Biobank, Caucasian, aged {AGES_Y[0]} to {AGES_Y[1]}; CMR at 1.5 T, "
    "short-axis bSSFP, papillary muscles counted to the cavity"
)
LIMITS = (
    "volumes: the widest 95 % limits of three age groups, by software that cites the publication; EF and mass: mean +- "
    "1.96 SD"
)
FORMULA = "Mosteller: square root of height in cm times weight in kg over 3600"

SEXES = {"F": "women", "M": "men"}
_TWO_SIDED_95 = 1.96


class Range(NamedTuple):
    """The limits between which 95 % of healthy adults lie."""

    low: float
    high: float

    def place(self, value: float) -> str:
        """Return "low" or "high" for a value outside the limits, and "" for one inside."""
        return "low" if value < self.low else "high" if value > self.high else ""


def _normal(mean: float, sd: float) -> Range:
    return Range(mean - _TWO_SIDED_95 * sd, mean + _TWO_SIDED_95 * sd)


# Ventricle and index, as in a heart's function -> sex -> range, in the unit that the index is named by.
ABSOLUTE: Mapping[tuple[str, str], Mapping[str, Range]] = {
    ("LV", "edv_ml"): {"F": Range(80, 175), "M": Range(93, 232)},
    ("LV", "esv_ml"): {"F": Range(25, 73), "M": Range(34, 103)},
    ("LV", "sv_ml"): {"F": Range(47, 110), "M": Range(49, 140)},
    ("LV", "ef_pct"): {"F": _normal(61, 5), "M": _normal(58, 5)},
    ("LV", "mass_g"): {"F": _normal(70, 13), "M": _normal(103, 21)},
    ("RV", "edv_ml"): {"F": Range(83, 192), "M": Range(99, 260)},
    ("RV", "esv_ml"): {"F": Range(26, 95), "M": Range(34, 135)},
}
# The same per m2 of body surface area.
INDEXED: Mapping[tuple[str, str], Mapping[str, Range]] = {
    ("LV", "edv_ml"): {"F": Range(50, 101), "M": Range(52, 117)},
    ("LV", "esv_ml"): {"F": Range(16, 43), "M": Range(19, 52)},
    ("LV", "sv_ml"): {"F": Range(29, 63), "M": Range(28, 70)},
    ("LV", "mass_g"): {"F": _normal(42, 7), "M": _normal(53, 9)},
    ("RV", "edv_ml"): {"F": Range(51, 110), "M": Range(55, 128)},
    ("RV", "esv_ml"): {"F": Range(16, 55), "M": Range(19, 67)},
}


def body_surface_m2(height_cm: float, weight_kg: float) -> float:
    """Compute the body surface area in m2 (Mosteller, N Engl J Med 317:1098, 1987); NaN where either is NaN."""
    return math.sqrt(height_cm * weight_kg / 3600)
