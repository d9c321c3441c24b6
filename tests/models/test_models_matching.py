from dataclasses import replace

import numpy as np
import pytest
import torch

from cof.config import AffineSettings, CofSettings, VelocitySettings
from cof.models import matching
from cof.models.alignment import map_displacement
from cof.models.matching import MatchingBatch, heart_mask, matching_loss, velocity_scale
from cof.models.velocity import VelocityField
from cof.motion.augmentation import AffineMaps
from cof.motion.warp import warp

TINY = VelocitySettings(channels=(4, 8), embedding=8, ecg_channels=(4, 8), time_harmonics=4)
SETTINGS = CofSettings(field=TINY, iterations=6, batch=2, phases=2, checkpoint_every=2, warmup=0.3)


class Killed(Exception):
    """Stands for the signal that ends a job."""


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_killed_training_resumes_to_the_same_weights(toy_hearts, tmp_path, monkeypatch, ema):
    train, validation = toy_hearts(4), toy_hearts(2, seed=1)
    settings = SETTINGS.model_copy(update={"ema": ema})
    whole, log = matching.fit(train, validation, settings, 3, tmp_path / "whole")

    draw = matching._draw

    def killed(*arguments):
        if list((tmp_path / "killed").glob("*.pt")):
            raise Killed
        return draw(*arguments)

    monkeypatch.setattr(matching, "_draw", killed)
    with pytest.raises(Killed):
        matching.fit(train, validation, settings, 3, tmp_path / "killed")
    iterations = []
    monkeypatch.setattr(matching, "_draw", lambda *arguments: iterations.append(1) or draw(*arguments))
    resumed, resumed_log = matching.fit(train, validation, settings, 3, tmp_path / "killed")

    assert len(iterations) == 4
    assert log["iteration"].tolist() == [2, 4, 6]
    assert log.equals(resumed_log)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    assert not list(tmp_path.rglob("*.pt"))


def test_checkpoint_of_other_data_or_settings_is_passed_over(toy_hearts, tmp_path, monkeypatch):
    def stop(*arguments):
        raise Killed

    monkeypatch.setattr(matching, "validate", stop)
    other = toy_hearts(4, seed=5)
    for train, settings in ((toy_hearts(4), SETTINGS), (other, SETTINGS)):
        with pytest.raises(Killed):
            matching.fit(train, [], settings, 0, tmp_path)
    monkeypatch.undo()
    saved = []
    monkeypatch.setattr(matching, "save_checkpoint", lambda path, state: saved.append(path))
    for train, settings, seed in (
        (toy_hearts(4), SETTINGS, 0),
        (other, SETTINGS, 0),
        (other, SETTINGS, 1),
        (other, SETTINGS.model_copy(update={"phases": 3}), 0),
    ):
        matching.fit(train, [], settings, seed, tmp_path)
    assert len(set(saved)) == 4


def test_training_does_not_depend_on_the_generator_of_torch(toy_hearts, tmp_path):
    train = toy_hearts(3)
    torch.manual_seed(11)
    first, _ = matching.fit(train, [], SETTINGS, 0, tmp_path)
    torch.manual_seed(12)
    second, log = matching.fit(train, [], SETTINGS, 0, tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters()))
    assert log["validation_loss"].isna().all()


def test_loss_of_an_untrained_field_is_the_weighted_power_of_the_reference(toy_hearts):
    """The field starts at zero, so eq (9) is the mean square of v* in units of sigma, over valid slices."""
    heart = toy_hearts(1)[0]
    valid = (False, *heart.placement.valid[1:])
    heart = replace(heart, placement=replace(heart.placement, valid=valid))
    network = VelocityField(TINY)
    network.sigma.copy_(torch.tensor([1.0, 20.0, 30.0]))
    batch = MatchingBatch.of([heart], np.array([[0.2, 0.7]]), heart_weight=4.0)
    weight = (1 + 4 * heart_mask(heart.anchor_labels)) * torch.tensor(valid)[:, None, None]
    power = (batch.target[0] / network.sigma.view(3, 1, 1, 1)).square().mean(1)
    expected = (power * weight).sum() / (2 * weight.sum())
    torch.testing.assert_close(matching_loss(network, batch), expected)


def test_velocity_scale_is_the_root_mean_square_in_the_heart(toy_hearts):
    hearts = toy_hearts(2, end_systole=0.4, amplitude=5.0, moved_mm=0.0)
    scale = velocity_scale(hearts)
    inside = heart_mask(hearts[0].anchor_labels).bool()
    batch = MatchingBatch.of(hearts[:1], np.arange(12)[None] / 12, 0.0)
    expected = batch.target[0][:, :, inside].square().mean((0, 2)).sqrt()
    torch.testing.assert_close(scale[1:], expected[1:], rtol=1e-3, atol=0)
    assert scale[0] == 1  # nothing moves along z


def test_augmented_motion_is_the_motion_of_the_augmented_anchor():
    """A heart seen through y = A x + b: warping its image commutes with mapping it."""
    spacing = (10.0, 2.0, 2.0)
    axis = (torch.arange(40) - 19.5) * 2.0
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    image = torch.exp(-((y - 6) ** 2 + (x + 4) ** 2) / 200)[None, None, None]
    bump = torch.exp(-(y**2 + x**2) / 900)
    u = torch.stack([0 * y, 5 * bump, -3 * bump])[None, :, None]
    maps = AffineMaps.draw(AffineSettings(), 1, np.random.default_rng(0), torch.device("cpu"))
    mapped_then_moved = warp(maps.map_images(image, spacing), map_displacement(maps, u, spacing), spacing)
    moved_then_mapped = maps.map_images(warp(image, u, spacing), spacing)
    inner = (..., slice(8, -8), slice(8, -8))
    assert (mapped_then_moved - moved_then_mapped)[inner].abs().max() < 5e-3
    assert (mapped_then_moved - maps.map_images(image, spacing))[inner].abs().max() > 5e-2


def test_a_subject_without_motion_cannot_be_learnt_from(toy_hearts, tmp_path):
    with pytest.raises(ValueError, match="no registered displacement"):
        matching.fit([replace(toy_hearts(1)[0], displacement=None)], [], SETTINGS, 0, tmp_path)


def test_every_equal_part_of_the_cycle_has_one_phase(toy_hearts):
    settings = SETTINGS.model_copy(update={"batch": 3, "phases": 5, "augmentation": None})
    hearts = toy_hearts(4)
    drawn = torch.cat([matching._draw(hearts, settings, np.random.default_rng(seed)).phase for seed in range(40)])
    assert (drawn * 5).floor().equal(torch.arange(5.0).expand(len(drawn), -1))
    assert abs(float((drawn * 5 % 1).mean()) - 0.5) < 0.03
