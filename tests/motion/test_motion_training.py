import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cof.config.motion import RegistrationSettings
from cof.config.training import AffineSettings
from cof.motion.cycle import register_cycle
from cof.motion.labels import warp_labels
from cof.motion.native import native_displacement, warp_native
from cof.motion.objective import draw_slices, evaluate_pairs, teacher_loss
from cof.motion.pairs import DrawnPair, NativePair, Pair, PairBatch, draw_pairs
from cof.motion.toppr import Registration, Toppr
from cof.motion.training import LOG_COLUMNS, fit
from cof.training.run import Run

SMALL = RegistrationSettings(
    iterations=6, batch=2, channels=(4, 8), seg_slices=2, checkpoint_every=2, augmentation=AffineSettings()
)


def _same(one: Toppr, two: Toppr) -> bool:
    weights = one.state_dict(), two.state_dict()
    return all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def _run(folder: Path, **changes) -> Run:
    return Run(folder / "c.pt", **changes)


class Terminator:
    """A labeller that ends the training while it looks at an iteration."""

    def __init__(self, segmenter, at: int) -> None:
        self.segmenter, self.at, self.calls = segmenter, at, 0

    def see(self, stacks):
        self.calls += 1
        if self.calls == self.at:
            os.kill(os.getpid(), signal.SIGTERM)
        return self.segmenter.see(stacks)


@pytest.fixture(scope="module")
def undisturbed(ring, segmenter, tmp_path_factory):
    """Network and log of a training that nothing stopped."""
    return fit([ring(seed).subject for seed in (0, 1)], SMALL, segmenter, 7, _run(tmp_path_factory.mktemp("whole")))


@pytest.mark.parametrize("stopped_at", [1, 3, 4])
def test_a_stopped_training_resumes_to_the_same_weights(ring, segmenter, tmp_path, undisturbed, stopped_at):
    subjects = [ring(seed).subject for seed in (0, 1)]
    whole, log = undisturbed
    with pytest.raises(SystemExit) as ended:
        fit(subjects, SMALL, Terminator(segmenter, stopped_at), 7, _run(tmp_path / "stopped"))
    assert ended.value.code == 128 + signal.SIGTERM
    rest = Terminator(segmenter, 0)
    resumed, resumed_log = fit(subjects, SMALL, rest, 7, _run(tmp_path / "stopped"))
    assert rest.calls == SMALL.iterations - stopped_at
    assert _same(whole, resumed)
    assert log.equals(resumed_log)
    assert tuple(log.columns) == LOG_COLUMNS
    assert log["iteration"].tolist() == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("seg_slices", [2, "all"])
def test_micro_batches_change_nothing_but_rounding(ring, segmenter, tmp_path, seg_slices):
    subjects = [ring(seed).subject for seed in range(3)]
    # Pairs of unequal weight in the means over voxels.
    valid = (True, True, False, False, False, True)
    subjects[0] = replace(subjects[0], placement=replace(subjects[0].placement, valid=valid))
    settings = SMALL.model_copy(
        update={"batch": 5, "iterations": 4, "seg_slices": seg_slices, "max_field": "hinge", "max_field_mm": 0.1}
    )
    settings = settings.model_copy(update={"lambda_smooth": 1.0})
    whole, log = fit(subjects, settings, segmenter, 0, _run(tmp_path / "whole"))
    settings = settings.model_copy(update={"micro_batch": 2})
    parts, parts_log = fit(subjects, settings, segmenter, 0, _run(tmp_path / "parts"))
    np.testing.assert_allclose(log, parts_log, rtol=1e-4, atol=1e-6)
    vectors = [torch.cat([value.flatten() for value in network.parameters()]) for network in (whole, parts)]
    assert (vectors[0] - vectors[1]).norm() < 1e-3 * vectors[0].norm()


def test_the_seed_decides_the_weights(ring, segmenter, tmp_path):
    settings = SMALL.model_copy(update={"iterations": 2})
    one, two, other = (
        fit([ring(0).subject], settings, segmenter, seed, _run(tmp_path / str(index)))[0]
        for index, seed in enumerate((0, 0, 1))
    )
    assert _same(one, two)
    assert not _same(one, other)


def test_a_training_leaves_the_global_generator_alone(ring, segmenter, tmp_path):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    fit([ring(0).subject], SMALL.model_copy(update={"iterations": 1}), segmenter, 0, _run(tmp_path))
    assert torch.rand(1) == expected


