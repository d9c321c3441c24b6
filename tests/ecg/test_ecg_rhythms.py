"""The rhythms of docs/reference/faults.md, on strips whose R peaks and origins are known."""

import re
from pathlib import Path

import numpy as np
import pytest
from strips import SINUS, VENTRICULAR, every, strip

from cof.config.data import BeatSettings
from cof.ecg.cycle import preprocess, representative_cycle
from cof.ecg.peaks import find_r_peaks
from cof.ecg.record import Ecg
from cof.errors import CofError
from cof.phantom.ecg import synthesise
from cof.phantom.population import sample
from cof.phantom.seeds import stream

BEATS = BeatSettings()
# At high rates P and T come closer, as QT shortens with the RR interval.
FAST = tuple((at * 0.6 if abs(at) > 0.1 else at, width * (0.6 if abs(at) > 0.1 else 1), mv) for at, width, mv in SINUS)


def sinus(rr=0.85, seconds=10.0, shape=SINUS):
    return dict.fromkeys(every(rr, seconds), shape)


def premature(at, shape, coupling, pause, rr=0.85):
    """Sinus rhythm in which the beats after those numbered `at` come early, and are followed by a pause."""
    beats, time = {}, 0.55
    for number in range(40):
        beats[time] = SINUS
        if number in at:
            beats[time + coupling * rr] = shape
            time += coupling * rr + pause * rr
        else:
            time += rr
    return {time: shape for time, shape in beats.items() if time < 9.9}


def irregular(spread, seed=0, rr=0.75, breath=False):
    """Atrial fibrillation without P waves, or the arrhythmia of breathing."""
    rng = np.random.default_rng(seed)
    number = np.arange(40)
    intervals = (
        rr * (1 + spread * np.sin(0.25 * 2 * np.pi * number * rr))
        if breath
        else rng.gamma(1 / spread**2, rr * spread**2, 40)
    )
    times = 0.4 + np.cumsum(np.maximum(intervals, 0.35))
    return dict.fromkeys(times[times < 9.9], SINUS if breath else SINUS[1:])


# Beats; whether the rhythm is called irregular (None: either); ventricular and atrial premature beats.
RHYTHMS = {
    "sinus rhythm": (sinus(), False, 0, 0),
    "sinus arrhythmia of 10 %": (irregular(0.10, breath=True), None, 0, 0),
    "sinus arrhythmia of 15 %": (irregular(0.15, breath=True), None, 0, 0),
    "atrial fibrillation": (irregular(0.2), True, 0, 0),
    "one ventricular beat": (premature({4}, VENTRICULAR, 0.6, 1.4), True, 1, 0),
    "ventricular beats, without a pause": (premature({2, 6}, VENTRICULAR, 0.6, 0.9), None, 2, 0),
    "a ventricular beat at the end": ({**{t: SINUS for t in every(0.9) if t < 9.0}, 9.4: VENTRICULAR}, None, 1, 0),
    "one atrial beat": (premature({4}, SINUS, 0.65, 1.15), True, 0, 1),
    "two atrial beats": (premature({2, 7}, SINUS, 0.6, 1.2), True, 0, 2),
    "ventricular bigeminy": (premature(set(range(0, 40)), VENTRICULAR, 0.6, 1.4), True, 6, 0),
    "ventricular trigeminy": (premature(set(range(0, 40, 2)), VENTRICULAR, 0.6, 1.4), True, 4, 0),
    "atrial bigeminy": (premature(set(range(0, 40)), SINUS, 0.6, 1.4), True, 0, 6),
    "left bundle branch block": (dict.fromkeys(every(0.85), VENTRICULAR), False, 0, 0),
}  # fmt: skip


def cycle(beats, rate_hz, seconds=10.0, noise_mv=0.004):
    return representative_cycle(Ecg(strip(beats, rate_hz, seconds, noise_mv).astype(np.float32), rate_hz), BEATS)


