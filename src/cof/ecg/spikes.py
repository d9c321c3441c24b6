"""Spikes of a pacemaker: found by how they stand out of the samples around them, and bridged."""

from dataclasses import replace
from functools import cache

import numpy as np

from cof.ecg.delineate import INDEPENDENT
from cof.ecg.record import Ecg

# A pulse lasts .2 to 2 ms, and a little longer behind the filters of a recorder.
_WIDEST_MS = 6.0
# Below this rate a QRS complex has no more samples than a spike.
_LOWEST_HZ = 200.0
# All sizes are root sums of squares over the independent leads.
_SMALLEST_MV = 0.25
# How far a spike exceeds the strip's noise; what is rough around it once it is bridged; what the ECG spans there; and
# the difference of the levels on either side, which tells it from a step.
_OVER_NOISE, _OVER_ROUGHNESS, _OVER_SPAN, _OVER_STEP = 6.0, 3.5, 0.4, 1.2
_AROUND_MS = 12.0
# Fewer are some disturbance rather than pacing.
_FEWEST = 3


def without_spikes(ecg: Ecg) -> Ecg:
    """The ECG with its pacing spikes bridged; the same object where it has none."""
    spikes = find_spikes(ecg.signal, ecg.rate_hz)
    if len(spikes) < _FEWEST:
        return ecg
    signal = ecg.signal.astype(float)
    for first, width in spikes:
        signal[:, first : first + width] = _across(signal, first, width)
    repair = f"{len(spikes)} pacing spikes found and bridged"
    return replace(
        ecg, signal=signal.astype(np.float32), pacing_spikes=len(spikes), repairs=(*ecg.repairs, repair)
    )


def find_spikes(signal: np.ndarray, rate_hz: float) -> list[tuple[int, int]]:
    """First sample and number of samples of each spike in [12, N] mV, in order.

    A spike is a group of samples, 6 ms at most, that departs from the cubic through the two samples on either side of
    it. Once it is bridged, what remains around it must be smooth and small: the peak of a steep QRS complex departs from
    such a cubic, too, but so do the samples beside it, and all of them by a small part of what the complex spans.
    """
    leads = signal[list(INDEPENDENT)].astype(float)
    around = max(round(_AROUND_MS * rate_hz / 1000), 4)
    widest = max(round(_WIDEST_MS * rate_hz / 1000), 2)
    if rate_hz < _LOWEST_HZ or leads.shape[1] < 2 * around + widest:
        return []
    noise = float(np.median(_departure(leads, 1)))
    taken = np.zeros(leads.shape[1], bool)
    found = []
    # The narrowest that does: a wider group around a spike departs from the cubic as well.
    for width in range(1, widest + 1):
        size = _departure(leads, width)
        largest = np.concatenate([[True], size[1:] >= size[:-1]]) & np.concatenate([size[:-1] > size[1:], [True]])
        for first in np.flatnonzero(largest & (size > max(_SMALLEST_MV, _OVER_NOISE * noise))) + 2:
            near = slice(max(first - around, 0), first + width + around)
            if taken[max(first - 2, 0) : first + width + 2].any():
                continue
            rest = leads[:, near].copy()
            at = first - near.start
            rest[:, at : at + width] = _across(leads, first, width)
            span = np.linalg.norm(np.ptp(rest, axis=1))
            step = np.linalg.norm(leads[:, first + width] - leads[:, first - 1])
            rough = _departure(rest, 1).max()
            if size[first - 2] > max(_OVER_SPAN * span, _OVER_ROUGHNESS * rough, _OVER_STEP * step):
                taken[first : first + width] = True
                found.append((int(first), width))
    return sorted(found)


def _across(leads: np.ndarray, first: int, width: int) -> np.ndarray:
    """The cubic through the two samples on either side of a group, at its samples: [leads, width]."""
    beside = leads[:, [first - 2, first - 1, first + width, first + width + 1]]
    return beside @ _weights(width).T


def _departure(leads: np.ndarray, width: int) -> np.ndarray:
    """The largest departure, within each group of `width` samples, from the cubic across it: [N - width - 3] mV.

    The first group begins at the third sample, the last ends two samples before the end.
    """
    groups = leads.shape[1] - width - 3
    beside = np.stack([leads[:, start : start + groups] for start in (0, 1, width + 2, width + 3)], axis=-1)
    departures = [
        np.linalg.norm(leads[:, 2 + k : 2 + k + groups] - beside @ weights, axis=0)
        for k, weights in enumerate(_weights(width))
    ]
    return np.max(departures, axis=0)


@cache
def _weights(width: int) -> np.ndarray:
    """Lagrange's weights [width, 4] of the samples -2, -1, width and width + 1 at the samples 0 to width - 1."""
    at, nodes = np.arange(width)[:, None], np.array([-2.0, -1.0, width, width + 1.0])
    return np.stack(
        [
            np.prod((at - np.delete(nodes, k)) / (node - np.delete(nodes, k)), axis=1)
            for k, node in enumerate(nodes)
        ],
        axis=1,
    )
