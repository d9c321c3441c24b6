import pytest
import torch

from cof.config.motion import PathSettings, RefinementSettings, RegistrationSettings
from cof.motion.cycle import frame_pairs, register_cycle
from cof.motion.toppr import Registration, Toppr

SPACING = (10.0, 3.6, 3.6)


class Shift(Toppr):
    """A registration that reads the true shift of a cine whose every frame is a constant: its x shift in mm."""

    def forward(self, source, target):
        shift = (target - source).mean(dim=(1, 2, 3, 4))
        u = torch.zeros(len(source), 3, source.shape[2], source.shape[3] // 2, source.shape[4] // 2)
        u[:, 2] = shift[:, None, None, None]
        return Registration(u, u)


def _frames(shifts) -> torch.Tensor:
    return torch.tensor(shifts)[:, None, None, None].expand(-1, 6, 16, 16).clone()


def test_direct_pairs_register_everything_to_the_anchor():
    assert frame_pairs(4, "direct") == [(0, 1), (0, 2), (0, 3)]


def test_composed_pairs_go_round_the_cycle():
    assert frame_pairs(4, "composed") == [(0, 1), (1, 2), (2, 3), (3, 0)]


@pytest.mark.parametrize("pairing", ["direct", "composed"])
def test_translations_come_back_from_either_pairing(pairing):
    shifts = [0.0, 2.0, 5.0, 4.0, 1.0]
    cycle = register_cycle(
        Shift((4,), SPACING), _frames(shifts), (True,) * 6, RegistrationSettings(pairing=pairing), batch=2
    )
    assert cycle.displacement.shape == (5, 3, 6, 8, 8)
    assert (cycle.displacement[0] == 0).all()
    torch.testing.assert_close(cycle.displacement[:, 2, 0, 4, 4], torch.tensor(shifts), atol=1e-5, rtol=0)
    assert cycle.closure_mm == pytest.approx(0, abs=1e-5)
    assert cycle.regularity.folded_share == 0


def test_errors_of_composed_pairs_add_up_and_show_in_the_closure():
    class Biased(Shift):
        def forward(self, source, target):
            found = super().forward(source, target)
            found.displacement[:, 2] += 0.3
            return found

    frames = _frames([0.0, 2.0, 5.0, 4.0, 1.0])
    composed = register_cycle(Biased((4,), SPACING), frames, (True,) * 6, RegistrationSettings(pairing="composed"))
    direct = register_cycle(Biased((4,), SPACING), frames, (True,) * 6, RegistrationSettings(pairing="direct"))
    assert composed.closure_mm == pytest.approx(5 * 0.3, abs=1e-4)
    assert direct.closure_mm == 0
    assert float(direct.displacement[4, 2].mean()) == pytest.approx(1.3, abs=1e-4)
    assert float(composed.displacement[4, 2].mean()) == pytest.approx(1 + 4 * 0.3, abs=1e-4)


def test_slices_without_image_change_nothing():
    torch.manual_seed(0)
    network = Toppr((4, 8, 8), SPACING)
    torch.nn.init.normal_(network.head.weight, std=1.0)
    frames, valid = torch.rand(3, 6, 16, 16), (False, True, True, True, True, False)
    other = frames.clone()
    other[:, [0, 5]] = 7.0
    one, two = register_cycle(network, frames, valid), register_cycle(network, other, valid)
    assert one.displacement.abs().max() > 0.1
    assert torch.equal(one.displacement, two.displacement)


def test_the_number_of_pairs_at_once_does_not_matter():
    torch.manual_seed(0)
    network = Toppr((4, 8, 8), SPACING)
    torch.nn.init.normal_(network.head.weight, std=1.0)
    frames = torch.rand(6, 6, 16, 16)
    one, all_at_once = (register_cycle(network, frames, (True,) * 6, batch=size) for size in (1, 8))
    torch.testing.assert_close(one.displacement, all_at_once.displacement, atol=1e-3, rtol=0)


def test_a_low_pass_is_applied_to_what_is_stored():
    shifts = [0.0, 2.0, 5.0, 4.0, 1.0, 1.0]
    settings = RegistrationSettings(path=PathSettings(harmonics=1))
    cycle = register_cycle(Shift((4,), SPACING), _frames(shifts), (True,) * 6, settings)
    spectrum = torch.fft.rfft(cycle.displacement[:, 2, 0, 4, 4])
    assert spectrum[2:].abs().max() < 1e-4
    assert (cycle.displacement[0] == 0).all()


def test_refinement_is_part_of_a_cycle(ring):
    subject, truth = ring(0).subject, ring(0).displacement
    frames = torch.stack([subject.canonical(frame) for frame in (0, 2, 4)])
    torch.manual_seed(0)
    network = Toppr((4, 8), SPACING)
    settings = RegistrationSettings(path=PathSettings(refinement=RefinementSettings(steps=20, lambda_smooth=0.1)))
    cycle = register_cycle(network, frames, (True,) * 6, settings)
    moving = truth[[2, 4]].norm(dim=1) > 1
    error = (cycle.displacement[1:] - truth[[2, 4]])[:, 1:].norm(dim=1)[moving].mean()
    assert error < 0.7 * truth[[2, 4], 1:].norm(dim=1)[moving].mean()
