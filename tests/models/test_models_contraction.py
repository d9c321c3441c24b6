"""A motion that is made as strong as the anatomy tells."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from cof.config.flow import ContractedSettings
from cof.errors import UsageError
from cof.heart.shape import SHAPE
from cof.heart.structures import STRUCTURES
from cof.models.base import Generated
from cof.models.carried import FACTORS, carried_ef
from cof.models.contraction import AnatomyRegression, ContractedFamily, ContractedModel
from cof.models.trained import MODEL
from cof.training.run import Run


def population(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Shapes [N, 8] and an EF that is a smooth function of two of them, with noise of 2 points."""
    rng = np.random.default_rng(seed)
    shapes = rng.normal(0, 0.3, (count, len(SHAPE)))
    return shapes, 55 - 30 * np.tanh(shapes[:, 0]) + 20 * shapes[:, 7] + rng.normal(0, 2, count)


def test_the_regression_tells_a_smooth_function_of_shape_and_its_own_error():
    regression = AnatomyRegression(*population(150, 0))
    shapes, ef_pct = population(100, 1)
    told = np.array([regression.predict(one) for one in shapes])
    error = told[:, 0] - ef_pct
    assert np.abs(error).mean() < 3
    assert np.abs(error).mean() < 0.4 * np.abs(ef_pct - ef_pct.mean()).mean()
    assert 0.85 < (np.abs(error) < 1.96 * told[:, 1]).mean() <= 1


def test_far_from_every_training_heart_it_tells_their_mean():
    shapes, ef_pct = population(60, 0)
    mean, deviation = AnatomyRegression(shapes, ef_pct).predict(np.full(len(SHAPE), 50.0))
    assert mean == pytest.approx(ef_pct.mean(), abs=0.5)
    assert deviation > 0.8 * ef_pct.std()


def test_what_is_kept_tells_the_same():
    regression = AnatomyRegression(*population(40, 0))
    again = AnatomyRegression.of_tensors(regression.tensors())
    for one in population(5, 1)[0]:
        assert again.predict(one) == pytest.approx(regression.predict(one), rel=1e-9)


class Told:
    """A model that says whether it was given an ECG: its motion is so much stronger."""

    def __init__(self, displacement: torch.Tensor, with_ecg: float) -> None:
        self.displacement, self.with_ecg = displacement, with_ecg

    def generate(self, subject, frames, seed):
        strength = self.with_ecg if subject.has_ecg else 1.0
        return Generated(displacement=strength * self.displacement, measures={"closure_mm": 0.5})


class Wanted:
    """A regression that tells one EF."""

    def __init__(self, ef_pct: float) -> None:
        self.ef_pct = ef_pct

    def predict(self, found):
        assert np.isfinite(found).all()
        return self.ef_pct, 5.0


def without_rv(heart):
    """The same heart, its anchor's RV not labelled."""
    labels = heart.anchor_labels.copy()
    labels[labels == STRUCTURES["RV"]] = 0
    return replace(heart, anchor_labels=labels)


@pytest.mark.parametrize("wanted", [15.0, 40.0])
def test_the_lv_reaches_the_ef_of_its_anatomy_and_what_the_ecg_adds_stays(toy_hearts, wanted):
    heart = toy_hearts(1)[0]
    motion = torch.as_tensor(heart.displacement).float()
    model = ContractedModel(Told(motion, with_ecg=1.1), Wanted(wanted), without_ecg=True)
    bare = model.generate(heart.without_ecg(), len(motion), 0)
    reached = max(carried_ef(heart.anchor_labels, frame, heart.placement) for frame in bare.displacement)
    factor = bare.measures["factor"]
    assert FACTORS[0] < factor < FACTORS[1]
    assert reached == pytest.approx(wanted, abs=0.2)
    heard = model.generate(heart, len(motion), 0)
    assert heard.measures["factor"] == factor
    assert torch.allclose(heard.displacement, 1.1 * bare.displacement)
    assert heard.measures["closure_mm"] == pytest.approx(0.5 * factor, abs=1e-4)


def test_a_model_that_needs_an_ecg_is_scaled_as_it_is_and_refuses_a_heart_without(toy_hearts):
    heart = toy_hearts(1)[0]
    motion = torch.as_tensor(heart.displacement).float()
    model = ContractedModel(Told(motion, with_ecg=1.4), Wanted(30.0), without_ecg=False)
    made = model.generate(heart, len(motion), 0).displacement
    reached = max(carried_ef(heart.anchor_labels, frame, heart.placement) for frame in made)
    assert reached == pytest.approx(30, abs=0.2)
    with pytest.raises(UsageError, match="ecg_dropout"):
        model.generate(heart.without_ecg(), len(motion), 0)


def test_a_heart_without_a_ventricle_keeps_the_motion_as_it_is(toy_hearts):
    heart = without_rv(toy_hearts(1)[0])
    motion = torch.as_tensor(heart.displacement).float()
    made = ContractedModel(Told(motion, 1.0), Wanted(30.0), without_ecg=True).generate(heart, len(motion), 0)
    assert torch.equal(made.displacement, motion)
    assert "factor" not in made.measures


def test_hearts_without_a_ventricle_teach_nothing(toy_hearts, tmp_path):
    hearts = toy_hearts(4)
    lacking = [without_rv(heart) for heart in hearts]
    run = Run(tmp_path / "run.pt")
    with pytest.raises(UsageError, match="0 training hearts"):
        ContractedFamily().fit(lacking, [], ContractedSettings(), 0, run)
    (tmp_path / MODEL).mkdir()
    record = {"settings": {"family": "static"}, "frames": 12, "shape": [5, 32, 32], "spacing_mm": [10, 4, 4]}
    (tmp_path / MODEL / "settings.json").write_text(json.dumps(record | {"beat_samples": 128, "provenance": {}}))
    ContractedFamily().fit(hearts + lacking, [], ContractedSettings(), 0, run)(tmp_path)
    model = ContractedFamily().load(tmp_path, ContractedSettings())
    assert np.array_equal(model.regression.ef_pct, [heart.ef_pct for heart in hearts])
