import os
import signal

import numpy as np
import pandas as pd
import pytest
import torch

from cof.config.baselines import RegressionSettings
from cof.config.flow import VelocitySettings
from cof.models.flow.matching import MatchingBatch, heart_mask, velocity_scale
from cof.models.flow.objective import Phases
from cof.models.flow.regression import RegressionFamily
from cof.motion.path import DisplacementPath
from cof.training.run import Run

FIELD = VelocitySettings(channels=(8, 16), embedding=32, ecg_channels=(8, 16), time_harmonics=8)


def trained(hearts, folder, settings, validation=(), seed=0):
    folder.mkdir(exist_ok=True)
    RegressionFamily().fit(hearts, list(validation), settings, seed, Run(folder / "checkpoint.pt"))(folder)
    return RegressionFamily().load(folder, settings)


def test_the_target_is_the_registered_displacement_in_millimetres(toy_hearts):
    heart = toy_hearts(1)[0]
    phase = np.arange(12)[None] / 12
    batch = MatchingBatch.of([heart], phase, 0.0, DisplacementPath.displacement)
    np.testing.assert_allclose(batch.target[0], heart.displacement, atol=2e-3)
    inside = heart_mask(heart.anchor_labels).bool().numpy()
    expected = np.sqrt((heart.displacement[:, :, inside].astype(np.float64) ** 2).mean((0, 2)))
    scale = velocity_scale([heart], DisplacementPath.displacement).numpy()
    np.testing.assert_allclose(scale[1:], expected[1:], rtol=1e-3)
    assert scale[0] == 1  # nothing moves through the plane


def test_it_recovers_the_displacement_of_one_heart(toy_hearts, tmp_path):
    heart = toy_hearts(1, amplitude=6.0)[0]
    settings = RegressionSettings(
        field=FIELD.model_copy(update={"modes": 8}),
        iterations=80, batch=1, phases=8, learning_rate=1e-2, augmentation=None, checkpoint_every=20,
    )  # fmt: skip
    model = trained([heart], tmp_path / "m", settings)
    inside = heart_mask(heart.anchor_labels).bool().numpy()

    def error(made):
        return np.linalg.norm(made - heart.displacement, axis=1)[1:, inside].mean()

    made = model.generate(heart, 12, 0).displacement.numpy()
    assert np.count_nonzero(made[0]) == 0
    assert error(made) < 0.2 * error(np.zeros_like(made))
    losses = pd.read_csv(tmp_path / "m/log.csv")["train_loss"]
    assert losses.iloc[-1] < 0.1 * losses.iloc[0]
    twice = model.generate(heart, 24, 1).displacement.numpy()
    np.testing.assert_allclose(twice[::2], made, atol=1e-3)


def test_a_stopped_training_resumes_to_the_same_model(toy_hearts, tmp_path, monkeypatch):
    settings = RegressionSettings(field=FIELD, iterations=5, batch=2, phases=2, checkpoint_every=2)
    hearts = toy_hearts(3)
    whole = trained(hearts, tmp_path / "whole", settings, hearts[:1])
    draw = Phases.draw

    def stopping(source, iteration):
        if iteration == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return draw(source, iteration)

    monkeypatch.setattr(Phases, "draw", stopping)
    with pytest.raises(SystemExit):
        trained(hearts, tmp_path / "stopped", settings, hearts[:1])
    monkeypatch.setattr(Phases, "draw", draw)
    resumed = trained(hearts, tmp_path / "stopped", settings, hearts[:1])
    one, other = whole.network.state_dict(), resumed.network.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert (tmp_path / "whole/log.csv").read_bytes() == (tmp_path / "stopped/log.csv").read_bytes()
