import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

from cof.config.flow import CofSettings, VelocitySettings
from cof.models.flow import training
from cof.models.flow.objective import Phases
from cof.models.flow.training import fit
from cof.training.run import Run

TINY = VelocitySettings(channels=(4, 8), embedding=8, ecg_channels=(4, 8), time_harmonics=4)
SETTINGS = CofSettings(field=TINY, iterations=6, batch=2, phases=2, checkpoint_every=2, warmup=0.3)


def same(one, two):
    states = one.state_dict(), two.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_stopped_training_resumes_to_the_same_weights(toy_hearts, tmp_path, monkeypatch, ema):
    train, validation = toy_hearts(4), toy_hearts(2, seed=1)
    settings = SETTINGS.model_copy(update={"ema": ema})
    whole, log = fit(train, validation, settings, 3, Run(tmp_path / "whole.pt"))

    draw, drawn = Phases.draw, []

    def stopping(source, iteration):
        drawn.append(iteration)
        if iteration == 3 and len(drawn) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return draw(source, iteration)

    monkeypatch.setattr(Phases, "draw", stopping)
    with pytest.raises(SystemExit):
        fit(train, validation, settings, 3, Run(tmp_path / "stopped.pt"))
    resumed, resumed_log = fit(train, validation, settings, 3, Run(tmp_path / "stopped.pt"))

    assert drawn == [1, 2, 3, 4, 5, 6]
    assert log["iteration"].tolist() == [2, 4, 6]
    assert log.equals(resumed_log)
    assert same(whole, resumed)


def test_micro_batches_change_nothing_but_rounding(toy_hearts, tmp_path):
    hearts = toy_hearts(6)
    hearts[1] = replace(hearts[1], placement=replace(hearts[1].placement, valid=(True, False, True, False, True)))
    settings = SETTINGS.model_copy(update={"batch": 5, "weight_decay": 0.0})
    whole, log = fit(hearts, hearts[:2], settings, 0, Run(tmp_path / "whole.pt"))
    settings = settings.model_copy(update={"micro_batch": 2})
    parts, parts_log = fit(hearts, hearts[:2], settings, 0, Run(tmp_path / "parts.pt"))
    np.testing.assert_allclose(log, parts_log, rtol=1e-4)
    vectors = [torch.cat([value.flatten() for value in network.parameters()]) for network in (whole, parts)]
    assert (vectors[0] - vectors[1]).norm() < 1e-3 * vectors[0].norm()


def test_recomputed_blocks_give_the_same_training(toy_hearts, tmp_path):
    train = toy_hearts(3)
    plain, _ = fit(train, [], SETTINGS, 0, Run(tmp_path / "c.pt"))
    calls = []
    settings = SETTINGS.model_copy(update={"recompute": True, "iterations": 6})
    with pytest.MonkeyPatch.context() as patch:
        forward = training.FilmBlock.forward
        patch.setattr(training.FilmBlock, "forward", lambda *arguments: calls.append(1) or forward(*arguments))
        thrifty, _ = fit(train, [], settings, 0, Run(tmp_path / "d.pt"))
    assert same(plain, thrifty)
    assert len(calls) == 2 * 6 * 3  # forward and again backward, six iterations, three blocks


def test_training_does_not_depend_on_the_generator_of_torch(toy_hearts, tmp_path):
    train = toy_hearts(3)
    torch.manual_seed(11)
    first, _ = fit(train, [], SETTINGS, 0, Run(tmp_path / "a.pt"))
    torch.manual_seed(12)
    second, log = fit(train, [], SETTINGS, 0, Run(tmp_path / "b.pt"))
    assert same(first, second)
    assert log["validation_loss"].isna().all()


def test_a_subject_without_motion_cannot_be_learnt_from(toy_hearts, tmp_path):
    with pytest.raises(ValueError, match="no registered displacement"):
        fit([replace(toy_hearts(1)[0], displacement=None)], [], SETTINGS, 0, Run(tmp_path / "c.pt"))


def test_every_equal_part_of_the_cycle_has_one_phase(toy_hearts):
    settings = SETTINGS.model_copy(update={"batch": 3, "phases": 5, "augmentation": None})
    source = Phases(toy_hearts(4), [], settings, 0)
    drawn = torch.cat([source.load(source.draw(iteration)).phase for iteration in range(1, 41)])
    assert (drawn * 5).floor().equal(torch.arange(5.0).expand(len(drawn), -1))
    assert abs(float((drawn * 5 % 1).mean()) - 0.5) < 0.03
