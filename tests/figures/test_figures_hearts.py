"""Cases and panel: who is chosen, volumes in closed form, waves of a constructed ECG."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cof.config.figures import FigureSettings
from cof.ecg.record import LEADS
from cof.errors import UsageError
from cof.figures import cases, panel
from cof.figures.hearts import Pair, ef_errors, median_of
from cof.figures.sources import NotDrawn, Sources
from constructed import FRAMES, RR_MS, SPACING, add_beats, add_hearts, area, make_run, name

# Subject to absolute EF error; 1 to 5 have hypertrophy, 5 and 6 ischaemia, 7 neither.
ERRORS = dict(zip(map(name, range(1, 8)), (4.0, -1.0, 3.0, -9.0, 2.0, 0.5, 20.0)))
CATEGORIES = {one: ["normal"] for one in ERRORS}
CATEGORIES |= {name(k): ["hypertrophy"] for k in range(1, 5)} | {name(5): ["hypertrophy", "ischaemia"]}
CATEGORIES |= {name(6): ["ischaemia"]}


def ecg() -> np.ndarray:
    """A cycle [12, 500] mV that begins at R, with S at 30 ms, T at 300 ms and P at 840 ms."""
    phase = np.arange(500) / 500
    waves = ((1.0, 0.0, 0.012), (-0.3, 0.03, 0.01), (0.3, 0.3, 0.04), (0.15, 0.84, 0.02))
    beat = sum(height * np.exp(-(((phase - at + 0.5) % 1 - 0.5) ** 2) / (2 * width**2)) for height, at, width in waves)
    gains = np.array([0.6, 1.0, 0.5, -0.8, 0.2, 0.7, -0.5, 0.3, 0.6, 1.1, 1.2, 0.9])
    return gains[:, None] * beat


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    root = tmp_path_factory.mktemp("run")
    rows = [
        row
        for one, error in ERRORS.items()
        for row in ((one, "LV", None, "ef_pct", 60 + error), (one, "LV", None, "ef_reference_pct", 60.0))
    ]
    made = make_run(root, {"cof": rows, "mean_motion": []}, CATEGORIES)
    for one in ERRORS:
        add_hearts(root, one, real=(6.0, 4), generated=(8.0, 5))
    add_beats(root, list(ERRORS)[:6], ecg())
    return made


def chosen_by(sources: Sources, **settings: object) -> Sources:
    return replace(sources, settings=FigureSettings(model="cof", **settings))


def test_cases_are_chosen_by_their_ef_error_and_not_by_eye(sources: Sources) -> None:
    assert cases.chosen(sources) == [
        ("hypertrophy", cases.MEDIAN, name(3), 5),
        ("hypertrophy", cases.WORST, name(4), 5),
        ("ischaemia", cases.MEDIAN, name(6), 2),
        ("ischaemia", cases.WORST, name(5), 2),
    ]
    errors = ef_errors(sources)
    assert list(errors) == sorted(abs(error) for error in ERRORS.values())
    assert median_of(errors) == name(3)


def test_curves_of_a_case_are_those_of_the_discs(sources: Sources) -> None:
    frame = cases.data(sources)
    own = frame[(frame["subject"] == name(4)) & (frame["heart"] == "generated")]
    voxel_ml = np.prod(SPACING) / 1000
    slices = 6
    assert own["volume_ml"].iloc[0] == pytest.approx(area(12.0) * slices * voxel_ml)
    assert own["volume_ml"].min() == pytest.approx(area(8.0) * slices * voxel_ml)
    assert list(own["mark"]) == ["ED", *[""] * 4, "ES", *[""] * 4]
    np.testing.assert_allclose(own["time_ms"], np.arange(FRAMES) * RR_MS / FRAMES)
    assert own["ef_pct"].iloc[0] == pytest.approx(100 * (1 - area(8.0) / area(12.0)))
    assert "Hypertrophy: chosen from 5 subjects." in cases.remark(frame, sources)
    assert len(cases.draw(frame, sources).subfigs) == 4


def test_named_cases_are_said_to_be_no_sample(sources: Sources) -> None:
    named = chosen_by(sources, cases=(name(7),))
    frame = cases.data(named)
    assert set(frame["subject"]) == {name(7)}
    assert set(frame["rule"]) == {cases.NAMED}
    assert "no sample of any category" in cases.remark(frame, named)
    with pytest.raises(UsageError, match="no subject 'sub-0099-v2'"):
        cases.data(chosen_by(sources, cases=(name(99),)))


def test_without_subjects_of_the_categories_there_are_no_cases(tmp_path: Path) -> None:
    rows = [(name(1), "LV", None, "ef_pct", 60.0), (name(1), "LV", None, "ef_reference_pct", 60.0)]
    with pytest.raises(NotDrawn, match="in the categories hypertrophy and ischaemia"):
        cases.data(make_run(tmp_path, {"cof": rows}, {name(1): ["normal"]}))


def test_one_subject_of_a_category_is_shown_once(tmp_path: Path) -> None:
    rows = [(name(1), "LV", None, "ef_pct", 61.0), (name(1), "LV", None, "ef_reference_pct", 60.0)]
    sources = make_run(tmp_path, {"cof": rows}, {name(1): ["ischaemia"]})
    assert cases.chosen(sources) == [("ischaemia", cases.MEDIAN, name(1), 1)]
    add_hearts(tmp_path, name(1), real=(6.0, 4), generated=(6.0, 4))
    assert "Hypertrophy: chosen from 0 subjects." in cases.remark(cases.data(sources), sources)


def test_images_are_shown_at_the_phase_of_the_real_es(sources: Sources) -> None:
    pair = Pair.read(sources, name(1))
    assert pair.es_phase == 4 / FRAMES
    shrunk, wide = (pair.mask("real", phase, 1) for phase in (pair.es_phase, 0.0))
    assert (shrunk == 1).sum() == area(6.0)
    assert (wide == 1).sum() == area(12.0)
    assert (pair.mask("generated", pair.es_phase, 1) == 1).sum() == area(11.0)  # its ES is one frame later


def test_waves_of_a_constructed_ecg_are_found_where_they_are(sources: Sources) -> None:
    frame = panel.data(sources)
    assert set(frame["subject"]) == {name(3)}
    found = frame[frame["kind"] == "wave"].set_index("name")
    assert set(found.index) == {"R", "S", "T", "P"}
    assert found.loc["R", "phase"] == 0
    for wave, at in (("S", 30), ("T", 300), ("P", 840)):
        assert found.loc[wave, "time_ms"] == pytest.approx(at, abs=8), wave
    strip = frame[frame["kind"] == "ecg"]
    np.testing.assert_allclose(strip["mv"], ecg()[LEADS.index("II")], atol=1e-6)
    assert panel.remark(frame, sources) == f"Model cof, {name(3)}: the subject with the median absolute EF error."


def test_phases_between_ed_and_es_and_their_volumes(sources: Sources) -> None:
    frame = panel.data(sources)
    hearts = frame[frame["kind"] == "heart"].set_index(["name", "heart"])
    expected = {"ED": 0.0, "mid-systole": 0.2, "ES": 0.4, "mid-diastole": 0.7}
    assert {shown: hearts.loc[(shown, "real"), "phase"] for shown in expected} == pytest.approx(expected)
    voxel_ml = np.prod(SPACING) / 1000
    assert hearts.loc[("ES", "real"), "lv_ml"] == pytest.approx(area(6.0) * 6 * voxel_ml)
    assert hearts.loc[("ES", "generated"), "lv_ml"] == pytest.approx(area(11.0) * 6 * voxel_ml)
    ring = hearts.loc[("ES", "real"), "myocardium_ml"]
    assert ring == pytest.approx((area(16.0) - area(6.0)) * 6 * voxel_ml)
    assert len(panel.draw(frame, sources).axes) == 2 + 4 * 4


def test_a_wave_that_is_absent_is_said_to_be(sources: Sources, tmp_path: Path) -> None:
    beat = ecg()
    beat[:, 380:450] = beat[:, 450:451]  # no P wave
    assert "P" not in panel.waves(beat, RR_MS)


def test_a_heart_without_an_ecg_is_shown_without_one(sources: Sources) -> None:
    silent = chosen_by(sources, panel=name(7))
    frame = panel.data(silent)
    assert (frame["kind"] == "heart").all()
    assert "named in the configuration" in panel.remark(frame, silent)
    assert "made without an ECG" in panel.remark(frame, silent)
    panel.draw(frame, silent)


def test_a_missing_heart_is_an_error(tmp_path: Path) -> None:
    rows = [(name(1), "LV", None, "ef_pct", 60.0), (name(1), "LV", None, "ef_reference_pct", 60.0)]
    sources = make_run(tmp_path, {"cof": rows}, {name(1): ["ischaemia"]})
    with pytest.raises(UsageError, match="holds no cine/b001/sub-0001-v2"):
        cases.data(sources)
