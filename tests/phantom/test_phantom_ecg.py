import re
from dataclasses import replace

import numpy as np
import pytest

from cof.ecg.record import LEADS
from cof.phantom.cardiosoft import write_ecg
from cof.phantom.device import interpret, measure
from cof.phantom.ecg import synthesise
from cof.phantom.population import sample
from cof.phantom.seeds import stream

HEALTHY = {
    "sex": "M", "hr_ecg_bpm": 64.0, "rr_cv": 0.03, "rhythm": "sinus", "conduction": "normal", "pr_ms": 160.0,
    "p_duration_ms": 96.0, "qrs_ms": 90.0, "qt_ms": 400.0, "axis_deg": 35.0, "infarct": "none", "infarct_size": 0.0,
    "lvh": False, "strain": False, "ecg_gain": 1.0, "low_voltage": False, "diastolic_dysfunction": False,
}  # fmt: skip


def latents(**changes):
    return replace(sample("sub-0001", 0), **(HEALTHY | changes))


def device(seed=0, **changes):
    rng = stream(seed, "sub-0001", "ecg")
    strip = synthesise(latents(**changes), rng)
    measured = measure(strip, rng)
    return strip, measured, interpret(measured, latents(**changes).sex, 0.0, rng)


def test_same_seed_same_bytes(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_ecg(tmp_path / name, latents(), seed)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() != (tmp_path / "c").read_bytes()


def test_both_software_versions_with_their_bytes(tmp_path):
    versions = set()
    for seed in range(12):
        write_ecg(tmp_path / "x", latents(), seed)
        raw = (tmp_path / "x").read_bytes()
        older = b"<SoftwareVer>V6.51" in raw
        versions.add(older)
        end = b"\n" if older else b"\r\n"
        name = b"ISO8859-1" if older else b"ISO-8859-1"
        assert raw.startswith(b'<?xml version="1.0" encoding="' + name + b'" ?>' + end)
        assert (b"\r" in raw) != older
        strip = raw.partition(b"<StripData>")[2]
        wave = re.search(rb'<WaveformData lead="V3">(.*?)</WaveformData>', strip, re.S).group(1).split(end)
        assert [len(line.rstrip(b",").split(b",")) for line in wave] == [301, *[300] * 15, 199]
        assert all(line.startswith(b"\t\t") for line in wave)
        assert all(line.endswith(b",") for line in wave[:-1])
        assert 150_000 < len(raw) < 300_000
    assert versions == {True, False}


def test_limb_leads_obey_einthoven():
    for apart in (False, True):
        strip = synthesise(latents(), stream(0, "sub-0001", "x"), rounded_apart=apart)
        one, two, three, avr, avl, avf = strip.counts[:6].astype(float)
        assert np.abs(three - (two - one)).max() <= (1 if apart else 0)
        for lead, expected in ((avr, -(one + two) / 2), (avl, one - two / 2), (avf, two - one / 2)):
            assert np.abs(lead - expected).max() <= (1.3 if apart else 0.5)


CONDITIONS = [
    {}, {"hr_ecg_bpm": 45.0, "qt_ms": 440.0}, {"hr_ecg_bpm": 95.0, "qt_ms": 330.0}, {"pr_ms": 215.0}, {"qrs_ms": 78.0},
    {"qrs_ms": 112.0, "conduction": "ivcd"}, {"conduction": "rbbb", "qrs_ms": 138.0}, {"axis_deg": -40.0},
    {"conduction": "lbbb", "qrs_ms": 148.0},
    {"conduction": "lbbb", "qrs_ms": 132.0, "hr_ecg_bpm": 75.0, "qt_ms": 390.0},
    {"infarct": "lad", "infarct_size": 0.15}, {"infarct": "rca", "infarct_size": 0.15},
    {"infarct": "lcx", "infarct_size": 0.15}, {"lvh": True, "strain": True, "ecg_gain": 1.5},
]  # fmt: skip


@pytest.mark.parametrize("changes", CONDITIONS)
def test_measured_intervals_are_those_of_the_latents(changes):
    truth = latents(**changes)
    errors = []
    for seed in range(4):
        _, measured, _ = device(seed, **changes)
        errors.append([measured.pq_ms - truth.pr_ms, measured.qrs_ms - truth.qrs_ms, measured.qt_ms - truth.qt_ms])
        assert measured.rate_bpm == pytest.approx(truth.hr_ecg_bpm, rel=0.05)
    assert np.abs(np.mean(errors, axis=0)).max() <= 10


@pytest.mark.parametrize("changes", CONDITIONS)
def test_the_r_peak_comes_forty_ms_after_the_qrs_onset_at_the_true_time(changes):
    strip, measured, _ = device(**changes)
    strength = np.sqrt((strip.counts[[0, 1, 6, 7, 8, 9, 10, 11]].astype(float) ** 2).mean(axis=0))
    for beat in strip.r_ms[(strip.r_ms > 100) & (strip.r_ms < 9800)]:
        around = np.arange(round(beat / 2) - 30, round(beat / 2) + 31)
        assert abs(2 * around[strength[around].argmax()] - beat) <= 12
    assert abs((236 - measured.landmarks.q_on) * 2 - 40) <= 8


@pytest.mark.parametrize("axis", [-60.0, -20.0, 10.0, 40.0, 80.0])
def test_frontal_axis(axis):
    assert device(axis_deg=axis)[1].r_axis_deg == pytest.approx(axis, abs=12)


def test_fibrillation_has_no_p_wave_and_an_irregular_rhythm():
    strip, measured, statements = device(rhythm="af", rr_cv=0.18)
    assert measured.pq_ms is None
    assert np.std(np.diff(strip.r_ms)) > 0.08 * np.diff(strip.r_ms).mean()
    assert statements[0] == "Atrial fibrillation"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "Normal ECG"),
        ({"hr_ecg_bpm": 45.0, "qt_ms": 440.0}, "Marked sinus bradycardia"),
        ({"pr_ms": 240.0}, "1st degree AV block"),
        ({"conduction": "lbbb", "qrs_ms": 150.0}, "Left bundle branch block"),
        ({"conduction": "rbbb", "qrs_ms": 138.0}, "Right bundle branch block"),
        ({"infarct": "lad", "infarct_size": 0.2}, "Anter"),
        ({"infarct": "rca", "infarct_size": 0.2}, "Inferior infarct"),
        ({"infarct": "lcx", "infarct_size": 0.2}, "Lateral infarct"),
        ({"ecg_gain": 2.1, "axis_deg": 10.0}, "Voltage criteria for left ventricular hypertrophy"),
        ({"low_voltage": True, "ecg_gain": 0.7}, "Low voltage QRS"),
        ({"axis_deg": -38.0}, "Left axis deviation"),
        ({"qt_ms": 485.0}, "Prolonged QT"),
    ],
)
def test_statements_name_what_is_there(changes, expected):
    statements = device(**changes)[2]
    assert any(statement.startswith(expected) for statement in statements)
    assert (statements[-1] == "Normal ECG") == (expected == "Normal ECG")


