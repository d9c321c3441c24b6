"""Twelve-lead strips whose R peaks, shapes and disturbances are known exactly."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from cof.ecg.leads import derive
from cof.ecg.record import LEADS

# Waves of a beat: time from R and width in seconds, and mV in I, II, V1 to V6.
INDEPENDENT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
QRS_AND_T = (
    (-0.022, 0.006, (-0.05, -0.05, 0, 0, 0, -0.02, -0.05, -0.05)),
    (0.0, 0.009, (0.6, 1.0, 0.2, 0.4, 0.8, 1.3, 1.2, 0.9)),
    (0.024, 0.009, (-0.1, -0.15, -0.9, -1.2, -0.8, -0.4, -0.2, -0.1)),
    (0.26, 0.045, (0.2, 0.3, -0.05, 0.4, 0.5, 0.5, 0.4, 0.3)),
)
P = ((-0.16, 0.022, (0.1, 0.15, 0.05, 0.05, 0.06, 0.07, 0.07, 0.07)),)
SINUS = P + QRS_AND_T
# A beat from the right ventricle: wide, discordant, without P; as a paced one that begins 50 ms before R.
VENTRICULAR = (
    (0.0, 0.028, (1.3, -1.0, -1.2, -1.6, -1.2, 0.4, 1.0, 1.1)),
    (0.05, 0.025, (0.5, -0.6, -0.5, -0.8, -0.6, 0.2, 0.5, 0.5)),
    (0.28, 0.05, (-0.4, 0.4, 0.5, 0.7, 0.5, -0.2, -0.4, -0.4)),
)
# What a pacing dipole shows in each lead, unlike in all of them.
PROJECTION = (0.5, 1.0, 0.3, -0.5, 0.6, -0.7, 0.8, 0.1)

Shape = Sequence[tuple[float, float, Sequence[float]]]


def strip(
    beats: Mapping[float, Shape] | Iterable[float], rate_hz: float, seconds: float = 10.0, noise_mv=0.004, shape=SINUS
) -> np.ndarray:
    """Twelve leads [12, N] mV of beats by the time of their R peak in s; without shapes, all of `shape`."""
    shapes = beats if isinstance(beats, Mapping) else dict.fromkeys(beats, shape)
    at = np.arange(round(seconds * rate_hz)) / rate_hz
    leads = noise_mv * np.random.default_rng(0).standard_normal((8, len(at)))
    for time, waves in shapes.items():
        for delay, width, heights in waves:
            leads += np.outer(heights, np.exp(-0.5 * ((at - time - delay) / width) ** 2))
    return twelve(leads)


def spikes(times: Iterable[float], rate_hz: float, mv: Sequence[float], seconds: float = 10.0) -> np.ndarray:
    """Pacing spikes [12, N] that begin at `times`, with the values `mv` in lead II at consecutive samples."""
    leads = np.zeros((8, round(seconds * rate_hz)))
    for time in times:
        first = round(time * rate_hz)
        leads[:, first : first + len(mv)] += np.outer(PROJECTION, mv)
    return twelve(leads)


def twelve(leads: np.ndarray) -> np.ndarray:
    """The leads I, II, V1 to V6 [8, N] with the four that follow from them."""
    named = dict(zip(INDEPENDENT, leads))
    named |= derive(named["I"], named["II"])
    return np.stack([named[name] for name in LEADS])


def every(rr: float, seconds: float = 10.0, first: float = 0.55) -> np.ndarray:
    """R peaks at one interval, those of a strip."""
    return np.arange(first, seconds - 0.1, rr)
