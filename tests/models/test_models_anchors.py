"""Any frame as the anchor: examples seen from another frame, and models that are told its phase."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cof.config.flow import CofSettings, OdeSettings, VelocitySettings
from cof.models.flow.anchors import about
from cof.models.flow.cof import CofModel
from cof.models.flow.matching import MatchingBatch
from cof.models.flow.objective import Phases
from cof.models.flow.ode import integrate
from cof.models.flow.training import fit
from cof.models.flow.velocity import VelocityField
from cof.motion.path import DisplacementPath
from cof.motion.resolution import motion_spacing
from cof.training.run import Run

TINY = VelocitySettings(channels=(4, 8), embedding=8, ecg_channels=(4, 8), time_harmonics=4, modes=4)
ANY = TINY.model_copy(update={"anchor": "any"})
FRAMES = 12


def cyclic(heart):
    """A toy heart whose cine and labels tell the frame that they belong to."""
    frames = np.arange(FRAMES, dtype=np.float32)[:, None, None, None]
    labels = np.repeat(heart.anchor_labels[None], FRAMES, 0)
    labels[:, 0, 0, 0] = np.arange(FRAMES) % 4
    return replace(heart, cine=heart.anchor + frames / 100, labels=labels)


def test_an_example_about_another_frame_shows_that_frame_and_its_motion(toy_hearts):
    heart = cyclic(toy_hearts(1)[0])
    turned = about(heart, 5 / FRAMES + 0.01)
    assert turned.anchor_phase == 5 / FRAMES
    np.testing.assert_allclose(turned.anchor, heart.anchor + 0.05, atol=1e-6)
    np.testing.assert_array_equal(turned.anchor_labels, heart.labels[5])
    assert not turned.displacement[5].any()
    # Read from the new anchor, frame 0 lies where frame 5 lay read from ED, the other way.
    assert np.abs(turned.displacement[0]).max() == pytest.approx(np.abs(heart.displacement[5]).max(), rel=0.1)
    left = np.abs(about(turned, 0.0).displacement - heart.displacement.astype(np.float32))
    assert left.max() < 0.6  # of voxels of 8 mm
    assert left.mean() < 0.02
    assert about(heart, 0.0) is heart


def test_an_example_without_its_cycle_cannot_be_turned(toy_hearts):
    with pytest.raises(ValueError, match="whole cycle"):
        about(replace(toy_hearts(1)[0], labels=None), 0.5)


def test_only_a_field_of_any_anchor_hears_the_phase(toy_hearts):
    hearts = [cyclic(heart) for heart in toy_hearts(2)]
    batch = MatchingBatch.of(hearts, np.full((2, 3), 0.3), 0.0)
    inputs = batch.anchor, batch.valid, batch.beat, batch.rr_ms, batch.features
    for settings, hears in ((TINY, False), (ANY, True), (ANY.model_copy(update={"ecg": "none", "modes": 0}), True)):
        torch.manual_seed(0)
        field = VelocityField(settings)
        for layer in field.parameters():
            torch.nn.init.normal_(layer, std=0.3)
        first, other = (
            field(batch.phase, field.encode(*inputs, torch.full((2,), phase))).detach() for phase in (0.0, 0.4)
        )
        assert torch.equal(first, other) != hears
        assert torch.equal(first, field(batch.phase, field.encode(*inputs)).detach())


def test_a_field_of_ed_anchors_draws_and_weighs_as_it_did(toy_hearts):
    """The same weights from the same generator, and the same subjects, phases and maps."""
    hearts = [cyclic(heart) for heart in toy_hearts(5)]
    settings = [CofSettings(field=field, batch=3, phases=2) for field in (TINY, ANY)]
    ed, every = ([item for i in range(4) for item in Phases(hearts, hearts, each, 7).draw(i)] for each in settings)
    for before, after in zip(ed, every):
        assert (before.example, before.anchor_phase) == (after.example, 0.0)
        np.testing.assert_array_equal(before.phase, after.phase)
        assert torch.equal(before.map.matrices, after.map.matrices)
    drawn = [item.anchor_phase for item in every]
    assert len(set(drawn)) == len(drawn) == 12
    torch.manual_seed(3)
    weights = VelocityField(TINY).state_dict()
    torch.manual_seed(3)
    more = VelocityField(ANY).state_dict()
    assert all(torch.equal(tensor, more[name]) for name, tensor in weights.items())
    assert {name.split(".")[0] for name in set(more) - set(weights)} == {"anchored"}


def test_anchors_of_training_are_uniform_over_the_cycle_and_those_of_validation_fixed(toy_hearts):
    hearts = [cyclic(heart) for heart in toy_hearts(6)]
    source = Phases(hearts, hearts, CofSettings(field=ANY, batch=6, augmentation=None), 0)
    drawn = np.array([item.anchor_phase for iteration in range(100) for item in source.draw(iteration)])
    share = np.histogram(drawn, bins=4, range=(0, 1))[0] / len(drawn)
    assert np.abs(share - 0.25).max() < 4 * np.sqrt(0.25 * 0.75 / len(drawn))
    held_out = np.sort([item.anchor_phase for item in source.held_out])
    assert np.diff(np.append(held_out, held_out[0] + 1)).max() < 0.4
    batch = source.load(source.held_out)
    assert batch.anchor_phase.tolist() == pytest.approx(
        [round(FRAMES * item.anchor_phase) % FRAMES / FRAMES for item in source.held_out]
    )


def test_an_ed_trained_model_is_turned_towards_its_anchor(toy_hearts):
    heart = toy_hearts(1)[0]
    torch.manual_seed(0)
    network = VelocityField(TINY)
    for layer in network.parameters():
        torch.nn.init.normal_(layer, std=0.2)
    network.sigma.fill_(1000.0)
    model = CofModel(network, CofSettings(field=TINY, ode=OdeSettings(closure="project")))
    ed = model.generate(heart, FRAMES, 0).displacement
    turned = model.generate(replace(heart, anchor_phase=0.25), FRAMES, 0).displacement
    assert ed.abs().max() > 0.5
    assert not turned[3].any()
    expected = DisplacementPath(ed).about(0.25, motion_spacing(heart.placement.spacing_mm)).knots
    assert torch.equal(turned, expected)


def test_a_model_of_any_anchor_integrates_from_its_anchor_on(toy_hearts):
    heart = toy_hearts(1)[0]
    torch.manual_seed(0)
    network = VelocityField(ANY)
    for layer in network.parameters():
        torch.nn.init.normal_(layer, std=0.2)
    settings = CofSettings(field=ANY)
    model = CofModel(network, settings)
    for phase in (0.25, 0.31):
        told = replace(heart, anchor_phase=phase, displacement=np.zeros_like(heart.displacement))
        made = model.generate(told, FRAMES, 0).displacement
        batch = MatchingBatch.of([told], np.array([[0.5]]), 0.0)
        inputs = batch.anchor, batch.valid, batch.beat, batch.rr_ms, batch.features
        condition = network.encode(*inputs, batch.anchor_phase)
        with torch.no_grad():
            whole, _ = integrate(lambda at: network(at[None].float(), condition)[0], 480, settings.ode)  # noqa: B023
        expected = (whole - whole[round(480 * phase)])[::40]
        torch.testing.assert_close(made, expected, atol=0.02 * float(expected.abs().max()), rtol=0)
    turned = model.generate(replace(heart, anchor_phase=0.25), FRAMES, 0).displacement
    assert not turned[3].any()


def test_training_with_any_anchor_learns_the_motion_about_each(toy_hearts, tmp_path):
    hearts = [cyclic(heart) for heart in toy_hearts(4, end_systole=0.4, amplitude=6.0, moved_mm=0.0)]
    settings = CofSettings(
        field=ANY.model_copy(update={"ecg": "none", "modes": 8}), iterations=60, batch=4, phases=4,
        learning_rate=1e-2, augmentation=None, checkpoint_every=60,
    )  # fmt: skip
    network, log = fit(hearts, hearts[:2], settings, 0, Run(tmp_path / "any.pt"))
    assert log["validation_loss"].notna().all()
    model = CofModel(network, settings)
    for phase in (0.0, 5 / FRAMES):
        wanted = about(hearts[0], phase)
        made = model.generate(wanted, FRAMES, 0).displacement.numpy()
        other = about(hearts[0], 5 / FRAMES - phase).displacement
        error, size = np.abs(made - wanted.displacement).mean(), np.abs(wanted.displacement).mean()
        assert error < 0.5 * size
        assert error < 0.5 * np.abs(made - other).mean()