@pytest.mark.parametrize("rate_hz", [250.0, 500.0, 1000.0])
@pytest.mark.parametrize("name", RHYTHMS)
def test_premature_beats_are_counted_by_their_origin(name, rate_hz):
    beats, uneven, ventricular, atrial = RHYTHMS[name]
    found = cycle(beats, rate_hz)
    inside = sum(0.1 < time < 9.9 for time in beats)
    assert abs(found.beats - inside) <= (1 if name == "atrial fibrillation" else 0)
    assert abs(found.ventricular_ectopic_beats - ventricular) == 0
    assert abs(found.ectopic_beats - found.ventricular_ectopic_beats - atrial) == 0
    if uneven is not None:
        assert found.irregular == uneven
    first = found.first_sample / rate_hz
    begin = min(beats, key=lambda time: abs(time - first))
    assert abs(begin - first) <= 0.020
    # No cycle begins on a ventricular beat where others prevail.
    assert name == "left bundle branch block" or beats[begin] is not VENTRICULAR


@pytest.mark.parametrize(
    "name", ["one ventricular beat", "ventricular beats, without a pause", "ventricular trigeminy"]
)
def test_a_beat_that_lead_two_does_not_show_is_found_with_a_devices_rate_too(name):
    beats = RHYTHMS[name][0]
    rate = 60 / float(np.diff(sorted(beats)).mean())
    record = Ecg(strip(beats, 500.0).astype(np.float32), 500.0, {"ventricular_rate_bpm": rate})
    found = representative_cycle(record, BEATS)
    assert found.beats == len(beats)
    assert found.ventricular_ectopic_beats >= RHYTHMS[name][2]


@pytest.mark.parametrize("noise_mv", [0.004, 0.03])
def test_noise_makes_no_premature_beats(noise_mv):
    assert cycle(sinus(), 500.0, noise_mv=noise_mv).ectopic_beats == 0
    assert cycle(RHYTHMS["one ventricular beat"][0], 500.0, noise_mv=noise_mv).ventricular_ectopic_beats == 1


@pytest.mark.parametrize("number", range(12))
def test_phantoms_in_sinus_rhythm_have_no_premature_beats(number):
    name = f"sub-{number:04d}"
    latents = sample(name, 0)
    signal = synthesise(latents, stream(3, name, "rhythm")).counts * 0.005
    found = representative_cycle(Ecg(signal.astype(np.float32), 500.0), BEATS)
    assert found.ventricular_ectopic_beats == 0
    assert latents.rhythm != "sinus" or found.ectopic_beats == 0


@pytest.mark.parametrize("rate_hz", [250.0, 500.0, 1000.0])
@pytest.mark.parametrize("bpm", [31, 40, 60, 80, 100, 120, 140, 160, 180, 195])
def test_every_r_peak_from_31_to_195_a_minute(bpm, rate_hz):
    truth = every(60 / bpm)
    signal = strip(dict.fromkeys(truth, SINUS if bpm <= 110 else FAST), rate_hz)
    peaks = find_r_peaks(preprocess(signal, rate_hz, {}, BEATS), rate_hz) / rate_hz
    assert len(peaks) == len(truth)
    assert np.abs(peaks - truth).max() <= 0.020
    assert representative_cycle(Ecg(signal.astype(np.float32), rate_hz), BEATS).rr_ms == pytest.approx(
        6e4 / bpm, rel=0.02
    )


@pytest.mark.parametrize("bpm", [29, 205, 220])
def test_beyond_that_no_cycle_is_cut(bpm):
    """A cycle lasts 300 to 2000 ms."""
    with pytest.raises(CofError, match=r"no cycle|fewer than"):
        cycle(dict.fromkeys(every(60 / bpm), SINUS if bpm < 100 else FAST), 500.0)


@pytest.mark.parametrize(("bpm", "usable"), [(60, False), (80, True), (120, True), (180, True)])
def test_strips_of_two_and_a_half_seconds(bpm, usable):
    """Three beats and a cycle 300 ms away from both ends are needed."""
    beats = dict.fromkeys(every(60 / bpm, 2.5, 0.4), SINUS if bpm <= 110 else FAST)
    try:
        found = cycle(beats, 500.0, 2.5)
    except CofError:
        assert not usable
        return
    assert found.rr_ms == pytest.approx(60_000 / bpm, rel=0.02)


def test_the_page_of_faults_has_these_rhythms():
    page = (Path(__file__).parents[2] / "docs/reference/faults.md").read_text()
    assert [name for name in RHYTHMS if not re.search(rf"^\| {re.escape(name)} \|", page, re.MULTILINE)] == []
