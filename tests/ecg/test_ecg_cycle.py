from contextlib import suppress

import numpy as np
import pytest

from cof.config.data import BeatSettings
from cof.ecg.cycle import preprocess, representative_cycle
from cof.ecg.peaks import find_r_peaks
from cof.ecg.reader import read_ecg
from cof.ecg.record import LEADS, Ecg
from cof.errors import CofError, Reason
from cof.phantom.ecg import synthesise
from cof.phantom.seeds import stream

SETTINGS = BeatSettings()


def true_beats(make_latents, **changes):
    strip = synthesise(make_latents(**changes), stream(3, "sub-0001", "truth"))
    return strip.counts * 0.005, strip.r_ms / 2


RHYTHMS = [
    {}, {"hr_ecg_bpm": 44.0}, {"hr_ecg_bpm": 104.0, "qt_ms": 310.0}, {"rhythm": "af", "rr_cv": 0.15},
    {"conduction": "lbbb", "qrs_ms": 150.0}, {"conduction": "rbbb", "qrs_ms": 136.0}, {"axis_deg": -65.0},
    {"low_voltage": True}, {"infarct": "rca", "infarct_size": 0.2},
    {"hr_ecg_bpm": 42.0, "qt_ms": 440.0, "ecg_gain": 0.65}, {"hr_ecg_bpm": 47.0, "ecg_gain": 0.5, "axis_deg": -30.0},
]  # fmt: skip


@pytest.mark.parametrize("changes", RHYTHMS)
def test_every_beat_is_found_where_it_is(make_latents, changes):
    signal, truth = true_beats(make_latents, **changes)
    found = find_r_peaks(preprocess(signal, 500, {}, SETTINGS), 500)
    inside = truth[(truth > 250) & (truth < 4750)]
    nearest = found[np.abs(found[:, None] - inside).argmin(axis=0)]
    assert np.abs(nearest - inside).max() * 2 <= 12
    assert len(found) <= len(truth)


def test_lead_two_without_qrs_falls_back_to_the_largest_lead(make_latents):
    signal, truth = true_beats(make_latents)
    signal[LEADS.index("II")] = 0
    found = find_r_peaks(preprocess(signal, 500, {}, SETTINGS), 500, device_rate_bpm=64)
    assert abs(len(found) - len(truth)) <= 1


def test_cycle_lasts_one_rr_and_starts_at_r(ecg_file):
    ecg = read_ecg(ecg_file())
    cycle = representative_cycle(ecg, SETTINGS)
    assert cycle.beat.shape == (12, 512)
    assert cycle.beat.dtype == np.float32
    assert cycle.rr_ms == (cycle.last_sample - cycle.first_sample) * 2
    assert abs(cycle.rr_ms - ecg.measurements["rr_ms"]) < 0.05 * cycle.rr_ms
    assert cycle.correlation > 0.98
    assert not cycle.low_quality
    assert not cycle.irregular
    strength = np.sqrt((cycle.beat**2).mean(axis=0))
    assert min(strength.argmax(), 512 - strength.argmax()) * cycle.rr_ms / 512 <= 4


def test_isoelectric_level_is_zero(ecg_file):
    cycle = representative_cycle(read_ecg(ecg_file()), SETTINGS)
    # The PR segment of the next beat lies about 55 ms before the end of the cycle.
    segment = round(512 * (1 - 55 / cycle.rr_ms))
    assert np.abs(cycle.beat[:, segment - 2 : segment + 3].mean(axis=1)).max() < 0.05


def test_amplitudes_are_kept(make_latents):
    """No lead is normalised: twice the voltage gives twice the beat."""
    signal, _ = true_beats(make_latents)
    once, twice = (representative_cycle(read_like(signal * k), SETTINGS) for k in (1, 2))
    np.testing.assert_allclose(twice.beat, 2 * once.beat, atol=1e-4)


def read_like(signal, **measurements):
    return Ecg(signal.astype(np.float32), 500.0, measurements)


def test_resampling_follows_a_known_signal():
    """A periodic sum of cosines at 1 Hz, sharp enough for the detector, comes back as one period of itself."""
    seconds = np.arange(5000) / 500
    wave = np.exp(80 * (np.cos(2 * np.pi * seconds) - 1))
    gains = np.linspace(0.6, 1.4, 12)
    cycle = representative_cycle(read_like(gains[:, None] * wave), SETTINGS.model_copy(update={"lowpass_hz": 100.0}))
    phase = np.arange(512) / 512
    expected = np.exp(80 * (np.cos(2 * np.pi * phase) - 1))
    assert cycle.rr_ms == 1000
    for lead, gain in enumerate(gains):
        assert np.corrcoef(cycle.beat[lead], expected)[0, 1] > 0.999
        assert np.ptp(cycle.beat[lead]) == pytest.approx(gain * np.ptp(expected), rel=0.03)


def test_a_premature_beat_and_its_pause_are_not_chosen(make_latents):
    signal, beats = true_beats(make_latents, rr_cv=0.005)
    period, middle = round(np.diff(beats).mean()), round(beats[5])
    ectopic = np.exp(-0.5 * ((np.arange(5000) - (middle - 0.35 * period)) / 14) ** 2)
    # The premature beat replaces the normal one, which leaves a pause behind it.
    window = np.exp(-0.5 * ((np.arange(5000) - middle) / 60) ** 8)
    signal = signal * (1 - window) + 1.5 * ectopic * np.linspace(0.5, 1.5, 12)[:, None]
    cycle = representative_cycle(read_like(signal), SETTINGS)
    assert abs(cycle.rr_ms - 2 * period) < 0.05 * 2 * period
    assert not cycle.first_sample - 5 <= middle - 0.35 * period <= cycle.last_sample + 5
    assert cycle.correlation > 0.97


