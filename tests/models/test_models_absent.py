"""Hearts without an ECG, and pairs of ED and ES: what a field learns from them, and what it does not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from cof.config.flow import CofSettings, VelocitySettings
from cof.models.base import SubjectEcg
from cof.models.flow.matching import MatchingBatch, encode_subject, matching_loss, velocity_scale
from cof.models.flow.objective import Phases, flow_matching
from cof.models.flow.velocity import VelocityField

FIELD = {"channels": (8, 16), "embedding": 16, "ecg_channels": (8, 16), "time_harmonics": 4, "modes": 4}
ES_PHASE = 0.4


def field(**changes) -> VelocityField:
    """A field whose weights are all awake, the last layer's and those of an absent ECG too."""
    torch.manual_seed(0)
    network = VelocityField(VelocitySettings(**FIELD | {"ecg_features": True, "ecg_dropout": 0.3} | changes))
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return network.eval()


def pair(heart, es_phase: float = ES_PHASE):
    """What is left of a heart of which ED and ES alone are known."""
    es = round(es_phase * len(heart.displacement))
    known = heart.displacement[[0, es]]
    return replace(heart.without_ecg(), displacement=known, cine=heart.cine[[0, es]], es_phase=es_phase)


@pytest.mark.parametrize("how", ["temporal", "spatial"])
def test_an_absent_ecg_is_heard_as_one_and_the_same(toy_hearts, how):
    network = field(ecg=how)
    heart, other = toy_hearts(2)
    phases = torch.tensor([[0.2, 0.7]])

    def velocity(subject) -> torch.Tensor:
        with torch.no_grad():
            return network(phases, encode_subject(network, subject, torch.device("cpu")))

    withheld = velocity(heart.without_ecg())
    assert withheld.isfinite().all()
    assert torch.equal(withheld, velocity(heart.with_ecg_of(other).without_ecg()))
    assert not torch.allclose(withheld, velocity(heart))
    assert not torch.allclose(velocity(heart), velocity(heart.with_ecg_of(other)))
    # An ECG that is there is heard as it was before anybody knew of absent ones.
    unaware = VelocityField(VelocitySettings(**FIELD | {"ecg_features": True, "ecg": how})).eval()
    unaware.load_state_dict({key: value for key, value in network.state_dict().items() if "absent" not in key})
    with torch.no_grad():
        known = unaware(phases, encode_subject(unaware, heart, torch.device("cpu")))
    assert torch.equal(known, velocity(heart))


def test_an_absent_ecg_says_so():
    absent = SubjectEcg.absent("sub-0001-v2", 128)
    assert not absent.has_ecg
    assert absent.beat.shape == (12, 128)
    assert np.isnan(absent.features).all()


def test_a_pair_teaches_its_displacement_at_es_and_nothing_else(toy_hearts):
    network = field()
    cycle, heart = toy_hearts(2, frames=10)
    known = pair(heart)
    phase = np.array([[0.1, 0.6]])
    batch = MatchingBatch.of([known], phase, 4.0, with_displacement=True)
    assert batch.phase.tolist() == [pytest.approx([ES_PHASE, ES_PHASE])]
    torch.testing.assert_close(batch.displacement[0, 0], torch.from_numpy(heart.displacement[4]).float())
    assert matching_loss(network, batch) == 0
    # Weighed, it is the loss of the same heart's cycle at the phase of ES, less its velocity's.
    whole = MatchingBatch.of([heart.without_ecg()], np.full((1, 2), ES_PHASE), 4.0, with_displacement=True)
    expected = matching_loss(network, whole, 1.0) - matching_loss(network, whole)
    torch.testing.assert_close(matching_loss(network, batch, 1.0), expected)
    # No velocity of a pair is wrong, whatever stands beside it: parts of a batch add up to the whole.
    both = MatchingBatch.of([cycle, known], np.repeat(phase, 2, 0), 4.0, with_displacement=True)
    alone = MatchingBatch.of([cycle], phase, 4.0, with_displacement=True)
    share = alone.weight.sum() / both.weight.sum()
    torch.testing.assert_close(matching_loss(network, both), share * matching_loss(network, alone))


def test_a_pair_needs_a_loss_that_compares_displacements(toy_hearts):
    known = pair(toy_hearts(1, frames=10)[0])
    with pytest.raises(ValueError, match="a displacement and no velocity"):
        MatchingBatch.of([known], np.array([[0.1]]), 4.0)


def test_the_scale_of_velocities_is_that_of_the_cycles(toy_hearts):
    hearts = toy_hearts(2, frames=10)
    assert torch.equal(velocity_scale([hearts[0], pair(hearts[1])]), velocity_scale(hearts[:1]))


def test_so_many_ecgs_are_withheld_and_phases_stay_the_same(toy_hearts):
    hearts = toy_hearts(3, frames=10)
    settings = CofSettings(field=VelocitySettings(**FIELD), batch=3, phases=2, displacement_weight=1.0)
    heard = Phases(hearts, [], settings, 0)
    withheld = Phases(hearts, [], settings.model_copy(update={"field": VelocitySettings(**FIELD, ecg_dropout=0.3)}), 0)
    draws = [(heard.draw(step), withheld.draw(step)) for step in range(200)]
    for before, after in draws:
        assert [item.example for item in before] == [item.example for item in after]
        assert all(np.array_equal(one.phase, other.phase) for one, other in zip(before, after))
    share = np.mean([not item.with_ecg for _, items in draws for item in items])
    assert share == pytest.approx(0.3, abs=0.06)
    items = next(items for _, items in draws if not all(item.with_ecg for item in items))
    batch = withheld.load(items)
    assert batch.rr_ms.isfinite().tolist() == [item.with_ecg for item in items]


def test_without_ecgs_and_with_pairs_the_loss_has_gradients(toy_hearts):
    hearts = toy_hearts(2, frames=10)
    batch = MatchingBatch.of([pair(hearts[0]), hearts[1]], np.array([[0.1, 0.6]] * 2), 4.0, with_displacement=True)
    network = field().train()
    flow_matching(1.0).loss(network, batch).value.backward()
    assert network.absent.code.grad.abs().sum() > 0
    assert network.absent.tokens.grad.abs().sum() > 0
    assert all(one.grad is None or one.grad.isfinite().all() for one in network.parameters())


def test_what_hears_no_cycle_withholds_none():
    with pytest.raises(ValidationError, match="does not use"):
        VelocitySettings(ecg="rate", ecg_dropout=0.2)
