"""Twelve leads from what a file holds: the eight independent ones, and the four that follow from I and II."""

from collections.abc import Mapping

import numpy as np

from cof.config import EcgSettings
from cof.ecg.delineate import INDEPENDENT
from cof.ecg.record import LEADS
from cof.errors import CofError, Reason

_ALIASES = {"1": "I", "2": "II", "3": "III"}
_CANONICAL = {lead.upper(): lead for lead in LEADS}


def canonical(name: str) -> str | None:
    """A lead's name as in `LEADS`, from any capitals or from 1, 2, 3; None for other channels."""
    name = name.strip().upper()
    return _CANONICAL.get(_ALIASES.get(name, name))


def assemble(leads: Mapping[str, np.ndarray], lsb_mv: float, rate_hz: float, settings: EcgSettings) -> np.ndarray:
    """The checked 12-lead signal, float32 [12, N] mV.

    III = II - I (Einthoven); aVR = -(I + II) / 2, aVL = I - II / 2, aVF = II - I / 2 (Goldberger) are derived where the
    file lacks them and checked where it has them.

    Args:
        leads: mV, [N] each, by the names of `LEADS`.
        lsb_mv: one count of the file in mV, the unit of the tolerance.

    Raises:
        CofError: a lead is missing, broken off, not finite, flat, too short or contradicts I and II.
    """
    missing = [LEADS[k] for k in INDEPENDENT if LEADS[k] not in leads]
    if missing:
        raise CofError(Reason.ECG_LEAD_MISSING, f"no lead {', '.join(missing)}")
    lengths = {len(samples) for samples in leads.values()}
    if len(lengths) > 1:
        raise CofError(Reason.ECG_UNREADABLE, f"leads of different lengths: {sorted(lengths)} samples")
    for name, samples in leads.items():
        if not np.isfinite(samples).all():
            raise CofError(Reason.ECG_NOT_FINITE, f"lead {name} has samples that are no numbers")
    seconds = lengths.pop() / rate_hz
    if seconds < settings.min_seconds:
        raise CofError(
            Reason.ECG_TOO_SHORT, f"{seconds:.1f} s of signal, at least {settings.min_seconds:g} s are needed"
        )
    for k in INDEPENDENT:
        if np.ptp(leads[LEADS[k]]) < settings.flat_mv:
            raise CofError(Reason.ECG_POOR_QUALITY, f"lead {LEADS[k]} is flat")
    one, two = leads["I"], leads["II"]
    derived = {"III": two - one, "aVR": -(one + two) / 2, "aVL": one - two / 2, "aVF": two - one / 2}
    for name, expected in derived.items():
        error = np.abs(leads[name] - expected).max() / lsb_mv if name in leads else 0.0
        if error > settings.einthoven_tolerance_lsb + 1e-6:
            raise CofError(Reason.ECG_POOR_QUALITY, f"lead {name} contradicts leads I and II by {error:.1f} counts")
    complete = derived | dict(leads)
    return np.stack([complete[name] for name in LEADS]).astype(np.float32)
