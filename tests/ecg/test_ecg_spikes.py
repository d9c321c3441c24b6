from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strips import VENTRICULAR, every, spikes, strip

from cof.config.data import BeatSettings
from cof.ecg.cycle import preprocess, representative_cycle
from cof.ecg.peaks import find_r_peaks
from cof.ecg.reader import read_ecg
from cof.ecg.record import LEADS, Ecg
from cof.ecg.spikes import find_spikes, without_spikes
from cof.phantom.ecg import synthesise
from cof.phantom.population import sample
from cof.phantom.seeds import stream

RATES = (250.0, 500.0, 1000.0)
BEATS = BeatSettings()
R = every(0.9)
# Atrial; ventricular right before a narrow and a wide complex; both, one after the other.
SITES = {
    "atrial": ({"rr": 0.9}, (-0.18,)),
    "ventricular": ({"shape": VENTRICULAR}, (-0.075,)),
    "sequential": ({"shape": VENTRICULAR}, (-0.23, -0.075)),
    "on the complex": ({}, (-0.03,)),
}  # fmt: skip


def paced(site: str, rate_hz: float, mv) -> tuple[np.ndarray, np.ndarray]:
    """A strip without and with its spikes."""
    changes, delays = SITES[site]
    clean = strip(R, rate_hz, **{name: value for name, value in changes.items() if name == "shape"})
    return clean, clean + spikes([r + delay for r in R for delay in delays], rate_hz, mv)


def record(signal: np.ndarray, rate_hz: float) -> Ecg:
    return Ecg(signal.astype(np.float32), rate_hz)


@pytest.mark.parametrize("mv", [(1.0,), (4.0,), (2.0, 2.0), (3.0, -1.5), (-1.0, -1.0)], ids=str)
@pytest.mark.parametrize("rate_hz", RATES)
@pytest.mark.parametrize("site", SITES)
def test_spikes_are_found_where_they_are_and_bridged(site, rate_hz, mv):
    clean, signal = paced(site, rate_hz, mv)
    found = without_spikes(record(signal, rate_hz))
    expected = len(R) * len(SITES[site][1])
    assert found.pacing_spikes == expected
    assert found.repairs == (f"{expected} pacing spikes found and bridged",)
    # Nothing of a spike is left, and nothing beside it is touched.
    error = np.abs(found.signal - clean)
    assert error.max() < 0.12
    assert (error.max(axis=0) > 1e-5).sum() <= expected * len(mv)
    peaks = find_r_peaks(preprocess(found.signal, rate_hz, {}, BEATS), rate_hz)
    nearest = peaks[np.abs(peaks[:, None] - R * rate_hz).argmin(axis=0)]
    assert np.abs(nearest / rate_hz - R).max() <= 0.020
    assert len(peaks) == len(R)
    assert representative_cycle(found, BEATS).paced


@pytest.mark.parametrize("mv", [0.3, 0.6, 1.0])
def test_small_bipolar_spikes_are_found(mv):
    for rate_hz in (500.0, 1000.0):
        assert len(find_spikes(paced("atrial", rate_hz, (mv,))[1], rate_hz)) == len(R)


@pytest.mark.parametrize("rate_hz", RATES)
def test_the_beat_of_a_paced_strip_is_that_without_spikes(rate_hz):
    clean, signal = paced("atrial", rate_hz, (3.0,))
    one, other = (representative_cycle(without_spikes(record(x, rate_hz)), BEATS) for x in (clean, signal))
    assert not one.paced
    assert other.paced
    assert one.rr_ms == other.rr_ms
    assert np.abs(one.beat - other.beat).max() < 0.05


def test_einthovens_law_survives_the_bridges():
    signal = without_spikes(record(paced("sequential", 500.0, (2.0, 1.0))[1], 500.0)).signal
    one, two, three = (signal[LEADS.index(name)] for name in ("I", "II", "III"))
    np.testing.assert_allclose(three, two - one, atol=1e-5)


@pytest.mark.parametrize("number", range(20))
def test_phantoms_have_no_spikes(number, tmp_path):
    name = f"sub-{number:04d}"
    signal = synthesise(sample(name, 0), stream(3, name, "spikes")).counts * 0.005
    rng = np.random.default_rng(number)
    hum = 0.5 * np.sin(2 * np.pi * 50 * np.arange(signal.shape[1]) / 500)
    burst = np.exp(-0.5 * ((np.arange(signal.shape[1]) - 2500) / 200) ** 2)
    for disturbance in (0, hum, 0.1 * rng.standard_normal(signal.shape), burst * rng.standard_normal(signal.shape)):
        ecg = record(signal + disturbance, 500.0)
        assert without_spikes(ecg) is ecg
    ecg = record(signal[:, ::2], 250.0)
    assert without_spikes(ecg) is ecg


def test_a_file_without_spikes_is_read_as_it_is(ecg_file):
    ecg = read_ecg(ecg_file())
    assert (ecg.pacing_spikes, ecg.repairs) == (0, ())


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["gauss", "triangle", "box", "step"]), st.floats(0.005, 0.03), st.floats(0.3, 4.0), st.floats(0, 1),
    st.sampled_from(RATES),
)  # fmt: skip
def test_steep_complexes_are_no_spikes(shape, width_s, height_mv, offset, rate_hz):
    at = np.arange(round(10 * rate_hz)) / rate_hz
    trace = np.zeros_like(at)
    for time in every(0.8) + offset / rate_hz:
        away = (at - time) / width_s
        trace += {
            "gauss": np.exp(-0.5 * away**2),
            "triangle": np.clip(1 - np.abs(away) / 2.5, 0, None),
            "box": np.abs(away) < 3,
            "step": away > 0,
        }[shape]
    assert not find_spikes(height_mv * np.linspace(0.2, 1, 12)[:, None] * trace, rate_hz)


def test_one_disturbance_is_no_pacing():
    signal = strip(R, 500.0) + spikes([3.2, 6.1], 500.0, (2.0,))
    ecg = record(signal, 500.0)
    assert without_spikes(ecg) is ecg


def test_pacing_that_the_device_states_is_flagged_like_that_which_is_found():
    clean, _ = paced("atrial", 500.0, (2.0,))
    stated = replace(record(clean, 500.0), statements=("Electronic atrial pacemaker",))
    assert representative_cycle(stated, BEATS).paced
    assert not representative_cycle(replace(stated, statements=("No pacemaker spikes",)), BEATS).paced
