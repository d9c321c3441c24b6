"""Every measure of quality: its name, unit, which way is worse, its definition and its reason code, in one place."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cof.config.data import QualityLimits
from cof.errors import Reason


@dataclass(frozen=True)
class Measure:
    """One column of `quality/{batch}.parquet`.

    Attributes:
        key: its column, and its name in `quality.flag` and `quality.exclude` of the configuration.
        label: what people read.
        unit: empty for a pure number.
        worse: which way is worse.
        decimals: digits printed after the point.
        definition: one sentence.
        reason: of the exclusion of a subject beyond `quality.exclude`.
    """

    key: str
    label: str
    unit: str
    worse: Literal["high", "low"]
    decimals: int
    definition: str
    reason: Reason

    def beyond(self, value: float, limit: float | None) -> bool:
        """Whether a value is worse than its limit; an unknown value (NaN) is not, nor is any without a limit."""
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
        "Leads whose mean correlation with their mean beat is below .66. A loose limb electrode spoils three at least.",
        Reason.QUALITY_ECG,
    ),
    Measure(
        "beat_correlation",
        "beat correlation",
        "",
        "low",
        3,
        "Mean correlation over leads of the chosen cycle with the strip's median cycle, from beats; 1 is best.",
        Reason.QUALITY_BEAT,
    ),
    Measure(
        "irregular",
        "irregular rhythm",
        "",
        "high",
        0,
        "1 for an irregular rhythm, in which no cycle stands for the others, else 0; from beats.",
        Reason.QUALITY_RHYTHM,
    ),
    Measure(
        "rate_mismatch_bpm",
        "heart rate mismatch",
        "bpm",
        "high",
        0,
        "Difference of the heart rates of the chosen ECG cycle and of the scan.",
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
        "Area of the LV with its wall in the first slice at ED over its largest; 0 where the stack begins above it.",
        Reason.QUALITY_BASE,
    ),
    Measure(
        "apex_cut",
        "apex cut off",
        "",
        "high",
        2,
        "Area of the LV with its wall in the last slice at ED over its largest; 0 where the stack ends beyond it.",
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
        "Strength of the strongest shifted copy that beats with the LV, as a share of it.",
        Reason.QUALITY_GHOST,
    ),
    Measure(
        "closure",
        "open cycle",
        "",
        "high",
        2,
        "Step from the last recorded frame to the first over the largest step within the cycle; above 1 time is lost.",
        Reason.QUALITY_CLOSURE,
    ),
    Measure(
        "dropout",
        "signal dropout",
        "",
        "high",
        3,
        "Largest share of its signal that a slice loses, against its own cycle or its neighbours; 1 is a black image.",
        Reason.QUALITY_DROPOUT,
    ),
    Measure(
        "label_trust",
        "trust in the labels",
        "",
        "low",
        2,
        "Agreement of the labeller with itself in other views of the heart, and how far muscle rings the LV; the "
        "smaller of ED and ES; 1 is best.",
        Reason.QUALITY_LABELS,
    ),
)


def beyond(values: Mapping[str, float], limits: QualityLimits) -> list[Measure]:
    """The measures by which a subject, a row of `quality/{batch}.parquet`, is beyond the limits."""
    return [measure for measure in MEASURES if measure.beyond(values[measure.key], getattr(limits, measure.key))]
