import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cof.phantom.card import PUBLISHED, calibrate, couple, explained, tabulate
from cof.phantom.population import PREVALENCE, Q_TO_R_MS, sample


@pytest.fixture(scope="module")
def population():
    return [sample(f"member-{k}", 3) for k in range(1500)]


def test_same_name_and_seed_give_the_same_participant():
    assert sample("a", 1) == sample("a", 1)
    assert sample("a", 1).edv_ml != sample("b", 1).edv_ml
    assert sample("a", 1).edv_ml != sample("a", 2).edv_ml


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_population_is_calibrated(population, name):
    row = calibrate(tabulate(population))["calibration"][name]
    # Means to a quarter of an SD; the axis has a wide, skewed spread of its own.
    assert abs(row["mean"] - row["published_mean"]) < 0.25 * row["published_sd"]
    assert 0.75 < row["sd"] / row["published_sd"] < 1.25


def test_ecg_and_anchor_tell_a_part_of_function_only(population):
    couplings = couple(tabulate(population))
    assert 0.2 < couplings["r_voltage_lvm_index"] < 0.4
    assert 0.15 < couplings["r2_ef_given_ecg"] < 0.35
    assert 0.04 < couplings["r2_ef_given_anchor"] < 0.2
    assert couplings["r2_ef_given_ecg_and_anchor"] < 0.5


def test_r2_of_a_known_mixture():
    rng = np.random.default_rng(0)
    feature, noise = rng.standard_normal((2, 20000))
    assert explained(feature[:, None], feature + 2 * noise) == pytest.approx(0.2, abs=0.02)
    assert explained(feature[:, None], noise) == pytest.approx(0, abs=0.001)


def test_enriched_arm_has_the_stated_disease():
    enriched = [sample(f"member-{k}", 0, "enriched") for k in range(1500)]
    wanted = PREVALENCE["enriched"]
    found = {
        "infarct": np.mean([own.infarct != "none" for own in enriched]),
        "lbbb": np.mean([own.conduction == "lbbb" for own in enriched]),
        "lvh": np.mean([own.lvh for own in enriched]),
        "af": np.mean([own.rhythm == "af" for own in enriched]),
    }
    for name, share in found.items():
        assert share == pytest.approx(getattr(wanted, name), abs=4 * np.sqrt(0.25 / 1500))


@given(st.integers(0, 10**6), st.sampled_from(["population", "enriched"]))
@settings(max_examples=150, deadline=None)
def test_the_cycle_is_in_order_and_closes(number, arm):
    own = sample(f"any-{number}", 5, arm)
    assert 0 < own.t_ejection_ms < own.t_es_ms < own.t_e_ms
    assert own.e_ms > 0
    assert own.t_e_ms + own.e_ms <= own.rr_cmr_ms + 1e-6
    assert own.t_a_ms + own.a_ms <= own.rr_cmr_ms + 1e-6
    assert (own.f_a == 0) == (own.rhythm == "af")
    assert (own.infarct_size > 0) == (own.infarct != "none")
    assert own.p_duration_ms < own.pr_ms
    assert 0 < own.edv_ml * own.ef_pct / 100 < own.rvedv_ml
    assert not own.septal_flash or own.conduction == "lbbb"


def test_end_systole_follows_rate_and_the_qt_residual(population):
    residual = [own.qt_ms + (2.1 if own.sex == "M" else 1.9) * own.hr_ecg_bpm for own in population]
    systole = [own.t_es_ms + Q_TO_R_MS + (2.2 if own.sex == "M" else 2.0) * own.hr_cmr_bpm for own in population]
    assert np.corrcoef([own.hr_cmr_bpm for own in population], [own.t_es_ms for own in population])[0, 1] < -0.6
    assert np.corrcoef(residual, systole)[0, 1] > 0.3
