import numpy as np
import pytest

from cof.config.data import BeatSettings
from cof.ecg.cycle import representative_cycle
from cof.ecg.record import LEADS, Ecg
from cof.phantom.ecg import synthesise
from cof.phantom.seeds import stream

# Each exchange of electrodes as what becomes of the limb leads: lead -> (sign, lead that it shows).
EXCHANGES = {
    "LA-RA": {
        "I": (-1, "I"), "II": (1, "III"), "III": (1, "II"), "aVR": (1, "aVL"), "aVL": (1, "aVR"), "aVF": (1, "aVF"),
    },
    "RA-LL": {
        "I": (-1, "III"), "II": (-1, "II"), "III": (-1, "I"), "aVR": (1, "aVF"), "aVF": (1, "aVR"), "aVL": (1, "aVL"),
    },
}  # fmt: skip


def strip(make_latents, seed=3, **changes):
    return synthesise(make_latents(**changes), stream(seed, "sub-0001", "truth")).counts * 0.005


def exchanged(signal, exchange):
    swapped = signal.copy()
    for lead, (sign, shown) in EXCHANGES[exchange].items():
        swapped[LEADS.index(lead)] = sign * signal[LEADS.index(shown)]
    return swapped


def cycle(signal, **measurements):
    return representative_cycle(Ecg(signal.astype(np.float32), 500.0, measurements), BeatSettings())


HEARTS = [
    {}, {"axis_deg": 0.0}, {"axis_deg": 70.0}, {"hr_ecg_bpm": 90.0, "qt_ms": 340.0},
    {"conduction": "lbbb", "qrs_ms": 150.0}, {"infarct": "lad", "infarct_size": 0.2}, {"low_voltage": True},
]  # fmt: skip


@pytest.mark.parametrize("changes", HEARTS)
def test_hearts_as_they_are_raise_no_suspicion(make_latents, changes):
    assert cycle(strip(make_latents, **changes)).suspected_reversal == ""


@pytest.mark.parametrize("axis", [-65.0, 120.0])
def test_an_axis_deviation_is_no_reversal(make_latents, axis):
    found = cycle(strip(make_latents, axis_deg=axis))
    assert found.suspected_reversal == ""
    assert found.measured_qrs_axis_deg == pytest.approx(axis, abs=25)


@pytest.mark.parametrize("changes", HEARTS[:4])
def test_exchanged_arms_are_suspected(make_latents, changes):
    assert cycle(exchanged(strip(make_latents, **changes), "LA-RA")).suspected_reversal == "LA-RA"


@pytest.mark.parametrize("changes", [{}, {"axis_deg": 20.0}, {"axis_deg": 70.0}])
def test_exchanged_right_arm_and_leg_are_suspected(make_latents, changes):
    assert cycle(exchanged(strip(make_latents, **changes), "RA-LL")).suspected_reversal == "RA-LL"


def test_a_mirrored_heart_is_no_reversal(make_latents):
    """In dextrocardia the chest leads turn with lead I."""
    signal = exchanged(strip(make_latents), "LA-RA")
    signal[6:] *= -1
    assert cycle(signal).suspected_reversal == ""


def test_without_a_p_wave_there_is_no_suspicion(make_latents):
    found = cycle(exchanged(strip(make_latents, rhythm="af", rr_cv=0.15), "LA-RA"))
    assert found.suspected_reversal in ("", "LA-RA")
    assert found.irregular


def test_axes_are_those_that_were_put_in(make_latents):
    found = cycle(strip(make_latents, axis_deg=35.0))
    assert found.measured_qrs_axis_deg == pytest.approx(35, abs=15)
    assert found.measured_p_axis_deg == pytest.approx(52, abs=15)


def test_rate_is_compared_with_the_device(make_latents):
    signal = strip(make_latents, rr_cv=0.005)
    found = cycle(signal, ventricular_rate_bpm=64.0)
    assert found.mean_rate_bpm == pytest.approx(64, rel=0.02)
    assert found.rate_deviation == pytest.approx(found.mean_rate_bpm / 64 - 1)
    assert cycle(signal, ventricular_rate_bpm=60.0).rate_deviation == pytest.approx(found.mean_rate_bpm / 60 - 1)
    assert np.isnan(cycle(signal).rate_deviation)
    assert found.beats == 11 or found.beats == 10