def test_no_teacher_is_needed_without_its_loss(ring, tmp_path):
    settings = SMALL.model_copy(update={"lambda_seg": 0.0, "iterations": 2})
    _, log = fit([ring(0).subject], settings, None, 0, _run(tmp_path))
    assert (log["seg"] == 0).all()
    assert (log["rec"] > 0).all()


class Known(Toppr):
    """A registration that answers with a given displacement."""

    def __init__(self, answer, spacing_mm):
        super().__init__((4,), spacing_mm)
        self.answer = answer

    def forward(self, source, target):
        return Registration(self.answer.expand(len(source), -1, -1, -1, -1), self.answer)


def _batch(subject, source, target, slices=None):
    return PairBatch.of([DrawnPair(subject, source, target, slices)])


def test_the_objective_prefers_the_true_motion(ring, segmenter):
    """Both terms are lower for the true displacement than for none, half or one and a half times of it."""
    subject, truth = ring(1).subject, ring(1).displacement
    settings = RegistrationSettings(augmentation=None, lambda_smooth=1.0)
    pairs = _batch(subject, 0, 4, torch.tensor(subject.crop.slices))
    terms = {
        factor: evaluate_pairs(Known(factor * truth[4:5], subject.placement.spacing_mm), pairs, settings, segmenter)
        for factor in (0.0, 0.5, 1.0, 1.5)
    }
    for other in (0.0, 0.5, 1.5):
        assert terms[1.0].rec < 0.7 * terms[other].rec
        assert terms[1.0].seg < 0.7 * terms[other].seg
    assert terms[1.0].smooth > terms[0.5].smooth > terms[0.0].smooth == 0
    expected = terms[1.0].rec + terms[1.0].seg + terms[1.0].smooth
    torch.testing.assert_close(terms[1.0].total(settings), expected)


def test_the_hinge_punishes_only_beyond_the_max_field(ring, segmenter):
    subject = ring(0).subject
    u = torch.full((1, 3, 6, 24, 24), 12.0)
    found = {
        limit: evaluate_pairs(
            Known(u, subject.placement.spacing_mm),
            _batch(subject, 0, 1),
            RegistrationSettings(augmentation=None, max_field="hinge", max_field_mm=limit, lambda_seg=0, lambda_rec=0),
            None,
        )
        for limit in (10.0, 20.0)
    }
    assert found[10.0].excess == pytest.approx(4.0)
    assert found[20.0].excess == 0


def test_the_teacher_sees_the_whole_native_slices_and_gradients_reach_the_motion(ring, segmenter):
    subject = ring(0).subject
    seen = []

    class Spy:
        def see(self, stacks):
            seen.extend(stacks)
            return segmenter.see(stacks)

    u = ring(0).displacement[3:5].clone().requires_grad_()
    slices = torch.tensor([2, 4])
    natives = [NativePair.of(Pair(subject, 0, frame), slices) for frame in (3, 4)]
    teacher_loss(Spy(), natives, u).backward()
    assert len(seen) == 2
    for frame, stack, motion in zip((3, 4), seen, u.detach()):
        expected = warp_native(subject.native_frame(0), motion[None], subject.placement)[0, slices]
        torch.testing.assert_close(stack.volume.detach(), expected, atol=0.1, rtol=0)
        assert stack.spacing_mm == subject.placement.native_spacing_mm
        target = subject.native_frame(frame)
        assert stack.mean == pytest.approx(float(target.mean()), rel=0.02)
        assert stack.std == pytest.approx(float(target.std()), rel=0.02)
    assert u.grad is not None
    assert (u.grad.abs().sum((1, 2, 3, 4)) > 0).all()


def test_slices_of_the_teacher_lie_under_the_canonical_grid(ring):
    crop = ring(0).subject.crop
    rng = np.random.default_rng(0)
    drawn = {tuple(draw_slices(crop, 3, rng).tolist()) for _ in range(200)}
    assert {index for some in drawn for index in some} == set(crop.slices) == {1, 2, 3, 4, 5, 6}
    assert all(len(set(some)) == 3 for some in drawn)
    assert draw_slices(crop, "all", rng).tolist() == draw_slices(crop, 99, rng).tolist() == [1, 2, 3, 4, 5, 6]


