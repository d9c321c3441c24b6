import pytest
import torch
from torch.nn import functional

from cof.config.motion import PathSettings, RefinementSettings, RegistrationSettings
from cof.motion.losses import labels_loss
from cof.motion.refinement import refine
from cof.motion.resolution import to_canonical
from cof.motion.toppr import Toppr

_STEPS = ("step_mm", "lambda_rec", "lambda_labels", "lambda_smooth", "control_mm")


def _settings(steps: int, **more) -> RegistrationSettings:
    refinement = {name: more.pop(name) for name in _STEPS if name in more}
    return RegistrationSettings(
        path=PathSettings(refinement=RefinementSettings(steps=steps, **refinement)), channels=(4, 8), **more
    )


def _pair(ring, seed=0, target=4):
    subject = ring(seed).subject
    images = [subject.canonical(frame)[None, None] for frame in (0, target)]
    return images, subject.placement, ring(seed).displacement[target : target + 1]


def _network(settings, placement, std=1e-5) -> Toppr:
    torch.manual_seed(0)
    network = Toppr.of(settings, placement.spacing_mm).eval()
    torch.nn.init.normal_(network.head.weight, std=std)
    return network


@pytest.mark.parametrize("parameterisation", ["velocity", "displacement"])
def test_an_untrained_network_is_refined_to_the_true_motion(ring, parameterisation):
    (source, target), placement, truth = _pair(ring)
    moving = truth.norm(dim=1) > 1
    error = {}
    for steps in (0, 40):
        settings = _settings(steps, parameterisation=parameterisation, lambda_smooth=0.1)
        network = _network(settings, placement)
        found = refine(network, source, target, placement.valid, settings).displacement
        # The ring does not change along z, so that only in-plane motion can be seen.
        error[steps] = float((found - truth)[:, 1:].norm(dim=1)[moving].mean())
    assert error[40] < 0.7 * error[0]


def test_without_steps_it_is_the_networks_own_registration(ring):
    (source, target), placement, _ = _pair(ring)
    network = _network(_settings(0), placement, std=0.5)
    expected = network(source, target).displacement
    assert expected.abs().max() > 0.1
    assert torch.equal(refine(network, source, target, placement.valid, _settings(0)).displacement, expected)


def test_the_max_field_bounds_what_is_refined(ring):
    (source, target), placement, truth = _pair(ring)
    settings = _settings(20, max_field_mm=2.0, step_mm=2.0)
    found = refine(_network(settings, placement), source, target, placement.valid, settings).displacement
    assert truth.abs().max() > 5
    assert 1 < found.abs().max() <= 2 * (1 + 1e-5)


def test_the_hinge_holds_back_what_is_refined(ring):
    (source, target), placement, _ = _pair(ring)
    largest = {}
    for max_field in ("none", "hinge"):
        settings = _settings(30, max_field=max_field, max_field_mm=2.0, lambda_smooth=0.0)
        found = refine(_network(settings, placement), source, target, placement.valid, settings).displacement
        largest[max_field] = float(found.abs().max())
    assert largest["hinge"] < 4 < largest["none"]


def test_smoothness_flattens_the_field(ring):
    (source, target), placement, _ = _pair(ring)
    rough = {}
    for weight in (0.0, 1.0):
        settings = _settings(20, lambda_smooth=weight)
        found = refine(_network(settings, placement), source, target, placement.valid, settings).displacement
        rough[weight] = float(found.diff(dim=3).square().mean())
    assert rough[1.0] < 0.5 * rough[0.0]


def test_distant_control_points_follow_the_motion_and_no_noise(ring):
    (source, target), placement, truth = _pair(ring)
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 1, source.shape[2], *(size // 4 for size in source.shape[3:]), generator=generator)
    tissue = functional.interpolate(coarse, size=source.shape[2:], mode="trilinear")
    twice = tissue + 0.05 * torch.randn(2, *source.shape, generator=generator)
    moving = truth.norm(dim=1) > 1
    found = {}
    for control_mm in (None, 40.0):
        settings = _settings(10, control_mm=control_mm)
        network = _network(settings, placement)
        still = refine(network, twice[0], twice[1], placement.valid, settings).displacement
        moved = refine(network, source, target, placement.valid, settings).displacement
        errors = (moved - truth)[:, 1:].norm(dim=1)[moving].mean() / truth[:, 1:].norm(dim=1)[moving].mean()
        found[control_mm] = float(still.norm(dim=1).mean()), float(errors)
    assert found[40.0][0] < 0.8 * found[None][0]
    assert found[40.0][1] < 0.9


def test_more_control_points_than_voxels_are_the_voxels(ring):
    (source, target), placement, _ = _pair(ring)
    near, every = (
        refine(_network(settings, placement), source, target, placement.valid, settings).displacement
        for settings in (_settings(3, control_mm=0.1), _settings(3))
    )
    assert torch.equal(near, every)


def test_pairs_are_refined_each_on_its_own_and_the_network_stays(ring):
    pairs = [_pair(ring, target=target)[0] for target in (2, 4)]
    placement = ring(0).subject.placement
    settings = _settings(5)
    network = _network(settings, placement)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    sources, targets = (torch.cat(images) for images in zip(*pairs))
    together = refine(network, sources, targets, placement.valid, settings).displacement
    for index, (source, target) in enumerate(pairs):
        alone = refine(network, source, target, placement.valid, settings).displacement
        torch.testing.assert_close(together[index : index + 1], alone, atol=0.02, rtol=0)
    assert not together.requires_grad
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_labels_alone_refine_to_the_true_motion(ring):
    """Without the image term, what the labels of both frames tell is enough to bring them together."""
    (source, target), placement, truth = _pair(ring)
    labels = tuple(ring(0).subject.label_shares(frame)[None] for frame in (0, 4))
    valid = torch.tensor([placement.valid])
    left, error = {}, {}
    for steps in (0, 40):
        settings = _settings(steps, lambda_rec=0.0, lambda_labels=1.0, lambda_smooth=0.02)
        found = refine(_network(settings, placement), source, target, placement.valid, settings, labels).displacement
        left[steps] = float(labels_loss(*labels, to_canonical(found), placement.spacing_mm, valid))
        edge = (truth.norm(dim=1) > 3) & (truth.norm(dim=1) < 12)
        error[steps] = float((found - truth)[:, 1:].norm(dim=1)[edge].mean())
    assert left[40] < 0.3 * left[0]
    assert error[40] < 0.8 * error[0]


def test_labels_count_only_where_they_are_weighted(ring):
    (source, target), placement, _ = _pair(ring)
    labels = tuple(ring(0).subject.label_shares(frame)[None] for frame in (0, 4))
    settings = _settings(3)
    network = _network(settings, placement)
    without = refine(network, source, target, placement.valid, settings).displacement
    assert torch.equal(refine(network, source, target, placement.valid, settings, labels).displacement, without)
    with pytest.raises(ValueError, match="needs the labels of both frames"):
        refine(network, source, target, placement.valid, _settings(3, lambda_labels=1.0))
