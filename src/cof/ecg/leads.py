"""Assembly of twelve leads: the eight independent ones of a file, and the four that follow from I and II."""

from collections.abc import Mapping

import numpy as np

from cof.config.data import EcgSettings
from cof.ecg.delineate import INDEPENDENT
from cof.ecg.record import LEADS
from cof.errors import CofError, Reason

# Electrode potentials differ by at most 0.3 V; a larger amplitude means another unit.
_LARGEST_MV = 1000.0

_ALIASES = {"1": "I", "2": "II", "3": "III"}
_CANONICAL = {lead.upper(): lead for lead in LEADS}


def canonical(name: str) -> str | None:
    """Return a lead's name as in `LEADS`, whatever its case, or for 1, 2, 3; None for other channels."""
    name = name.strip().upper()
    return _CANONICAL.get(_ALIASES.get(name, name))


def derive(one: np.ndarray, two: np.ndarray) -> dict[str, np.ndarray]:
    """Return the leads that follow from I and II: III = II - I (Einthoven); aVR, aVL and aVF (Goldberger)."""
    return {"III": two - one, "aVR": -(one + two) / 2, "aVL": one - two / 2, "aVF": two - one / 2}


def assemble(leads: Mapping[str, np.ndarray], rate_hz: float, settings: EcgSettings) -> np.ndarray:
    """Return the 12-lead signal, float32 [12, N] mV; III, aVR, aVL and aVF are derived where the file lacks them.

    Args:
        leads: mV, [N] each, by the names of `LEADS`.
        rate_hz: sampling rate.
        settings: shortest signal that is accepted.

    Raises:
        CofError: a lead is missing, of another length, not finite, far too large or too short.
    """
    missing = [LEADS[k] for k in INDEPENDENT if LEADS[k] not in leads]
    if missing:
        raise CofError(Reason.ECG_LEAD_MISSING, f"the file has no lead {', '.join(missing)}")
    lengths = {len(samples) for samples in leads.values()}
    if len(lengths) > 1:
        raise CofError(Reason.ECG_UNREADABLE, f"leads have different lengths: {sorted(lengths)} samples")
    for name, samples in leads.items():
        if not np.isfinite(samples).all():
            raise CofError(Reason.ECG_NOT_FINITE, f"lead {name} has samples that are not numbers")
    length = lengths.pop()
    if length < 2 or length < settings.min_seconds * rate_hz:
        raise CofError(
            Reason.ECG_TOO_SHORT,
            f"the signal lasts {length / rate_hz:.1f} s; at least {settings.min_seconds:g} s are needed",
        )
    complete = derive(leads["I"], leads["II"]) | dict(leads)
    signal = np.stack([complete[name] for name in LEADS])
    if np.abs(signal).max() > _LARGEST_MV:
        raise CofError(Reason.ECG_UNITS, f"amplitudes of {np.abs(signal).max():.3g} mV are not those of an ECG")
    return signal.astype(np.float32)