def test_drawn_pairs_never_start_or_end_wrongly(ring):
    subjects = [ring(0).subject, ring(1).subject]
    direct = draw_pairs(subjects, "direct", 200, np.random.default_rng(0))
    assert {pair.source for pair in direct} == {0}
    assert {pair.target for pair in direct} == set(range(1, 8))
    assert {pair.subject.name for pair in direct} == {"ring-0", "ring-1"}
    composed = draw_pairs(subjects, "composed", 200, np.random.default_rng(0))
    assert {(pair.target - pair.source) % 8 for pair in composed} == {1}


@pytest.mark.slow
@pytest.mark.parametrize("parameterisation", ["velocity", "displacement"])
def test_training_finds_the_motion_of_hearts_it_has_not_seen(ring, segmenter, tmp_path, parameterisation):
    settings = RegistrationSettings(iterations=150, augmentation=None, parameterisation=parameterisation)
    network, log = fit([ring(seed).subject for seed in range(8)], settings, segmenter, 0, _run(tmp_path))
    assert log["loss"].tail(20).mean() < 0.6 * log["loss"].head(5).mean()
    for seed in (8, 9):
        subject, truth = ring(seed).subject, ring(seed).displacement
        frames = torch.stack([subject.canonical(frame) for frame in range(8)])
        cycle = register_cycle(network, frames, subject.placement.valid)
        moving = truth.norm(dim=1) > 1
        # The ring does not change along z, so that only in-plane motion can be seen.
        error = (cycle.displacement - truth)[:, 1:].norm(dim=1)[moving].mean()
        assert error < 0.4 * truth[:, 1:].norm(dim=1)[moving].mean()
        assert cycle.regularity.folded_share < 1e-3
        systole = 4
        u = native_displacement(cycle.displacement[systole : systole + 1], subject.placement)
        anchor, real = (subject.native_labels(frame) for frame in (0, systole))
        (warped,) = warp_labels(anchor, u, subject.placement.native_spacing_mm)
        for structure in (1, 2):
            assert _dice(warped == structure, real == structure) > 0.5 + 0.5 * _dice(
                anchor == structure, real == structure
            )


def _dice(one: torch.Tensor, two: torch.Tensor) -> float:
    return float(2 * (one & two).sum() / (one.sum() + two.sum()))


def test_settings_describe_the_network():
    network = Toppr.of(RegistrationSettings(max_field="none", max_field_mm=7.0, channels=(4, 8)), (10.0, 2.0, 2.0))
    assert (network.max_field, network.max_field_mm, network.spacing_mm) == ("none", 7.0, (10.0, 2.0, 2.0))
    assert len(network.encoder) == 2


def test_the_labels_of_both_frames_are_compared(ring):
    """The known motion brings the source's labels onto the target's; none leaves what the contraction has changed."""
    truth, subject = ring(0).displacement[4:5], ring(0).subject
    settings = RegistrationSettings(lambda_rec=0, lambda_seg=0, lambda_labels=2.0, channels=(4,))
    pairs = PairBatch.of([DrawnPair(subject, 0, 4)], with_labels=True)
    terms = {
        name: evaluate_pairs(Known(answer, subject.placement.spacing_mm), pairs, settings, None)
        for name, answer in (("truth", truth), ("still", 0 * truth))
    }
    assert terms["truth"].labels < 0.05
    assert terms["still"].labels > 3 * terms["truth"].labels
    assert terms["still"].total(settings) == 2 * terms["still"].labels
    assert PairBatch.of([DrawnPair(subject, 0, 4)]).labels is None


def test_labels_alone_teach_the_motion(ring, tmp_path):
    settings = SMALL.model_copy(
        update={"iterations": 20, "lambda_rec": 0.0, "lambda_seg": 0.0, "lambda_labels": 1.0, "learning_rate": 1e-2}
    )
    _, log = fit([ring(0).subject], settings, None, 0, _run(tmp_path))
    assert (log["rec"] == 0).all()
    assert log["labels"][10:].mean() < 0.8 * log["labels"][:10].mean()


def test_an_experts_labels_count_before_the_labellers(ring):
    """Frame by frame: those that the expert has left out keep the labeller's."""
    subject = ring(0).subject
    annotation = np.zeros_like(subject.labels)
    annotation[4] = np.roll(subject.labels[4], 3, axis=2)
    both = replace(subject, annotation=annotation)
    alone = replace(subject, labels=annotation)
    assert torch.equal(both.label_shares(4), alone.label_shares(4))
    assert not torch.equal(both.label_shares(4), subject.label_shares(4))
    assert torch.equal(both.label_shares(2), subject.label_shares(2))
