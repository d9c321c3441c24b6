from dataclasses import replace

import pytest
import torch

from cof.config.flow import OdeSettings, VelocitySettings
from cof.models.ecg_encoder import EcgEncoder, tokens_at
from cof.models.flow.embedding import PhaseEmbedding
from cof.models.flow.ode import integrate
from cof.models.flow.velocity import VelocityField, level_strides, position_channels

SMALL = {"channels": (4, 8, 8, 8), "embedding": 16, "ecg_channels": (8, 8, 8), "time_harmonics": 4}


def inputs(subjects: int = 2, seed: int = 0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.rand(subjects, 6, 20, 28, generator=generator),
        torch.ones(subjects, 6),
        torch.randn(subjects, 12, 64, generator=generator),
        torch.full((subjects,), 900.0),
        torch.randn(subjects, 12, generator=generator),
    )


def awake(**changes: object) -> VelocityField:
    """A field whose last convolution is not zero, as after a first step of training."""
    torch.manual_seed(1)
    network = VelocityField(VelocitySettings(**(SMALL | changes))).eval()
    torch.nn.init.normal_(network.modes.maps.weight if network.settings.modes else network.head.last.weight)
    return network


@pytest.mark.parametrize("modes", [0, 5])
def test_untrained_field_is_zero_and_has_the_shape_of_the_displacement(modes):
    network = VelocityField(VelocitySettings(**SMALL, modes=modes))
    velocity = network(torch.rand(2, 3), network.encode(*inputs()))
    assert velocity.shape == (2, 3, 3, 6, 10, 14)
    assert torch.count_nonzero(velocity) == 0


both_ways_in_time = pytest.mark.parametrize("modes", [0, 5])


