"""Detection of pacemaker spikes, which stand out from the samples around them, and their removal by a cubic."""

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np

from cof.ecg.delineate import INDEPENDENT
from cof.ecg.record import Ecg

# A pulse lasts 0.2 to 2 ms, and a little longer after the filters of a recorder.
_WIDEST_MS = 6.0
# Below this sampling rate a QRS complex has no more samples than a spike.
_LOWEST_HZ = 200.0
# All sizes are root sums of squares over the independent leads.
_SMALLEST_MV = 0.25
# The size of a spike must exceed these multiples of: the strip's noise; the roughness around it after bridging; the
# range of the ECG there; and the difference of the levels on its two sides, which distinguishes it from a step.
_OVER_NOISE, _OVER_ROUGHNESS, _OVER_SPAN, _OVER_STEP = 6.0, 3.5, 0.4, 1.2
_AROUND_MS = 12.0
_CLOSE_MS = 5.0  # the same around each of two spikes in quick succession
# Of overlapping groups the most prominent is taken; one more sample must raise the prominence by this factor.
_WIDER = 1.5
# If a larger share of the samples is rough, they are noise, not spikes.
_MOST_SHARP = 0.1
# Fewer spikes are a disturbance rather than pacing.
_FEWEST = 3


def without_spikes(ecg: Ecg) -> Ecg:
    """Return the ECG with its pacing spikes bridged; the same object where it has none."""
    spikes = find_spikes(ecg.signal, ecg.rate_hz)
    if len(spikes) < _FEWEST:
        return ecg
    signal = ecg.signal.astype(float)
    for first, width in spikes:
        signal[:, first : first + width] = _across(signal, first, width)
    repair = f"{len(spikes)} pacing spikes found and bridged"
    return replace(ecg, signal=signal.astype(np.float32), pacing_spikes=len(spikes), repairs=(*ecg.repairs, repair))


def find_spikes(signal: np.ndarray, rate_hz: float) -> list[tuple[int, int]]:
    """Return the first sample and the number of samples of each spike in [12, N] mV, in order.

    A spike is a group of samples, of 6 ms at most, that departs from the cubic through the two samples on either side
    of it. After the cubic has replaced the group, the signal around it must be smooth and small. The peak of a steep
    QRS complex departs from such a cubic, too, but so do the samples beside it, and all of them only by a small part of
    the range of the complex.
    """
    leads = signal[list(INDEPENDENT)]
    samples = leads.shape[1]
    widest = max(round(_WIDEST_MS * rate_hz / 1000), 2)
    around, close = (max(round(ms * rate_hz / 1000), 4) for ms in (_AROUND_MS, _CLOSE_MS))
    if rate_hz < _LOWEST_HZ or samples < 2 * around + widest:
        return []
    rough = _roughness(leads)
    noise = float(np.median(rough))
    # The edges of a spike are rough; the smooth parts, most of a strip, are not examined further.
    sharp = np.flatnonzero(rough > max(_SMALLEST_MV / 5, 2 * noise)) + 2
    if not 0 < len(sharp) <= _MOST_SHARP * samples:
        return []
    found = _most_prominent(_groups(leads, rough, noise, sharp, around, widest), samples)
    if np.count_nonzero(rough > _SMALLEST_MV) < 2:
        return found
    # With two spikes in quick succession, as when both ventricles are paced, each makes the other's surroundings rough.
    singles = _most_prominent(_groups(leads, rough, noise, sharp, close, widest), samples)
    for one, other in pairwise(singles):
        first, last = one[0], sum(other)
        if 2 <= other[0] - sum(one) <= around and _are_spikes(leads, one, other, around):
            found = [
                group for group in found if sum(group) <= first or group[0] >= last
            ]  # drops what lies between them
            found += [one, other]
    return sorted(found)


def _groups(
    leads: np.ndarray, rough: np.ndarray, noise: float, sharp: np.ndarray, around: int, widest: int
) -> list[tuple[float, int, int]]:
    """Find the groups that depart from the cubic across them as spikes do: prominence, first sample, width in samples.

    Args:
        leads: independent leads, [8, N] mV.
        rough: roughness of all samples but two at either end, [N - 4] mV.
        noise: median roughness, mV.
        sharp: rough samples; every group has at least one.
        around: number of samples on either side that must be smooth after a group is bridged.
        widest: number of samples of the widest group.
    """
    samples = leads.shape[1]
    roughest = np.zeros(samples + 2 * around)  # index k + around for sample k
    roughest[around + 2 : -around - 2] = rough
    beside = np.arange(
        2, around - 2
    )  # offsets from the first sample of a window that bridging the group does not change
    ranked = []
    for width in range(1, widest + 1):
        firsts = np.unique(sharp[:, None] - np.arange(width))
        firsts = firsts[(firsts >= 2) & (firsts + width + 2 <= samples)]
        # Most groups lie in a QRS complex, where the samples beside them are as rough; drop them before the costly part
        windows = firsts[:, None] + np.concatenate([beside, beside + width + around])
        least = np.maximum(
            _OVER_ROUGHNESS * roughest[windows].max(axis=1, initial=0), max(_SMALLEST_MV, _OVER_NOISE * noise)
        )
        within = roughest[firsts[:, None] + around + np.arange(width)].max(axis=1)
        possible = _largest_departure(width) * within > least
        firsts, least = firsts[possible], least[possible]
        size = _size(leads[:, firsts[:, None] + np.arange(-2, width + 2)].astype(float), 2, width)
        firsts, size = firsts[size > least], size[size > least]
        if not len(firsts):
            continue
        near = np.clip(firsts[:, None] + np.arange(-around, width + around), 0, samples - 1)
        limit = _surroundings(leads[:, near].astype(float), around, width)
        spiky = size > limit
        prominence = size[spiky] / np.maximum(limit[spiky], 1e-9) / _WIDER**width
        ranked += [(float(rank), int(first), width) for rank, first in zip(prominence, firsts[spiky])]
    return ranked


