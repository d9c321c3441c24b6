from dataclasses import replace

import numpy as np
import torch

from cof.config.flow import VelocitySettings
from cof.config.training import AffineSettings
from cof.models.alignment import map_displacement
from cof.models.flow.matching import MatchingBatch, displacement_at, heart_mask, matching_loss, velocity_scale
from cof.models.flow.velocity import VelocityField
from cof.motion.augmentation import AffineMaps
from cof.motion.path import DisplacementPath
from cof.motion.warp import warp

TINY = VelocitySettings(channels=(4, 8), embedding=8, ecg_channels=(4, 8), time_harmonics=4)


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


def test_without_scaled_axes_the_loss_is_eq_9_times_a_constant(toy_hearts):
    """A field's error along one axis counts by its square in mm, whatever the velocity along that axis."""
    batch = MatchingBatch.of(toy_hearts(2), np.array([[0.1, 0.6], [0.3, 0.9]]), heart_weight=0.0)
    network = VelocityField(TINY)
    network.sigma.copy_(torch.tensor([0.5, 20.0, 40.0]))
    constant = network.sigma.square().mean()
    seen = []
    for axis in range(3):
        target = torch.zeros_like(batch.target)
        target[:, :, axis] = 3.0
        seen.append(matching_loss(network, replace(batch, target=target), scaled_axes=False) * constant)
    torch.testing.assert_close(torch.stack(seen), torch.full((3,), 3.0**2 / 3))
    plain = matching_loss(network, batch, scaled_axes=False) * constant
    valid = batch.weight[:, None, None] > 0
    torch.testing.assert_close(plain, batch.target.square()[valid.expand_as(batch.target)].mean())


def test_velocity_scale_is_the_root_mean_square_in_the_heart(toy_hearts):
    hearts = toy_hearts(2, end_systole=0.4, amplitude=5.0, moved_mm=0.0)
    scale = velocity_scale(hearts)
    inside = heart_mask(hearts[0].anchor_labels).bool()
    batch = MatchingBatch.of(hearts[:1], np.arange(12)[None] / 12, 0.0)
    expected = batch.target[0][:, :, inside].square().mean((0, 2)).sqrt()
    torch.testing.assert_close(scale[1:], expected[1:], rtol=1e-3, atol=0)
    assert scale[0] == 1  # nothing moves along z


def test_displacement_of_modes_is_their_integral_from_the_anchor(toy_hearts):
    """Against Simpson's rule over many steps, from any anchor."""
    network = VelocityField(TINY.model_copy(update={"ecg_local": False, "time_harmonics": 2}))
    for layer in (network.modes.maps, network.modes.courses[-1]):
        torch.nn.init.normal_(layer.weight, std=0.3)
    batch = MatchingBatch.of(toy_hearts(2), np.array([[0.1, 0.45, 0.9]] * 2), 0.0)
    condition = network.encode(batch.anchor, batch.valid, batch.beat, batch.rr_ms, batch.features)
    for start in (0.0, 0.35):
        anchor = torch.full((2,), start)
        found = displacement_at(network, condition, batch.phase, anchor).detach()
        for column, end in enumerate((0.1, 0.45, 0.9)):
            phases = torch.linspace(start, end, 129)
            rates = network(phases[None].expand(2, -1), condition).detach()
            step = (end - start) / 128
            simpson = (rates[:, :-2:2] + 4 * rates[:, 1:-1:2] + rates[:, 2::2]).sum(1) * step / 3
            # Twelve harmonics of the cycle are exact, and faster ones small.
            assert (found[:, column] - simpson).norm() < 0.02 * simpson.norm()
    nowhere = displacement_at(network, condition, batch.phase, batch.phase[:, 1])
    assert nowhere[:, 1].abs().max() < 1e-5


def test_the_displacement_counts_as_much_as_it_is_weighted(toy_hearts):
    """The field starts at zero, so that its displacement's error is the displacement, in units of sigma / 2 pi."""
    phase = np.array([[0.2, 0.7]])
    batch = MatchingBatch.of(toy_hearts(1), phase, 4.0, with_displacement=True)
    network = VelocityField(TINY)
    network.sigma.copy_(torch.tensor([1.0, 20.0, 30.0]))
    assert torch.equal(
        batch.displacement, MatchingBatch.of(toy_hearts(1), phase, 4.0, DisplacementPath.displacement).target
    )
    power = (batch.displacement / network.sigma.view(3, 1, 1, 1) * 2 * np.pi).square().mean(2)
    expected = (power * batch.weight[:, None]).sum() / (2 * batch.weight.sum())
    plain = matching_loss(network, batch)
    torch.testing.assert_close(matching_loss(network, batch, 0.5) - plain, 0.5 * expected, rtol=1e-4, atol=1e-6)
    maps = AffineMaps.draw(AffineSettings(), 1, np.random.default_rng(0), torch.device("cpu"))
    seen = batch.seen_through(maps, (10.0, 4.0, 4.0))
    again = replace(batch, target=batch.displacement).seen_through(maps, (10.0, 4.0, 4.0))
    assert torch.equal(seen.displacement, again.target)


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