def test_fibrillation_is_irregular(ecg_file):
    assert representative_cycle(read_ecg(ecg_file(rhythm="af", rr_cv=0.2)), SETTINGS).irregular


def test_unlike_beats_are_of_low_quality(make_latents):
    signal, _ = true_beats(make_latents)
    noise = np.random.default_rng(0).normal(0, 0.8, (9, signal.shape[1]))
    signal[3:] += noise
    cycle = representative_cycle(read_like(signal, ventricular_rate_bpm=64.0), SETTINGS)
    assert cycle.low_quality
    assert cycle.correlation < SETTINGS.min_correlation


def test_a_device_rate_that_disagrees_excludes(make_latents):
    signal, _ = true_beats(make_latents)
    with pytest.raises(CofError) as caught:
        representative_cycle(read_like(signal, ventricular_rate_bpm=90.0), SETTINGS)
    assert caught.value.reason == Reason.BEAT_RATE_MISMATCH
    loose = SETTINGS.model_copy(update={"rate_tolerance": 0.5})
    assert representative_cycle(read_like(signal, ventricular_rate_bpm=90.0), loose).rr_ms > 0


def test_a_strip_without_beats_is_excluded():
    with pytest.raises(CofError) as caught:
        representative_cycle(read_like(np.zeros((12, 5000))), SETTINGS)
    assert caught.value.reason == Reason.BEAT_NONE


def test_mains_notch_only_where_the_device_had_none(make_latents):
    signal, _ = true_beats(make_latents)
    hum = 0.5 * np.sin(2 * np.pi * 50 * np.arange(5000) / 500)
    clean = preprocess(signal, 500, {}, SETTINGS)
    left = np.abs(preprocess(signal + hum, 500, {"Filter50Hz": "Yes"}, SETTINGS) - clean)[:, 1000:4000].max()
    gone = preprocess(signal + hum, 500, {"Filter50Hz": "No"}, SETTINGS)
    rest = np.abs(gone - preprocess(signal, 500, {"Filter50Hz": "No"}, SETTINGS))[:, 1000:4000].max()
    assert left > 0.05
    assert rest < 0.005


def test_settings_reach_the_beat(ecg_file):
    ecg = read_ecg(ecg_file())
    assert representative_cycle(ecg, SETTINGS.model_copy(update={"samples": 100})).beat.shape == (12, 100)
    assert np.abs(preprocess(20 * ecg.signal, 500, {}, SETTINGS.model_copy(update={"clip_mv": 1.5}))).max() == 1.5


def impulses(*places):
    return np.isin(np.arange(5000), places)[None] * np.full((12, 1), 2.0)


ODD = {
    "nothing": np.zeros((12, 5000)),
    "a constant": np.full((12, 5000), 3.0),
    "noise": np.random.default_rng(0).normal(0, 0.05, (12, 5000)),
    "the largest noise": np.random.default_rng(0).normal(0, 300, (12, 5000)),
    "a step": np.repeat((np.arange(5000) > 2500)[None] * 1.0, 12, axis=0),
    "a ramp": np.repeat(np.linspace(-900, 900, 5000)[None], 12, axis=0),
    "alternation": np.tile([900.0, -900.0], (12, 2500)),
    "one spike": impulses(2500),
    "two spikes": impulses(1000, 3500),
    "spikes every 40 ms": impulses(*range(0, 5000, 20)),
    "beats far apart": impulses(100, 1700, 3300, 4900),
}


@pytest.mark.parametrize("length", [2, 16, 50, 400, 650, 5000])
@pytest.mark.parametrize("name", ODD)
def test_what_is_no_ecg_gives_no_beat_or_a_finite_one(name, length):
    """Strips that pass no detector: a typed error, or a beat of finite numbers; never another exception."""
    for rate_hz in (85.0, 500.0, 5000.0):
        for measured in ({}, {"ventricular_rate_bpm": 60.0, "qrs_ms": -3.0}, {"ventricular_rate_bpm": -1e300}):
            ecg = Ecg(ODD[name][:, :length].astype(np.float32), rate_hz, measured)
            with suppress(CofError):
                cycle = representative_cycle(ecg, SETTINGS)
                assert np.isfinite(cycle.beat).all()
                assert np.isfinite(cycle.correlation)


def test_ectopic_beats_are_counted(make_latents):
    signal, beats = true_beats(make_latents, rr_cv=0.005)
    assert representative_cycle(read_like(signal), SETTINGS).ectopic_beats == 0
    period, middle = round(np.diff(beats).mean()), round(beats[5])
    early = middle - round(0.35 * period)
    moved = signal.copy()
    beat = signal[:, middle - 100 : middle + 100]
    moved[:, middle - 100 : middle + 100] = signal[:, [middle - 100]]
    moved[:, early - 100 : early + 100] = beat
    found = representative_cycle(read_like(moved), SETTINGS)
    assert found.ectopic_beats >= 1
    assert found.beats == representative_cycle(read_like(signal), SETTINGS).beats
