import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline

from cof.heart.function import (
    curve_correlation,
    curve_error,
    curve_shape,
    myocardial_mass,
    time_to_end_systole,
    ventricular_function,
    volume_curve,
)


def test_volume_is_count_times_voxel_volume() -> None:
    labels = np.zeros((2, 3, 10, 10), np.uint8)
    labels[0, :2] = 1
    labels[1, 0, :5] = 1
    assert volume_curve(labels, 1, (10.0, 1.5, 2.0)) == pytest.approx([200 * 0.03, 50 * 0.03])
    assert myocardial_mass(labels[0], 1, (10.0, 1.5, 2.0)) == pytest.approx(1.05 * 6)


def test_indices_of_a_curve() -> None:
    function = ventricular_function(np.array([150.0, 90, 60, 100, 152]), rr_ms=800)
    assert (function.edv_ml, function.esv_ml, function.sv_ml) == (150, 60, 90)
    assert function.ef_pct == pytest.approx(60)
    assert function.co_l_min == pytest.approx(90 * 75 / 1000)


def test_an_empty_ventricle_has_no_ejection_fraction() -> None:
    assert np.isnan(ventricular_function(np.zeros(5), 800).ef_pct)


def test_correlation_of_curves() -> None:
    curve = np.array([150.0, 90, 60, 100])
    assert curve_correlation(curve, 2 * curve + 5) == pytest.approx(1)
    assert np.isnan(curve_correlation(curve, np.full(4, 100.0)))


@settings(max_examples=30, deadline=None)
@given(st.floats(500, 1300), st.floats(50, 250), st.floats(10, 40), st.integers(20, 50))
def test_time_to_end_systole_of_a_cosine(rr_ms: float, edv: float, amplitude: float, frames: int) -> None:
    curve = edv - amplitude * (1 - np.cos(2 * np.pi * np.arange(frames) / frames)) / 2
    # V = EDV - SV (1 - cos) / 2 falls through ESV + .1 SV where cos = -.8; odd T misses the exact minimum by little.
    expected = np.arccos(-0.8) / (2 * np.pi) * rr_ms
    assert time_to_end_systole(curve, rr_ms) == pytest.approx(expected, rel=0.01)


def test_time_to_end_systole_scales_with_the_cycle_and_not_with_the_volume() -> None:
    phase = np.arange(25) / 25
    curve = 140 - 80 * np.sin(np.pi * phase**0.7) ** 2
    assert time_to_end_systole(curve, 1200) == pytest.approx(1.5 * time_to_end_systole(curve, 800))
    assert time_to_end_systole(3 * curve + 7, 800) == pytest.approx(time_to_end_systole(curve, 800))


def test_noise_on_the_plateau_moves_the_minimum_but_hardly_the_crossing() -> None:
    phase = np.arange(50) / 50
    down, up = np.clip(phase / 0.36, 0, 1), np.clip((phase - 0.48) / 0.3, 0, 1)
    curve = 150 - 90 * (np.sin(np.pi / 2 * down) ** 2 - np.sin(np.pi / 2 * up) ** 2)
    rng = np.random.default_rng(0)
    noisy = [curve + 0.5 * rng.standard_normal(50) for _ in range(40)]
    crossings = np.array([time_to_end_systole(c, 1000) for c in noisy]) - time_to_end_systole(curve, 1000)
    minima = np.array([1000 * phase[c.argmin()] for c in noisy])
    assert np.abs(crossings).mean() < 5
    assert minima.std() > 15


def test_a_heart_that_never_contracts_has_no_end_systole() -> None:
    assert np.isnan(time_to_end_systole(np.full(20, 120.0), 900))
    assert np.isnan(time_to_end_systole(120 + np.sin(np.pi * np.arange(20) / 20), 900))


def two_waves(atrial: float, frames: int = 100, second_wave: float = 0.8) -> np.ndarray:
    """A cycle from 150 to 60 mL, with ejection from .1 to .4 and filling from .45 to .7 and from `second_wave` on."""
    phase = np.arange(frames) / frames

    def rise(start: float, length: float) -> np.ndarray:
        x = np.clip((phase - start) / length, 0, 1)
        return x - np.sin(2 * np.pi * x) / (2 * np.pi)  # its steepest slope is 2 / length, at its middle

    return 150 - 90 * (rise(0.1, 0.3) - (1 - atrial) * rise(0.45, 0.25) - atrial * rise(second_wave, 0.15))


