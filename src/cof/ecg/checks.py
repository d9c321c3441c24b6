"""Checks of a strip: limb leads that contradict each other, flat leads, clipped leads."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from cof.config.data import EcgSettings
from cof.ecg.delineate import INDEPENDENT
from cof.ecg.leads import derive
from cof.ecg.record import LEADS, Ecg
from cof.errors import CofError, Reason

# At every heart rate of an awake person, two seconds hold a QRS complex.
_FLAT_S = 2.0
# A clipped lead runs steeply (the upstroke of a QRS complex has 50 mV/s and more) into the end of its range and stays
# there, while it reaches and leaves the natural top of a wave slowly. Far from the median, a lead may also drift into
# the end of its range.
_STEEP_MV_S = 20.0
_PLATEAU_SAMPLES = 3
_LONG_S = 0.1
_FAR_MV = 1.0


@dataclass(frozen=True)
class Checks:
    """Results of the checks of one strip.

    Attributes:
        einthoven_lsb: largest difference of III from II - I in counts of the file; NaN where III is not recorded.
        goldberger_lsb: largest difference of aVR, aVL and aVF from their values by I and II, in counts; NaN where none
            of them is recorded.
        limb_leads_consistent: whether both are within the tolerance.
        flat_share: the largest share of the strip, in pieces of 2 s, over which a recorded lead is flat.
        flat_leads: leads that are flat in at least one piece.
        clipped_share: the largest share of the samples of a recorded lead that lie at the end of its range.
        clipped_leads: leads that run into the end of their range.
    """

    einthoven_lsb: float
    goldberger_lsb: float
    limb_leads_consistent: bool
    flat_share: float
    flat_leads: tuple[str, ...]
    clipped_share: float
    clipped_leads: tuple[str, ...]

    def to_row(self) -> dict[str, Any]:
        """Return the checks as plain values for one row of `ecg/{batch}.parquet`."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}


def check(ecg: Ecg, settings: EcgSettings) -> Checks:
    """Check a strip.

    Raises:
        CofError: limb leads contradict each other, or an independent lead is flat or clipped, by more than
            `settings` allow.
    """
    signal = ecg.signal.astype(float)
    one, two = signal[LEADS.index("I")], signal[LEADS.index("II")]
    errors = {
        name: float(np.abs(signal[LEADS.index(name)] - expected).max())
        for name, expected in derive(one, two).items()
        if name in ecg.recorded
    }
    for name, error in errors.items():
        if error > settings.max_contradiction_mv:
            raise CofError(Reason.ECG_POOR_QUALITY, f"lead {name} contradicts leads I and II by {error:.2f} mV")
    lsb = {name: error / ecg.lsb_mv for name, error in errors.items()}
    flat = _flat(signal, ecg.rate_hz, settings.flat_mv)
    clipped = _clipped(signal, ecg.rate_hz, ecg.lsb_mv, settings.flat_mv)
    for shares, limit, word in ((flat, settings.max_flat, "flat"), (clipped, settings.max_clipped, "clipped")):
        worst = max(INDEPENDENT, key=lambda lead: shares[lead])
        if shares[worst] > limit:
            raise CofError(
                Reason.ECG_POOR_QUALITY, f"lead {LEADS[worst]} is {word} over {100 * shares[worst]:.0f} % of the strip"
            )
    recorded = [k for k, name in enumerate(LEADS) if name in ecg.recorded]
    return Checks(
        einthoven_lsb=lsb.get("III", float("nan")),
        goldberger_lsb=max((lsb[name] for name in ("aVR", "aVL", "aVF") if name in lsb), default=float("nan")),
        # The 0.1 is for rounding: signals are stored in single precision.
        limb_leads_consistent=max(lsb.values(), default=0.0) <= settings.einthoven_tolerance_lsb + 0.1,
        flat_share=float(flat[recorded].max()),
        flat_leads=tuple(LEADS[k] for k in recorded if flat[k] > 0),
        clipped_share=float(clipped[recorded].max()),
        clipped_leads=tuple(LEADS[k] for k in recorded if clipped[k] > 0),
    )


def _flat(signal: np.ndarray, rate_hz: float, flat_mv: float) -> np.ndarray:
    """Return the share of the pieces of each lead [12] whose range is less than `flat_mv`."""
    length = min(round(_FLAT_S * rate_hz), signal.shape[1])
    pieces = signal[:, : signal.shape[1] // length * length].reshape(len(signal), -1, length)
    return (np.ptp(pieces, axis=2) < flat_mv).mean(axis=1)


def _clipped(signal: np.ndarray, rate_hz: float, lsb_mv: float, flat_mv: float) -> np.ndarray:
    """Return the share of the samples of each lead [12] that lie on plateaus at its largest or smallest value."""
    return np.array(
        [
            0.0 if np.ptp(lead) < flat_mv else (_at_end(lead, rate_hz, lsb_mv) + _at_end(-lead, rate_hz, lsb_mv))
            for lead in signal
        ]
    )


def _at_end(lead: np.ndarray, rate_hz: float, lsb_mv: float) -> float:
    """Return the share of the samples [N] on plateaus at the largest value; a single plateau counts only if long."""
    top = lead.max()
    there = np.concatenate([[False], lead >= top - 0.5 * lsb_mv, [False]])
    starts, ends = np.flatnonzero(there[1:] & ~there[:-1]), np.flatnonzero(there[:-1] & ~there[1:])
    lengths = ends - starts
    before = top - lead[np.maximum(starts - 1, 0)]
    after = top - lead[np.minimum(ends, len(lead) - 1)]
    steep = np.maximum(before, after) >= _STEEP_MV_S / rate_hz
    long = lengths >= _LONG_S * rate_hz
    plateaus = (lengths >= _PLATEAU_SAMPLES) & steep | long & bool(top - np.median(lead) > _FAR_MV)
    return float(lengths[plateaus].sum() / len(lead)) if plateaus.sum() > 1 or (plateaus & long).any() else 0.0