@pytest.mark.parametrize(
    ("territory", "leads"), [("lad", ("V2", "V3", "V4")), ("rca", ("II", "III", "aVF")), ("lcx", ("I", "V5", "V6"))]
)
def test_infarcts_change_the_leads_of_their_territory(territory, leads):
    _, healthy, _ = device()
    _, small, _ = device(infarct=territory, infarct_size=0.08)
    _, large, _ = device(infarct=territory, infarct_size=0.28)
    depth = [sum(m.amplitude("Q", lead) for lead in leads) for m in (healthy, small, large)]
    assert depth[0] < depth[1] < depth[2]
    t_wave = [sum(m.amplitude("T", lead) for lead in leads) for m in (healthy, large)]
    assert t_wave[0] > 0 > t_wave[1]


def test_strain_depresses_st_and_inverts_t_laterally():
    _, healthy, _ = device(ecg_gain=1.4)
    _, strained, _ = device(ecg_gain=1.4, lvh=True, strain=True)
    for lead in ("V5", "V6"):
        assert healthy.amplitude("T", lead) > 0 > strained.amplitude("T", lead)
        assert strained.amplitude("JX", lead) < healthy.amplitude("JX", lead) - 20


def test_gain_and_low_voltage_scale_the_qrs():
    sokolow = [device(**changes)[1].sokolow_mv for changes in ({"low_voltage": True}, {}, {"ecg_gain": 1.5})]
    assert sokolow[0] < 0.7 * sokolow[1]
    assert sokolow[2] == pytest.approx(1.5 * sokolow[1], rel=0.1)


def test_label_noise_changes_some_findings():
    _, measured, clean = device(conduction="lbbb", qrs_ms=150.0)
    rng = np.random.default_rng(0)
    noisy = [interpret(measured, "M", 0.05, rng) for _ in range(400)]
    share = np.mean([statements != clean for statements in noisy])
    assert 0.04 < share < 0.2
    assert all("ECG" in statements[-1] for statements in noisy)


def test_the_export_prints_what_was_measured(tmp_path):
    write_ecg(tmp_path / "x", latents(), 0)
    text = (tmp_path / "x").read_text("latin-1")
    assert re.search(r'<Resolution units="uVperLsb">5</Resolution>', text)
    rate = int(re.search(r'<VentricularRate units="BPM">(\d+)<', text).group(1))
    assert rate == pytest.approx(64, abs=4)
    order = re.search(r"<LeadOrder>(.*?)</LeadOrder>", text).group(1)
    assert order == ", ".join(LEADS)
    row = re.search(r'<RAmplitude units="uV">(.*?)</RAmplitude>', text).group(1)
    assert len(row.split(", ")) == 12
    assert text.count("<WaveformData") == 24
