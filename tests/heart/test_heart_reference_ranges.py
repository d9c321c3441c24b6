"""Reference ranges: numbers of the publication, and the body surface that indexes them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cof.heart.reference_ranges import ABSOLUTE, INDEXED, SEXES, Range, body_surface_m2


@pytest.mark.parametrize(("height", "weight", "area"), [(180, 80, 2.0), (160, 90, 2.0), (150, 24, 1.0), (100, 36, 1.0)])
def test_body_surface_by_hand(height: float, weight: float, area: float) -> None:
    assert body_surface_m2(height, weight) == pytest.approx(area)


def test_body_surface_is_unknown_without_size() -> None:
    assert math.isnan(body_surface_m2(math.nan, 80))


@given(st.floats(100, 220), st.floats(20, 200), st.floats(1.1, 2))
def test_body_surface_grows_as_the_square_root(height: float, weight: float, factor: float) -> None:
    assert body_surface_m2(height, factor**2 * weight) == pytest.approx(factor * body_surface_m2(height, weight))


def test_numbers_of_the_abstract() -> None:
    """EF 61 +- 5 and 58 +- 5 %, LV mass index 42 +- 7 and 53 +- 9 g/m2 (mean and SD; women and men)."""
    published = (
        (ABSOLUTE["LV", "ef_pct"], (61, 5), (58, 5)),
        (INDEXED["LV", "mass_g"], (42, 7), (53, 9)),
    )
    for ranges, women, men in published:
        for sex, (mean, sd) in (("F", women), ("M", men)):
            low, high = ranges[sex]
            assert (low + high) / 2 == pytest.approx(mean)
            assert (high - low) / (2 * 1.96) == pytest.approx(sd)


def test_limits_agree_with_means_and_standard_deviations_of_the_same_cohort() -> None:
    """The widest limits of the age groups hold 95 % of all ages, and not much more."""
    published = {
        ("LV", "edv_ml"): ((124, 21), (166, 32)),
        ("LV", "esv_ml"): ((49, 11), (69, 16)),
        ("LV", "sv_ml"): ((75, 14), (96, 20)),
    }
    for key, moments in published.items():
        for sex, (mean, sd) in zip(SEXES, moments):
            low, high = ABSOLUTE[key][sex]
            assert low <= mean - 1.8 * sd
            assert high >= mean + 1.9 * sd
            assert high - low <= 2 * 2.4 * sd


def test_every_range_is_of_both_sexes_and_those_of_men_are_wider_up() -> None:
    for ranges in (*ABSOLUTE.values(), *INDEXED.values()):
        assert set(ranges) == set(SEXES)
    for key in set(ABSOLUTE) - {("LV", "ef_pct")}:
        assert ABSOLUTE[key]["M"].high > ABSOLUTE[key]["F"].high
    assert set(INDEXED) < set(ABSOLUTE)


def test_place() -> None:
    limits = Range(10, 20)
    assert [limits.place(value) for value in (9.9, 10, 15, 20, 20.1)] == ["low", "", "", "", "high"]
