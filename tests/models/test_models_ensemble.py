"""An ensemble moves by the mean of its members and tells how far they are apart."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cof.config.controls import EnsembleSettings
from cof.config.flow import CofSettings, VelocitySettings
from cof.models.base import Generated
from cof.models.carried import carried_volumes
from cof.models.controls.ensemble import EnsembleModel, spread
from cof.models.flow.cof import CofModel
from cof.models.flow.velocity import VelocityField

TINY = VelocitySettings(channels=(4, 8), embedding=8, ecg_channels=(4, 8), time_harmonics=4, modes=0)
FRAMES = 12


class Scaled:
    """The registered motion of a toy heart, times a factor."""

    def __init__(self, factor):
        self.factor = factor

    def generate(self, subject, frames, seed):
        return Generated(displacement=self.factor * torch.from_numpy(subject.displacement).float())


def awake(seed):
    torch.manual_seed(seed)
    network = VelocityField(TINY)
    for layer in network.parameters():
        torch.nn.init.normal_(layer, std=0.2)
    return network


class Mean(torch.nn.Module):
    """The mean velocity of several fields."""

    def __init__(self, networks):
        super().__init__()
        self.networks = torch.nn.ModuleList(networks)

    def encode(self, *inputs):
        self.conditions = [network.encode(*inputs) for network in self.networks]
        return self.conditions[0]

    def forward(self, phase, condition):
        every = [network(phase, own) for network, own in zip(self.networks, self.conditions)]
        return torch.stack(every).mean(0)


@pytest.mark.parametrize("closure", ["none", "project"])
def test_the_mean_displacement_is_that_of_the_mean_velocity(closure, toy_hearts):
    heart = toy_hearts(1)[0]
    settings = CofSettings.model_validate({"family": "cof", "field": TINY, "ode": {"closure": closure}})
    networks = [awake(seed) for seed in range(3)]
    ensemble = EnsembleModel({str(k): CofModel(network, settings) for k, network in enumerate(networks)})
    made = ensemble.generate(heart, FRAMES, 0)
    expected = CofModel(Mean(networks), settings).generate(heart, FRAMES, 0).displacement
    assert made.displacement.abs().max() > 0
    torch.testing.assert_close(made.displacement, expected, atol=1e-5 * float(expected.abs().max()), rtol=1e-4)
    assert made.measures["members"] == 3
    assert made.measures["ef_sd_pct"] >= 0


def test_volumes_are_those_of_the_carried_cavity(toy_hearts):
    """At rest, the voxels of valid slices; shifted away from the heart, none."""
    heart = toy_hearts(1)[0]
    rest = torch.zeros(2, 3, 5, 16, 16)
    rest[1, 1] = 1000.0
    volumes = carried_volumes(heart.anchor_labels, rest, heart.placement)
    assert volumes[0] == pytest.approx((heart.anchor_labels == 1).sum() * 10 * 4 * 4 / 1000)
    assert volumes[1] == 0
    hidden = replace(heart.placement, valid=(True, False, True, True, True))
    assert carried_volumes(heart.anchor_labels, rest, hidden)[0] == pytest.approx(0.75 * volumes[0])


@pytest.mark.parametrize(("slices", "left"), [(0.5, 5), (1, 4.5), (2, 3.5), (9, 0)])
def test_a_carried_cavity_leaves_the_stack_from_one_slice_distance_on(slices, left, toy_hearts):
    heart = toy_hearts(1)[0]
    everywhere = np.ones_like(heart.anchor_labels)
    sunk = torch.zeros(1, 3, 5, 16, 16)
    sunk[:, 0] = -slices * 10.0
    volume = carried_volumes(everywhere, sunk, heart.placement)[0]
    assert volume == pytest.approx(left * everywhere[0].size * 10 * 4 * 4 / 1000)


def test_members_that_agree_have_no_spread_and_the_spread_grows_with_disagreement(toy_hearts):
    heart = toy_hearts(1)[0]
    measures = [
        EnsembleModel({str(k): Scaled(factor) for k, factor in enumerate(factors)}).generate(heart, FRAMES, 0).measures
        for factors in ((1.0, 1.0), (0.9, 1.1), (0.6, 1.4))
    ]
    for key in ("ef_sd_pct", "esv_sd_ml"):
        same, near, far = (each[key] for each in measures)
        assert same == 0
        assert 0 < 2 * near < far
    curve = np.array(measures[2]["lv_curve_sd_ml"])
    assert len(curve) == FRAMES
    assert curve[0] == 0  # all of them begin at the anchor
    assert curve.max() == pytest.approx(measures[2]["esv_sd_ml"], rel=0.3)


def test_the_spread_of_known_volumes():
    volumes = np.array([[100.0, 40.0, 70.0], [100.0, 60.0, 80.0]])
    found = spread(volumes)
    assert found["ef_sd_pct"] == pytest.approx(np.std([60, 40], ddof=1), abs=1e-4)
    assert found["esv_sd_ml"] == pytest.approx(np.std([40, 60], ddof=1), abs=1e-4)
    assert found["lv_curve_sd_ml"] == pytest.approx([0, np.std([40, 60], ddof=1), np.std([70, 80], ddof=1)], abs=1e-4)


def test_an_ensemble_has_two_members_at_least():
    with pytest.raises(ValueError, match="at least 2"):
        EnsembleSettings(members=("cof",))