def _most_prominent(ranked: list[tuple[float, int, int]], samples: int) -> list[tuple[int, int]]:
    """Return, of groups that overlap or touch, the most prominent: first sample and width in samples, in order."""
    taken = np.zeros(samples, bool)
    found = []
    for _, first, width in sorted(ranked, reverse=True):
        if not taken[first - 2 : first + width + 2].any():
            taken[first : first + width] = True
            found.append((first, width))
    return sorted(found)


def _are_spikes(leads: np.ndarray, one: tuple[int, int], other: tuple[int, int], around: int) -> bool:
    """Tell whether, after both groups are bridged, the signal around them is smooth and small compared with either."""
    at = np.clip(np.arange(one[0] - around, sum(other) + around), 0, leads.shape[1] - 1)
    rest = leads[:, at].astype(float)
    sizes = []
    for first, width in ((first - one[0] + around, width) for first, width in (one, other)):
        sizes.append(float(_size(rest[:, None], first, width)[0]))
        rest[:, first : first + width] = _across(rest, first, width)
    span, rough = float(np.linalg.norm(np.ptp(rest, axis=-1))), float(_roughness(rest).max())
    return min(sizes) > max(_OVER_SPAN * span, _OVER_ROUGHNESS * rough)


def _size(near: np.ndarray, first: int, width: int) -> np.ndarray:
    """Return how far the samples `first` to `first + width` of [8, K, M] mV depart from the cubics across, [K] mV."""
    departure = near[..., first : first + width] - _across(near, first, width)
    return np.sqrt(np.einsum("lkw,lkw->kw", departure, departure).max(axis=-1, initial=0))


def _surroundings(near: np.ndarray, first: int, width: int) -> np.ndarray:
    """Return the departure above which each group is a spike, [K] mV.

    Args:
        near: leads around each group, [8, K, M] mV.
        first: index in M at which the groups begin.
        width: number of samples of the groups.
    """
    rest = near.copy()
    rest[..., first : first + width] = _across(near, first, width)
    span = np.linalg.norm(np.ptp(rest, axis=-1), axis=0)
    step = np.linalg.norm(near[..., first + width] - near[..., first - 1], axis=0)
    rough = _roughness(rest).max(axis=-1)
    return np.max([_OVER_SPAN * span, _OVER_ROUGHNESS * rough, _OVER_STEP * step], axis=0)


def _across(leads: np.ndarray, first: int, width: int) -> np.ndarray:
    """Return the cubic through the two samples on either side of a group, at the group's samples: [..., width]."""
    return leads[..., [first - 2, first - 1, first + width, first + width + 1]] @ _weights(width).T


def _roughness(leads: np.ndarray) -> np.ndarray:
    """Return how far each sample but two at either end departs from the cubic through its neighbours, [..., N - 4]."""
    beside = (leads[..., 1:-3] + leads[..., 3:-1]) * (2 / 3) - (leads[..., :-4] + leads[..., 4:]) * (1 / 6)
    beside -= leads[..., 2:-2]
    return np.sqrt(np.einsum("l...,l...->...", beside, beside))


@cache
def _largest_departure(width: int) -> float:
    """Return the largest possible departure of a group from the cubic across it, per roughness of its samples.

    The roughness is a linear map of the departure, since a cubic has zero roughness.
    """
    rough = sum(
        np.eye(width, k=k) * weight for k, weight in ((0, 1), (1, -2 / 3), (-1, -2 / 3), (2, 1 / 6), (-2, 1 / 6))
    )
    return float(np.abs(np.linalg.inv(rough)).sum(axis=1).max()) * (1 + 1e-3)  # allows for rounding


@cache
def _weights(width: int) -> np.ndarray:
    """Return Lagrange's weights [width, 4] of samples -2, -1, width and width + 1 for the samples 0 to width - 1."""
    at, nodes = np.arange(width)[:, None], np.array([-2.0, -1.0, width, width + 1.0])
    return np.stack(
        [np.prod((at - np.delete(nodes, k)) / (node - np.delete(nodes, k)), axis=1) for k, node in enumerate(nodes)],
        axis=1,
    )
