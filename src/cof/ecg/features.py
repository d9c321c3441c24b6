"""Twelve standard measurements of one ECG cycle, as a cardiologist takes them: the ECG without its shape."""

import numpy as np

from cof.ecg.delineate import delineate
from cof.ecg.electrodes import frontal_axis
from cof.ecg.record import LEADS

# The suffix is the unit.
FEATURES = (
    "rate_bpm", "p_duration_ms", "pr_ms", "qrs_ms", "qt_ms", "p_axis_deg", "qrs_axis_deg", "t_axis_deg",
    "sokolow_lyon_mv", "cornell_mv", "st_level_mv", "t_amplitude_mv",
)  # fmt: skip

# The ST segment is read this long after the J point.
_ST_MS = 60.0


def ecg_features(beat: np.ndarray, rr_ms: float) -> np.ndarray:
    """Measure rate, intervals, axes, voltages, ST level and T amplitude of one cycle.

    Voltages: S in V1 + the larger R of V5, V6 (Sokolow and Lyon, 1949); R in aVL + S in V3 (Casale et al., Cornell,
    1985). ST level (60 ms after the J point) and T amplitude (the extremum of the T wave, with its sign) are means over
    V5 and V6. Axes are computed from the net areas of I and aVF.

    Args:
        beat: [12, L] mV relative to the isoelectric level, one cycle from R peak to R peak.
        rr_ms: duration of the cycle.

    Returns:
        float32 [12] in the order of `FEATURES`; NaN for what cannot be measured, such as the P wave in atrial
        fibrillation.
    """
    samples = beat.shape[1]
    rate_hz = 1000 * samples / rr_ms
    # The cycle is repeated, so that the waves on both sides of the R peak in the middle are whole.
    twice = np.concatenate([beat, beat], axis=1).astype(float)
    r = samples
    marks = delineate(twice, rate_hz, r, rr_ms)
    per_ms = rate_hz / 1000
    lead = {name: twice[index] for index, name in enumerate(LEADS)}

    def lasts(first: int | None, last: int | None) -> float:
        return float("nan") if first is None or last is None else (last - first) / per_ms

    def axis(first: int | None, last: int | None) -> float:
        if first is None or last is None or last <= first:
            return float("nan")
        return frontal_axis(twice[:, first:last].sum(axis=1))

    qrs = slice(marks.q_on, marks.q_off + 1)
    st = min(marks.q_off + round(_ST_MS * per_ms), 2 * samples - 1)
    t_wave = None if marks.t_off is None or marks.t_off <= st else (lead["V5"] + lead["V6"])[st : marks.t_off] / 2
    return np.array(
        [
            60_000 / rr_ms,
            lasts(marks.p_on, marks.p_off),
            lasts(marks.p_on, marks.q_on),
            lasts(marks.q_on, marks.q_off),
            lasts(marks.q_on, marks.t_off),
            axis(marks.p_on, marks.p_off),
            axis(marks.q_on, marks.q_off + 1),
            axis(st, marks.t_off),
            max(lead["V5"][qrs].max(), lead["V6"][qrs].max()) - lead["V1"][qrs].min(),
            lead["aVL"][qrs].max() - lead["V3"][qrs].min(),
            (lead["V5"][st] + lead["V6"][st]) / 2,
            float("nan") if t_wave is None else t_wave[np.argmax(np.abs(t_wave))],
        ],
        np.float32,
    )
