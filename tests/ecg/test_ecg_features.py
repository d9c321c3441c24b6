import numpy as np
import pytest

from cof.config.data import BeatSettings
from cof.ecg.cycle import representative_cycle
from cof.ecg.features import FEATURES, ecg_features
from cof.ecg.record import Ecg, stated_sex
from cof.phantom.ecg import synthesise
from cof.phantom.seeds import stream


def measured(make_latents, **changes):
    signal = synthesise(make_latents(**changes), stream(3, "sub-0001", "truth")).counts * 0.005
    cycle = representative_cycle(Ecg(signal.astype(np.float32), 500.0), BeatSettings())
    return dict(zip(FEATURES, ecg_features(cycle.beat, cycle.rr_ms)))


def test_features_are_those_that_were_put_in(make_latents):
    found = measured(make_latents, hr_ecg_bpm=64.0, pr_ms=160.0, qrs_ms=90.0, qt_ms=400.0, axis_deg=35.0)
    assert found["rate_bpm"] == pytest.approx(64, rel=0.05)
    assert found["pr_ms"] == pytest.approx(160, abs=20)
    assert found["qrs_ms"] == pytest.approx(90, abs=12)
    assert found["qt_ms"] == pytest.approx(400, abs=30)
    assert found["qrs_axis_deg"] == pytest.approx(35, abs=15)
    assert found["t_amplitude_mv"] > 0.1


@pytest.mark.parametrize(
    ("feature", "low", "high", "least"),
    [
        ("qrs_ms", {}, {"conduction": "lbbb", "qrs_ms": 150.0}, 40),
        ("qt_ms", {"qt_ms": 370.0}, {"qt_ms": 430.0}, 30),
        ("pr_ms", {"pr_ms": 140.0}, {"pr_ms": 210.0}, 40),
        ("sokolow_lyon_mv", {}, {"ecg_gain": 1.5}, 0.5),
        ("cornell_mv", {}, {"ecg_gain": 1.5}, 0.2),
        ("t_amplitude_mv", {"lvh": True, "strain": True}, {}, 0.2),
        ("st_level_mv", {"lvh": True, "strain": True}, {}, 0.02),
    ],
)
def test_a_feature_follows_its_cause(make_latents, feature, low, high, least):
    assert measured(make_latents, **high)[feature] - measured(make_latents, **low)[feature] > least


def test_without_a_p_wave_its_features_are_not_measured():
    phase = np.arange(512) / 512
    spike = np.exp(-((((phase + 0.5) % 1 - 0.5) / 0.012) ** 2)) + 0.3 * np.exp(-(((phase - 0.35) / 0.05) ** 2))
    found = dict(zip(FEATURES, ecg_features(np.linspace(0.5, 1.5, 12)[:, None] * spike, 900.0)))
    assert np.isnan([found["pr_ms"], found["p_duration_ms"], found["p_axis_deg"]]).all()
    assert np.isfinite([found["qrs_ms"], found["qt_ms"], found["rate_bpm"]]).all()


def test_doubled_amplitude_doubles_voltages_and_nothing_else():
    rng = np.random.default_rng(0)
    phase = np.arange(512) / 512
    spike = np.exp(-((((phase + 0.5) % 1 - 0.5) / 0.012) ** 2)) + 0.3 * np.exp(-(((phase - 0.35) / 0.05) ** 2))
    beat = rng.uniform(0.5, 1.5, (12, 1)) * spike
    once, twice = ecg_features(beat, 900.0), ecg_features(2 * beat, 900.0)
    voltage = np.array([name.endswith("_mv") for name in FEATURES])
    np.testing.assert_allclose(twice[voltage], 2 * once[voltage], rtol=1e-4)
    np.testing.assert_allclose(twice[~voltage], once[~voltage], rtol=1e-4)


@pytest.mark.parametrize(("said", "sex"), [("MALE", "M"), ("f", "F"), (" Female ", "F"), ("MISSING", ""), ("", "")])
def test_sex_is_what_the_file_states(said, sex):
    assert stated_sex(said) == sex
