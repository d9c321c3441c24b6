"""Sex, age and size of the patient, from what the user, the scan and the ECG state: the reference ranges need them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cof.ecg.record import stated_sex
from cof.errors import UsageError
from cof.heart.reference_ranges import FORMULA, body_surface_m2

# What a person can be: a value outside is a slip of the keyboard, or a header that was never filled in. The lower limit
# is excluded, since an age of 0 years is an empty field.
POSSIBLE = {"age_y": (0.0, 120.0, "years"), "height_cm": (40.0, 250.0, "cm"), "weight_kg": (2.0, 400.0, "kg")}
# kg per m2; from the thinnest to the most obese person who lives. Outside, height or weight is wrong.
POSSIBLE_BMI = (8.0, 120.0)
# Ages by ECG and scan of one visit differ by a year at most; the rest is for ages typed by hand.
SAME_AGE_Y = 3.0


@dataclass(frozen=True)
class Patient:
    """Sex, age and size of a patient, and who stated them.

    Attributes:
        sex: "F" or "M"; "" where it is not known.
        age_y, height_cm, weight_kg: age in years, height in cm and weight in kg; NaN where it is not known.
        by: who stated each of them, by its name: "option", "scan" or "ECG".
        remarks: statements that were not used, and contradictions, one sentence each.
    """

    sex: str = ""
    age_y: float = math.nan
    height_cm: float = math.nan
    weight_kg: float = math.nan
    by: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def bsa_m2(self) -> float:
        """Body surface area in m2; NaN unless height and weight are known."""
        return body_surface_m2(self.height_cm, self.weight_kg)

    def record(self) -> dict[str, Any]:
        """Return the patient as JSON values; what is not known is None."""
        sized = math.isfinite(self.bsa_m2)
        numbers = {name: getattr(self, name) for name in POSSIBLE}
        return {
            "sex": self.sex or None,
            **{name: round(value, 1) if math.isfinite(value) else None for name, value in numbers.items()},
            "bsa_m2": round(self.bsa_m2, 3) if sized else None,
            "bsa_formula": FORMULA if sized else None,
            "stated_by": dict(self.by),
            "remarks": list(self.remarks),
        }


def patient_of(stated: Mapping[str, Mapping[str, Any]]) -> Patient:
    """Put together what is stated about a patient: of each value, the statement of the first source that has it.

    A value that no person can have is left out with a remark, and so are height and weight that no person can have
    together. A height in cm where the format demands m, as some scanners write it, is taken as cm, with a remark. A
    remark also says if two sources state another sex, or ages more than `SAME_AGE_Y` apart.

    Args:
        stated: by source, in the order of precedence: `sex`, `age_y`, `height_cm`, `weight_kg`, where it states them.
    """
    found: dict[str, Any] = {}
    by: dict[str, str] = {}
    remarks = []
    for source, values in stated.items():
        for name, value in values.items():
            if name == "height_cm" and not _possible(name, value) and _possible(name, value / 100):
                value /= 100
                remarks.append(f"height {value:g} m by the {source}: taken as cm")
            if name in POSSIBLE and not _possible(name, value):
                remarks.append(f"{_words(name, value)} by the {source}: not used")
                continue
            if name not in found:
                found[name], by[name] = value, source
            elif _contradict(name, found[name], value):
                one, other = (stated if name == "sex" else f"{stated:g}" for stated in (found[name], value))
                said = f"{name.partition('_')[0]} {one} by the {by[name]}, {other} by the {source}"
                remarks.append(f"{said}: is it the same person?")
    if {"height_cm", "weight_kg"} <= found.keys() and not _possible_together(found["height_cm"], found["weight_kg"]):
        both = [f"{_words(name, found.pop(name))} by the {by.pop(name)}" for name in ("height_cm", "weight_kg")]
        remarks.append(f"{' and '.join(both)}: not used, since nobody has both")
    return Patient(**found, by=by, remarks=tuple(remarks))


def options_of(sex: str | None, age: float | None, height: float | None, weight: float | None) -> dict[str, Any]:
    """Return what the options of `cof twin` state.

    Raises:
        UsageError: the sex is neither F nor M, or a number is not that of a person, or height and weight are not.
    """
    given = {"sex": sex, "age_y": age, "height_cm": height, "weight_kg": weight}
    stated: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if sex is not None:
        stated["sex"] = stated_sex(sex)
        if not stated["sex"]:
            raise UsageError(f"--sex: '{sex}' is neither F nor M")
    for name, (low, high, unit) in POSSIBLE.items():
        if name in stated and not _possible(name, stated[name]):
            option = name.partition("_")[0]
            raise UsageError(f"--{option}: {stated[name]:g} is not above {low:g} and at most {high:g} {unit}")
    if height is not None and weight is not None and not _possible_together(height, weight):
        raise UsageError(f"nobody has --height {height:g} (in cm) and --weight {weight:g} (in kg)")
    return stated


def _contradict(name: str, one: Any, other: Any) -> bool:
    return one != other if name == "sex" else name == "age_y" and abs(one - other) > SAME_AGE_Y


def _possible(name: str, value: float) -> bool:
    low, high, _ = POSSIBLE[name]
    return low < value <= high


def _possible_together(height_cm: float, weight_kg: float) -> bool:
    low, high = POSSIBLE_BMI
    return low <= weight_kg / (height_cm / 100) ** 2 <= high


def _words(name: str, value: float) -> str:
    return f"{name.partition('_')[0]} {value:g} {POSSIBLE[name][2]}"