@pytest.mark.parametrize("atrial", [0.15, 0.3, 0.5])
def test_shape_of_a_curve_with_two_filling_waves(atrial: float) -> None:
    shape = curve_shape(two_waves(atrial), rr_ms=800)
    assert shape.peak_ejection_ml_s == pytest.approx(90 * 2 / 0.3 / 0.8, rel=0.005)
    fills = max((1 - atrial) * 2 / 0.25, atrial * 2 / 0.15)
    assert shape.peak_filling_ml_s == pytest.approx(90 * fills / 0.8, rel=0.02)
    assert shape.filling_waves == 2
    assert shape.atrial_kick_pct == pytest.approx(100 * atrial, abs=0.5)


@settings(max_examples=30, deadline=None)
@given(st.floats(500, 1300), st.floats(50, 250), st.floats(10, 40), st.integers(20, 50))
def test_rates_of_a_cosine(rr_ms: float, edv: float, stroke: float, frames: int) -> None:
    """V = EDV - SV (1 - cos 2 pi t / RR) / 2 falls and rises by at most pi SV / RR, and fills in one wave."""
    curve = edv - stroke * (1 - np.cos(2 * np.pi * np.arange(frames) / frames)) / 2
    shape = curve_shape(curve, rr_ms)
    rate = np.pi * stroke / (rr_ms / 1000)
    assert (shape.peak_ejection_ml_s, shape.peak_filling_ml_s) == pytest.approx((rate, rate), rel=1e-3)
    assert shape.filling_waves == 1
    assert np.isnan(shape.atrial_kick_pct)


def test_fused_waves_and_a_silent_atrium_have_no_atrial_kick() -> None:
    for curve in (two_waves(0.3, second_wave=0.58), two_waves(0)):
        shape = curve_shape(curve, 800)
        assert shape.filling_waves == 1
        assert np.isnan(shape.atrial_kick_pct)


def test_a_third_wave_leaves_diastasis_unknown() -> None:
    bump = np.exp(-(((np.arange(100) / 100 - 0.75) / 0.015) ** 2))
    shape = curve_shape(two_waves(0.3) + 4 * bump, 800)
    assert shape.filling_waves == 3
    assert np.isnan(shape.atrial_kick_pct)


def test_shape_scales_with_volume_and_rate() -> None:
    curve = two_waves(0.25, frames=50)
    one, other = curve_shape(curve, 800), curve_shape(2 * curve + 10, 1600)
    assert other.peak_ejection_ml_s == pytest.approx(one.peak_ejection_ml_s)
    assert other.peak_filling_ml_s == pytest.approx(one.peak_filling_ml_s)
    assert other.atrial_kick_pct == pytest.approx(one.atrial_kick_pct)


def test_a_still_heart_neither_ejects_nor_fills() -> None:
    shape = curve_shape(np.full(20, 120.0), 900)
    assert (shape.peak_ejection_ml_s, shape.peak_filling_ml_s, shape.filling_waves) == (0, 0, 0)
    assert np.isnan(shape.atrial_kick_pct)


def test_the_rates_are_the_extremes_of_the_spline() -> None:
    """Against a dense sampling of the derivative of the same spline, on curves without any structure."""
    for seed in range(20):
        curve = np.random.default_rng(seed).uniform(50, 150, 12)
        spline = CubicSpline(np.arange(13) / 12, np.append(curve, curve[0]), bc_type="periodic")
        rates = spline(np.linspace(0, 1, 20_001), 1)
        shape = curve_shape(curve, 1000)
        assert shape.peak_ejection_ml_s == pytest.approx(-rates.min(), rel=1e-5)
        assert shape.peak_filling_ml_s == pytest.approx(rates.max(), rel=1e-5)


def test_error_of_a_curve_is_relative_to_the_references_edv() -> None:
    reference = np.array([150.0, 90, 60, 100])
    assert curve_error(reference + 15, reference) == pytest.approx(0.1)
    assert curve_error(reference, reference) == 0
    assert np.isnan(curve_error(reference, np.zeros(4)))
