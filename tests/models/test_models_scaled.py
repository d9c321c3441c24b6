import numpy as np
import pytest

from cof.config.controls import ScaledMotionSettings
from cof.errors import CofError, Reason
from cof.models.carried import FACTORS, carried_ef, scale_to_ef
from cof.models.controls.scaled import EfRegression, ScaledMotionFamily
from cof.training.run import Run


@pytest.fixture(scope="module")
def hearts(toy_hearts):
    return toy_hearts(12, seed=1)


def made_by(predictors, hearts, folder):
    settings = ScaledMotionSettings(predictors=predictors)
    folder.mkdir()
    ScaledMotionFamily().fit(hearts, [], settings, 0, Run(folder / "checkpoint.pt"))(folder)
    return ScaledMotionFamily().load(folder, settings)


@pytest.mark.parametrize("predictors", ["ecg", "edv", "none"])
def test_the_scaled_motion_has_the_ef_that_was_asked_for(hearts, toy_hearts, tmp_path, predictors):
    model = made_by(predictors, hearts, tmp_path / "model")
    for heart in toy_hearts(4, seed=2):
        made = model.generate(heart, 12, 0)
        reached = max(carried_ef(heart.anchor_labels, frame, heart.placement) for frame in made.displacement)
        if FACTORS[0] < made.measures["factor"] < FACTORS[1]:
            assert reached == pytest.approx(made.measures["ef_wanted_pct"], abs=0.2)


def test_an_ef_in_reach_is_hit_and_one_beyond_gets_the_end_of_the_range(hearts, tmp_path):
    heart = hearts[0]
    mean = made_by("none", hearts, tmp_path / "model").mean.generate(heart, 12, 0).displacement
    for wanted in (20.0, 40.0):
        factor = scale_to_ef(heart, mean, wanted)
        reached = max(carried_ef(heart.anchor_labels, factor * frame, heart.placement) for frame in mean)
        assert reached == pytest.approx(wanted, abs=0.2)
    assert scale_to_ef(heart, mean, -5.0) == FACTORS[0]
    assert scale_to_ef(heart, mean, 99.9) == FACTORS[1]


def test_the_ecg_foretells_an_ef_that_depends_on_it_and_edv_does_not(hearts, toy_hearts):
    """The toy hearts' EF is a linear function of one feature."""
    unseen = toy_hearts(6, seed=3)
    truth = np.array([heart.ef_pct for heart in unseen])
    train_ef = np.array([heart.ef_pct for heart in hearts])
    fitted = EfRegression.of(np.stack([heart.features for heart in hearts]), train_ef)
    assert np.abs([fitted.predict(heart.features) for heart in unseen] - truth).max() < 1
    nothing = EfRegression.of(np.empty((12, 0)), train_ef)
    assert nothing.predict(np.empty(0)) == pytest.approx(train_ef.mean())


def test_what_was_not_measured_counts_as_the_mean():
    rng = np.random.default_rng(0)
    values = rng.normal(5, 2, (400, 2))
    ef = 50 + 3 * (values[:, 0] - 5)
    values[::4, 0] = np.nan
    fitted = EfRegression.of(values, ef)
    assert fitted.predict(np.array([np.nan, 5.0])) == pytest.approx(ef.mean(), abs=0.6)
    assert fitted.predict(np.array([7.0, 5.0])) - fitted.predict(np.array([5.0, 5.0])) == pytest.approx(6, abs=0.5)


def test_an_anchor_without_lv_excludes_its_subject(hearts, tmp_path):
    heart = hearts[0]
    mean = made_by("none", hearts, tmp_path / "model").mean.generate(heart, 12, 0).displacement
    with pytest.raises(CofError, match="no LV") as caught:
        carried_ef(np.where(heart.anchor_labels == 1, 0, heart.anchor_labels), mean[3], heart.placement)
    assert caught.value.reason is Reason.HEART_NOT_FOUND
