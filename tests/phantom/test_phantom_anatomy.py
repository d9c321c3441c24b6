from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cof.phantom.anatomy import ANGLES, MYOCARDIAL_DENSITY, build_heart, segment_weights
from cof.phantom.population import sample


def _ml(heart, inner, outer, below):
    return float(((outer**2 - inner**2) / 2)[below].sum(dtype=float) * 2 * np.pi / ANGLES / 1000)


@given(st.integers(0, 5000), st.sampled_from(["population", "enriched"]))
@settings(max_examples=8, deadline=None)
def test_the_heart_has_the_latent_volumes_and_mass(number, arm):
    latents = sample(f"any-{number}", 0, arm)
    heart = build_heart(latents, np.random.default_rng(number))
    below = heart.z_mm <= heart.length_mm
    assert _ml(heart, np.zeros_like(heart.endo), heart.endo, below) == pytest.approx(latents.edv_ml, rel=1e-3)
    mass = MYOCARDIAL_DENSITY * _ml(heart, heart.endo, heart.epi, below)
    assert mass == pytest.approx(latents.lvm_g, rel=1e-3)
    # The RV ends at the tilted plane of the valves, so a cut at the height of the axis is near, not exact.
    assert _ml(heart, heart.epi, heart.rv_endo, below) == pytest.approx(latents.rvedv_ml, rel=0.2)


def test_surfaces_are_nested_and_the_rv_is_septal():
    latents = sample("nested", 0)
    heart = build_heart(latents, np.random.default_rng(0))
    assert (heart.endo <= heart.epi).all()
    assert (heart.epi <= heart.rv_endo + 1e-4).all()
    assert (heart.rv_endo <= heart.rv_epi + 1e-4).all()
    mid = np.searchsorted(heart.z_mm, heart.length_mm / 2)
    crescent = heart.rv_endo[mid] - heart.epi[mid]
    septal, lateral = ANGLES // 2, 0
    assert crescent[septal] > 10
    assert crescent[lateral] == 0


@pytest.mark.parametrize(("territory", "segment"), [("lad", 13), ("rca", 10), ("lcx", 11)])
def test_an_infarct_thins_its_territory_and_has_its_size(territory, segment):
    healthy = replace(sample("scar", 0), infarct="none", infarct_size=0.0)
    scarred = replace(healthy, infarct=territory, infarct_size=0.2)
    before = build_heart(healthy, np.random.default_rng(1))
    after = build_heart(scarred, np.random.default_rng(1))
    assert after.infarct_share.mean() == pytest.approx(0.2)
    assert after.infarct_share[segment - 1] > 0
    height = np.array([1 / 2 if segment < 13 else 1 / 6], np.float32) * healthy.length_mm
    weight = segment_weights(height, healthy.length_mm)[segment - 1, 0]
    angle = int(weight.argmax())

    def wall(heart):
        return float((heart.at(heart.epi, height) - heart.at(heart.endo, height))[0, angle])

    assert wall(after) < 0.95 * wall(before)


@given(st.floats(-20, 160))
@settings(max_examples=30, deadline=None)
def test_segment_weights_are_a_partition(height):
    weights = segment_weights(np.array([height], np.float32), 90.0)
    assert weights.shape == (16, 1, ANGLES)
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(0), 1, atol=1e-5)


def test_segments_lie_where_the_aha_puts_them():
    weights = segment_weights(np.array([75.0, 45.0, 15.0], np.float32), 90.0)
    quarter = ANGLES // 4
    # Anterior is 90 degrees, septal 180, inferior 270, lateral 0.
    assert weights[0, 0, quarter] == pytest.approx(1)
    assert weights[9, 1, 3 * quarter] == pytest.approx(1)
    assert weights[13, 2, 2 * quarter] == pytest.approx(1)
    assert weights[15, 2, 0] == pytest.approx(1)


def test_tables_turn_with_the_twist():
    heart = build_heart(sample("twist", 0), np.random.default_rng(0))
    height = np.array([40.0], np.float32)
    still, turned = heart.at(heart.epi, height), heart.at(heart.epi, height, np.array([7]))
    np.testing.assert_array_equal(turned[0], np.roll(still[0], 7))