@torch.no_grad()
@both_ways_in_time
@pytest.mark.parametrize("changes", [{}, {"ecg": "spatial"}, {"ecg": "spatial", "anatomy": False}, {"attention": True}])
def test_field_is_periodic_and_each_subject_and_phase_stands_alone(changes, modes):
    network = awake(**changes, modes=modes)
    phase = torch.tensor([[0.0, 0.3, 1.0, 1.3], [0.5, 0.25, -0.5, 0.9]])
    together = network(phase, network.encode(*inputs()))
    torch.testing.assert_close(together[0, 2:], together[0, :2], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(together[1, 2], together[1, 0], rtol=1e-3, atol=1e-3)
    alone = network(phase[1:, 1:2], network.encode(*(values[1:] for values in inputs())))
    torch.testing.assert_close(together[1:, 1:2], alone, rtol=1e-4, atol=1e-4)


@torch.no_grad()
@both_ways_in_time
@pytest.mark.parametrize(
    ("changes", "heard"),
    [
        ({}, {"beat", "rate", "anchor"}),
        ({"rr_scalar": False}, {"beat", "anchor"}),
        ({"ecg_local": False}, {"beat", "rate", "anchor"}),
        ({"ecg_features": True}, {"beat", "rate", "features", "anchor"}),
        ({"ecg": "spatial"}, {"beat", "rate", "anchor"}),
        ({"ecg": "none", "ecg_features": True}, {"anchor"}),
        ({"ecg": "rate"}, {"rate", "anchor"}),
        ({"ecg": "features"}, {"features", "anchor"}),
        ({"ecg": "none"}, {"anchor"}),
        ({"anatomy": False}, {"beat", "rate"}),
        ({"anatomy": False, "ecg": "spatial"}, {"beat", "rate"}),
        ({"anatomy": False, "ecg": "none"}, set()),
        ({"anatomy": "zeros"}, {"beat", "rate"}),
        ({"anatomy": "zeros", "ecg": "spatial"}, {"beat", "rate"}),
        ({"anatomy": "zeros", "ecg": "none"}, set()),
        ({"ecg_local": False, "rr_scalar": False}, {"beat", "anchor"}),  # to the letter of the paper
    ],
)
def test_each_setting_opens_exactly_its_own_path(changes, heard, modes):
    network = awake(**changes, modes=modes)
    anchor, valid, beat, rr_ms, features = inputs()
    phase = torch.tensor([[0.1, 0.6]] * 2)

    def run(**other: torch.Tensor) -> torch.Tensor:
        given = {"anchor": anchor, "valid": valid, "beat": beat, "rr_ms": rr_ms, "features": features} | other
        return network(phase, network.encode(**given))

    reference = run()
    changed = {
        "beat": run(beat=beat.flip(0)),
        "rate": run(rr_ms=rr_ms * 0.7),
        "features": run(features=features.flip(0)),
        "anchor": run(anchor=anchor.flip(0)),
    }
    assert {name for name, other in changed.items() if not torch.equal(other, reference)} == heard
    assert not torch.equal(run(valid=valid * torch.arange(6).ge(2)), reference)


@torch.no_grad()
@both_ways_in_time
def test_zeros_in_place_of_the_anatomy_leave_all_the_rest(modes):
    """The same weights give the same velocity as a whole field whose features of the anatomy are set to zero."""
    whole, without = awake(modes=modes), awake(modes=modes, anatomy="zeros")
    kept = {name: value for name, value in whole.state_dict().items() if not name.startswith("anatomy.")}
    without.load_state_dict(kept)
    condition = whole._inputs(*inputs())
    condition = replace(condition, reference=[torch.zeros_like(features) for features in condition.reference])
    if modes:
        embedding = whole.still + condition.code
        condition = replace(condition, maps=whole.modes.spread(whole._unet(condition, embedding)))
    phase = torch.tensor([[0.1, 0.6]] * 2)
    expected = whole(phase, condition)
    torch.testing.assert_close(without(phase, without.encode(*inputs())), expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(whole(phase, whole.encode(*inputs())), expected, atol=1e-3)


@torch.no_grad()
@both_ways_in_time
def test_an_ecg_in_the_spatial_branch_has_no_part_in_time(modes):
    """Phase alone decides what scales the blocks, and the courses of modes; the anatomy's features hear the ECG."""
    phase = torch.tensor([[0.1, 0.6]] * 2)
    anchor, valid, beat, rr_ms, features = inputs()
    for how, hears in (("temporal", True), ("spatial", False)):
        network = awake(modes=modes, ecg=how)
        one, other = (network.encode(anchor, valid, which, rr_ms, features) for which in (beat, beat.flip(0)))
        embedded = [network._embedding(phase, condition) for condition in (one, other)]
        assert torch.equal(*embedded) is not hears
        if modes:
            assert torch.equal(*(network.courses(phase, condition) for condition in (one, other))) is not hears
        assert any(not torch.equal(*maps) for maps in zip(one.reference, other.reference)) is not hears


@torch.no_grad()
def test_a_heart_moves_in_as_many_modes_as_asked():
    network = awake(modes=3)
    velocity = network(torch.rand(2, 9), network.encode(*inputs()))
    for heart in velocity.flatten(2):
        assert torch.linalg.matrix_rank(heart, rtol=1e-4) == 3
    assert (
        torch.linalg.matrix_rank(awake(modes=0)(torch.rand(2, 9), awake(modes=0).encode(*inputs())).flatten(2)[0]) > 3
    )


@torch.no_grad()
@pytest.mark.parametrize("method", ["simpson", "fourier"])
@pytest.mark.parametrize("closure", ["none", "project"])
def test_integrating_the_courses_is_integrating_the_velocity(method, closure):
    network = awake(modes=5)
    condition = network.encode(*inputs(1))
    ode = OdeSettings(method=method, closure=closure)
    whole, rest = integrate(lambda phases: network(phases.float()[None], condition)[0], 7, ode)
    courses, left = integrate(lambda phases: network.courses(phases.float()[None], condition)[0], 7, ode)
    torch.testing.assert_close(network.combine(condition.maps, courses[None])[0], whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network.combine(condition.maps, left[None, None])[0, 0], rest, rtol=1e-4, atol=1e-5)


@both_ways_in_time
def test_output_scales_with_sigma(modes):
    network = awake(modes=modes)
    condition = network.encode(*inputs())
    phase = torch.tensor([[0.2], [0.7]])
    unit = network(phase, condition)
    network.sigma.copy_(torch.tensor([1.0, 2.0, 5.0]))
    torch.testing.assert_close(network(phase, condition), unit * torch.tensor([1.0, 2.0, 5.0]).view(3, 1, 1, 1))


def test_slices_are_halved_once_at_most():
    assert level_strides(5) == [(1, 2, 2), (1, 2, 2), (2, 2, 2), (1, 2, 2)]


def test_position_channels_are_coordinates_and_mask():
    channels = position_channels(torch.tensor([[1.0, 0.0, 1.0]]), (3, 4, 5))
    assert channels.shape == (1, 4, 3, 4, 5)
    assert channels[0, 0, :, 0, 0].tolist() == [-1, 0, 1]
    assert channels[0, 2, 0, 0].tolist() == [-1, -0.5, 0, 0.5, 1]
    assert channels[0, 3, :, 2, 2].tolist() == [1, 0, 1]


def test_ecg_tokens_turn_with_the_cycle():
    """Circular padding: rolling the cycle by whole tokens rolls the tokens and leaves the pooled code as it is."""
    torch.manual_seed(0)
    encoder = EcgEncoder((8, 8, 16), 16)
    beat = torch.randn(2, 12, 64)
    tokens, pooled = encoder(beat)
    assert tokens.shape == (2, 16, 8)
    rolled, same = encoder(beat.roll(16, -1))
    torch.testing.assert_close(rolled, tokens.roll(2, -1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(same, pooled, rtol=1e-4, atol=1e-5)


def test_ecg_amplitude_survives_normalisation():
    torch.manual_seed(0)
    encoder = EcgEncoder((8, 8, 16), 16)
    beat = torch.randn(1, 12, 64)
    tokens, _ = encoder(beat)
    louder, _ = encoder(1.5 * beat)
    assert (louder - tokens).abs().max() > 0.1 * tokens.std()


def test_tokens_between_two_places_are_interpolated_around_the_end():
    tokens = torch.tensor([[[0.0, 1.0, 2.0, 3.0]]])
    found = tokens_at(tokens, torch.tensor([[0.0, 0.25, 0.375, 0.875, 1.25]]))
    torch.testing.assert_close(found[0, :, 0], torch.tensor([0.0, 1.0, 1.5, 1.5, 1.0]))


def test_phase_embedding_tells_phases_apart_and_closes_the_cycle():
    torch.manual_seed(0)
    embed = PhaseEmbedding(4, 8)
    start, end, middle = embed(torch.tensor([0.0, 1.0, 0.4]))
    torch.testing.assert_close(start, end)
    assert (start - middle).abs().max() > 1e-2


@pytest.mark.parametrize("modes", [0, 4])
def test_velocity_is_in_single_precision_under_autocast(modes):
    torch.manual_seed(0)
    settings = VelocitySettings(
        channels=(4, 8), embedding=8, ecg_channels=(4, 8), time_harmonics=4, modes=modes
    )  # fmt: skip
    field = VelocityField(settings)
    for parameter in field.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    ecg = torch.randn(2, 12, 64), torch.full((2,), 900.0), torch.randn(2, 12)
    inputs = torch.rand(2, 4, 16, 16), torch.ones(2, 4), *ecg
    phase = torch.rand(2, 3)
    exact = field(phase, field.encode(*inputs))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = field(phase, field.encode(*inputs))
    assert rounded.dtype == torch.float32
    assert 0 < (rounded - exact).norm() < 0.1 * exact.norm()
