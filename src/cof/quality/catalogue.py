"""The catalogue of quality measures: name, unit, direction, definition and reason code of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cof.config.data import QualityLimits
from cof.errors import Reason


@dataclass(frozen=True)
class Measure:
    """One column of `quality/{batch}.parquet`.

    Attributes:
        key: name of its column, and of its limits in `quality.flag` and `quality.exclude` of the configuration.
        label: name in reports and messages.
        unit: unit; empty for a pure number.
        worse: whether high or low values are worse.
        decimals: number of decimals to print.
        definition: definition in one or two sentences.
        reason: reason code of a subject beyond the limit of `quality.exclude`.
    """

    key: str
    label: str
    unit: str
    worse: Literal["high", "low"]
    decimals: int
    definition: str
    reason: Reason

    def beyond(self, value: float, limit: float | None) -> bool:
        """Tell whether a value is worse than its limit; False for an unknown value (NaN) and without a limit."""
        return limit is not None and (value > limit if self.worse == "high" else value < limit)


MEASURES = (
    Measure(
        "ecg_quality",
        "ECG quality",
        "",
        "low",
        3,
        "Median over the leads of the mean correlation of a lead's beats with their mean beat (NeuroKit2's template "
        "matching); 1 is best.",
        Reason.QUALITY_ECG,
    ),
    Measure(
        "ecg_noisy_leads",
        "noisy ECG leads",
        "",
        "high",
        0,
        "Leads whose mean correlation with their mean beat is below 0.66; a loose limb electrode spoils three or more.",
        Reason.QUALITY_ECG,
    ),
    Measure(
        "beat_correlation",
        "beat correlation",
        "",
        "low",
        3,
        "Mean over leads of the correlation of the chosen cycle with the strip's median cycle, from beats; 1 is best.",
        Reason.QUALITY_BEAT,
    ),
    Measure(
        "irregular",
        "irregular rhythm",
        "",
        "high",
        0,
        "1 for an irregular rhythm, in which no cycle represents the others, else 0; from beats.",
        Reason.QUALITY_RHYTHM,
    ),
    Measure(
        "rate_mismatch_bpm",
        "heart rate mismatch",
        "bpm",
        "high",
        0,
        "Absolute difference between the heart rates of the chosen ECG cycle and of the scan.",
        Reason.QUALITY_RATE,
    ),
    Measure(
        "slice_shift_mm",
        "slice shift",
        "mm",
        "high",
        1,
        "In-plane misalignment of neighbouring slices at ED, root mean square over the pairs.",
        Reason.QUALITY_SLICE_SHIFT,
    ),
    Measure(
        "base_cut",
        "base cut off",
        "",
        "high",
        2,
        "Area of LV and wall at ED in the first slice over the largest area; 0 if the stack begins above the LV.",
        Reason.QUALITY_BASE,
    ),
    Measure(
        "apex_cut",
        "apex cut off",
        "",
        "high",
        2,
        "Area of LV and wall at ED in the last slice over the largest area; 0 if the stack ends below the LV.",
        Reason.QUALITY_APEX,
    ),
    Measure(
        "blur",
        "blur",
        "",
        "high",
        3,
        "No-reference blur of the heart at ED, 0 (sharp) to 1, median over slices; compare within one protocol.",
        Reason.QUALITY_BLUR,
    ),
    Measure(
        "ghost",
        "ghosting",
        "",
        "high",
        3,
        "Strength of the strongest shifted copy that beats with the LV, as a share of the LV's own.",
        Reason.QUALITY_GHOST,
    ),
    Measure(
        "closure",
        "open cycle",
        "",
        "high",
        2,
        "Step from the last recorded frame to the first over the largest step in the cycle; above 1, time is missing.",
        Reason.QUALITY_CLOSURE,
    ),
    Measure(
        "dropout",
        "signal dropout",
        "",
        "high",
        3,
        "Largest share of its signal that a slice loses, relative to its cycle or its neighbours; 1 is a black image.",
        Reason.QUALITY_DROPOUT,
    ),
    Measure(
        "label_trust",
        "trust in the labels",
        "",
        "low",
        2,
        "Agreement of the labeller with itself on other views of the heart, and share of the LV that muscle encloses; "
        "the smaller value of ED and ES; 1 is best.",
        Reason.QUALITY_LABELS,
    ),
)


def beyond(values: Mapping[str, float], limits: QualityLimits) -> list[Measure]:
    """Return the measures by which a subject, a row of `quality/{batch}.parquet`, is beyond the limits."""
    return [measure for measure in MEASURES if measure.beyond(values[measure.key], getattr(limits, measure.key))]
