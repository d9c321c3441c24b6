"""ECG quality against noise of known strength."""

import math

import numpy as np
import pytest

from cof.errors import CofError
from cof.quality.rhythm import NOISY_LEAD, lead_quality, rate_mismatch_bpm

RATE = 500.0
GAINS = np.array([0.6, 1.0, 0.5, -0.8, 0.4, 0.7, -0.5, 0.6, 0.8, 1.1, 1.2, 0.9])


@pytest.fixture(scope="module")
def strip() -> np.ndarray:
    """A 10 s ECG [12, N] mV at 75 beats a minute, every beat the same and none cut by the ends."""
    times = np.arange(int(10 * RATE)) / RATE + 0.4
    waves = ((0.15, -0.16, 0.02), (1.1, 0.0, 0.011), (-0.25, 0.03, 0.012), (0.3, 0.28, 0.05))
    beat = sum(
        height * np.exp(-(((times + 0.4) % 0.8 - 0.4 - at) ** 2) / (2 * width**2)) for height, at, width in waves
    )
    return GAINS[:, None] * beat


def test_equal_beats_are_perfect(strip: np.ndarray) -> None:
    assert lead_quality(strip, RATE) == pytest.approx(np.ones(12), abs=0.01)


def test_quality_falls_with_noise(strip: np.ndarray) -> None:
    noise = np.random.default_rng(0).standard_normal(strip.shape)
    medians = [float(np.median(lead_quality(strip + level * noise, RATE, 75))) for level in (0, 0.1, 0.2, 0.4)]
    assert all(np.diff(medians) < -0.02)


def test_noisy_and_flat_leads_are_told_from_the_others(strip: np.ndarray) -> None:
    broken = strip.copy()
    broken[4] = 2 * np.random.default_rng(0).standard_normal(strip.shape[1])
    broken[7] = 0
    quality = lead_quality(broken, RATE, 75)
    assert set(np.flatnonzero(quality < NOISY_LEAD)) == {4, 7}
    assert quality[7] == 0


def test_a_strip_without_beats_is_an_error() -> None:
    with pytest.raises(CofError):
        lead_quality(np.zeros((12, 5000)), RATE)


def test_rate_mismatch() -> None:
    assert rate_mismatch_bpm(1000, 750) == pytest.approx(20)
    assert rate_mismatch_bpm(750, 1000) == pytest.approx(20)
    assert math.isnan(rate_mismatch_bpm(1000, math.nan))
