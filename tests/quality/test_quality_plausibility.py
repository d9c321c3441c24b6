"""Every check against closed forms: volumes that are chosen, and box hearts whose voxels are counted by hand."""

import json
import math

import numpy as np
import pytest

from cof.quality.plausibility import CHECKS, Check, Heart, doubts, measure

FRAMES = 20
PHASE = np.arange(FRAMES) / FRAMES


def beat(edv: float, esv: float) -> np.ndarray:
    """A cycle [T] that begins and ends at its largest volume."""
    return esv + (edv - esv) * np.cos(np.pi * PHASE) ** 2


def heart(
    lv: tuple[float, float] = (150, 60), rv: tuple[float, float] = (160, 70), mass: float = 100, rr: float = 900
) -> Heart:
    return Heart(beat(*lv), beat(*rv), mass, 900.0, rr)


def keys(one: Heart) -> set[str]:
    return {doubt.check.key for doubt in doubts(measure(one))}


def test_a_healthy_heart_passes_with_its_numbers() -> None:
    values = measure(heart())
    expected = {"lv_edv_ml": 150, "lv_esv_ml": 60, "lv_sv_ml": 90, "lv_ef_pct": 60, "lv_mass_g": 100, "rv_edv_ml": 160}
    expected |= {"rv_ef_pct": 100 * 90 / 160, "sv_ratio": 1, "ed_excess_pct": 0, "rr_ratio": 1}
    expected |= {"open_curve": 1 - math.cos(math.pi * (1 - 1 / FRAMES)) ** 2}
    assert values == pytest.approx(expected)
    assert doubts(values) == []


@pytest.mark.parametrize(
    ("one", "warned"),
    [
        (heart(lv=(58, 25)), {"lv_edv_ml"}),
        (heart(lv=(520, 340)), {"lv_edv_ml"}),
        (heart(lv=(70, 7)), {"lv_esv_ml", "lv_ef_pct"}),
        (heart(lv=(480, 460)), {"lv_esv_ml", "lv_ef_pct", "sv_ratio"}),
        (heart(lv=(150, 136), rv=(160, 146)), {"lv_sv_ml"}),
        (heart(lv=(450, 240), rv=(300, 90)), {"lv_sv_ml"}),
        (heart(mass=25), {"lv_mass_g"}),
        (heart(mass=460), {"lv_mass_g"}),
        (heart(rv=(16, 8)), {"rv_edv_ml", "sv_ratio"}),
        (heart(rv=(510, 420)), {"rv_edv_ml"}),
        (heart(rv=(160, 157)), {"rv_ef_pct", "sv_ratio"}),
        (heart(lv=(150, 130), rv=(160, 70)), {"sv_ratio"}),
        (heart(rr=1242 / 800 * 900), {"rr_ratio"}),
        (heart(rr=590), {"rr_ratio"}),
    ],
)
def test_what_cannot_be_is_warned_about(one: Heart, warned: set[str]) -> None:
    assert keys(one) == warned


@pytest.mark.parametrize(
    "one",
    [
        heart(lv=(420, 386), rv=(180, 140), mass=250),  # dilated, EF 8 %
        heart(lv=(75, 15), rv=(70, 25), mass=300),  # hypertrophied
        heart(lv=(80, 35), rv=(290, 180)),  # a dilated right ventricle behind a shunt
        heart(lv=(230, 110), rv=(160, 110)),  # half of the stroke regurgitates
        heart(rr=650),
    ],
)
def test_disease_is_plausible(one: Heart) -> None:
    assert keys(one) == set()


def test_end_diastole_is_the_largest_and_the_curve_closes() -> None:
    begun_late = Heart(np.roll(beat(150, 60), -4), np.roll(beat(160, 70), -4), 100.0)
    values = measure(begun_late)
    assert values["ed_excess_pct"] == pytest.approx(100 * (150 / begun_late.lv_ml[0] - 1))
    assert "ed_excess_pct" in keys(begun_late)
    half = Heart(np.linspace(150, 60, FRAMES), np.linspace(160, 70, FRAMES), 100.0)
    assert measure(half)["open_curve"] == pytest.approx(1)
    assert keys(half) == {"open_curve"}


def test_a_lone_anchor_and_ed_with_es_are_judged_by_what_they_have() -> None:
    lone = measure(Heart(np.array([150.0]), np.array([160.0]), 100.0))
    known = {key for key, value in lone.items() if math.isfinite(value)}
    assert known == {"lv_edv_ml", "lv_mass_g", "rv_edv_ml"}
    assert doubts(lone) == []
    pair = Heart(np.array([150.0, 60.0]), np.array([160.0, 70.0]), 100.0)
    assert math.isnan(measure(pair)["open_curve"])
    assert keys(pair) == set()
    assert keys(Heart(np.array([30.0]), np.array([16.0]), 100.0)) == {"lv_edv_ml", "rv_edv_ml"}


def test_a_heart_without_any_voxel_is_warned_about() -> None:
    nothing = Heart(np.zeros(FRAMES), np.zeros(FRAMES), 0.0)
    assert {"lv_edv_ml", "rv_edv_ml", "lv_mass_g"} <= keys(nothing)
    assert math.isnan(measure(nothing)["lv_ef_pct"])


def test_labels_are_counted_with_their_spacing() -> None:
    labels = np.zeros((2, 5, 20, 20), np.uint8)
    labels[0, :, :10, :10], labels[1, :, :5, :10] = 1, 1
    labels[:, :, 10:, :10], labels[:, :, :10, 10:] = 2, 3
    one = Heart.of(labels, (10.0, 2.0, 1.5), 1000.0, 500.0)
    voxel_ml = 0.03
    np.testing.assert_allclose(one.lv_ml, [500 * voxel_ml, 250 * voxel_ml])
    np.testing.assert_allclose(one.rv_ml, [500 * voxel_ml] * 2)
    assert one.mass_g == pytest.approx(1.05 * 500 * voxel_ml)
    assert measure(one)["rr_ratio"] == 0.5


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.key)
def test_limits_are_plausible_themselves_and_nothing_beyond_them(check: Check) -> None:
    for limit, outward in ((check.low, -1), (check.high, 1)):
        if limit is not None:
            assert not check.beyond(limit)
            assert check.beyond(limit + outward * 1e-6)
    assert not check.beyond(math.nan)
    assert check.source
    assert check.limits


def test_a_doubt_tells_value_limits_and_source() -> None:
    (doubt,) = doubts({"lv_edv_ml": 58.04})
    assert str(doubt) == "LV EDV 58.0 mL, plausible is 60 to 500 mL"
    record = json.loads(json.dumps(doubt.record()))
    assert (record["check"], record["value"], record["low"], record["high"]) == ("lv_edv_ml", 58.04, 60, 500)
    assert "Petersen" in record["source"]
