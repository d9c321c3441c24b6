"""Repair of samples that a file marks as padding or invalid: held flat at the ends, interpolated in short gaps."""

from collections.abc import Mapping

import numpy as np
from scipy.interpolate import CubicSpline

from cof.config.data import EcgSettings
from cof.ecg.delineate import INDEPENDENT
from cof.ecg.record import LEADS
from cof.errors import CofError, Reason

# Over this time a cubic spline follows even the peak of a QRS complex; a longer gap may hide one.
_INTERPOLATED_MS = 10.0
_MOST_INTERPOLATED = 0.01


def without_gaps(
    leads: Mapping[str, np.ndarray], rate_hz: float, settings: EcgSettings
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Repair the gaps of leads; return the leads, and one sentence for each repair. Leads without gaps are unchanged.

    Gaps of at most 10 ms inside a lead are interpolated. Outside the longest stretch in which no lead has a longer gap,
    all leads hold the first and last values of the stretch, so that no beat is found there and times do not change. A
    limb lead that consists of gaps only is left out, since it follows from I and II.

    Args:
        leads: mV, [N] each; NaN where the file marks a sample as padding or invalid.
        rate_hz: sampling rate.
        settings: shortest signal that is accepted.

    Raises:
        CofError: an independent lead holds no signal, the stretch is shorter than `settings.min_seconds`, or more
            than a hundredth of a lead would be interpolated.
    """
    marked = {name: np.isnan(samples) for name, samples in leads.items()}
    if not any(mask.any() for mask in marked.values()) or len({len(mask) for mask in marked.values()}) > 1:
        return dict(leads), ()
    repairs = []
    empty = [name for name, mask in marked.items() if mask.all()]
    if set(empty) & {LEADS[k] for k in INDEPENDENT}:
        raise CofError(
            Reason.ECG_LEAD_MISSING, f"lead {', '.join(empty)} holds no signal: the file marks all of it as invalid"
        )
    if empty:
        repairs.append(f"lead {', '.join(empty)} holds no signal and is derived from I and II")
    kept = {name: samples for name, samples in leads.items() if name not in empty}
    longest_gap = max(round(_INTERPOLATED_MS * rate_hz / 1000), 1)
    long = np.any([_runs(marked[name], longest_gap) for name in kept], axis=0)
    first, last = _longest(~long)
    if last - first < settings.min_seconds * rate_hz:
        raise CofError(
            Reason.ECG_TOO_SHORT,
            f"the longest stretch without padding or invalid samples lasts {(last - first) / rate_hz:.1f} s; at least "
            f"{settings.min_seconds:g} s are needed",
        )
    if last - first < len(long):
        repairs.append(
            f"only the {(last - first) / rate_hz:.2f} s from {first / rate_hz:.2f} s on, of "
            f"{len(long) / rate_hz:.2f} s, are used: the rest is padding or invalid, and is held flat"
        )
    for name, samples in kept.items():
        gaps = marked[name]
        count = int(gaps[first:last].sum())
        if count > _MOST_INTERPOLATED * (last - first):
            share = 100 * count / (last - first)
            raise CofError(Reason.ECG_NOT_FINITE, f"{share:.0f} % of the samples of lead {name} are marked as invalid")
        if count:
            at = np.arange(len(samples))
            samples = samples.copy()
            samples[gaps & ~long] = CubicSpline(at[~gaps], samples[~gaps])(at[gaps & ~long])
            repairs.append(f"{count} samples of lead {name} are marked as invalid and interpolated")
        inside = np.arange(len(samples)).clip(first, last - 1)
        kept[name] = samples[inside] if last - first < len(samples) else samples
    return kept, tuple(repairs)


def _runs(mask: np.ndarray, longest: int) -> np.ndarray:
    """Return the part of `mask` [N] in runs that are longer than `longest` or touch either end."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    kept = np.zeros_like(mask)
    for start, end in edges.reshape(-1, 2):
        kept[start:end] = end - start > longest or start == 0 or end == len(mask)
    return kept


def _longest(mask: np.ndarray) -> tuple[int, int]:
    """Return the longest run of `mask` [N] as samples [first, last); an empty range where there is none."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8))).reshape(-1, 2)
    if not len(edges):
        return 0, 0
    start, end = edges[np.argmax(edges[:, 1] - edges[:, 0])]
    return int(start), int(end)
