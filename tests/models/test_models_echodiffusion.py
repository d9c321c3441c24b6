import os
import signal
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
import torch

from cof.config.baselines import EchoDiffusionSettings, EfPredictorSettings, SuperResolutionSettings
from cof.errors import UsageError
from cof.models.base import Subject
from cof.models.video import edm
from cof.models.video.echodiffusion import (
    SIGMA_RANGE,
    BaseSlices,
    EchoDiffusion,
    EchoDiffusionFamily,
    EchoDiffusionModel,
    FineSlices,
    base_images,
    difference,
    doubled,
    halved,
    sample,
    scales,
)
from cof.models.video.ef_predictor import EfExamples, EfPredictor, ef_loss
from cof.models.video.slices import SliceBatch
from cof.training.run import Run
from cof.twins.generation import warp_canonical

SETTINGS = EchoDiffusionSettings(
    video_frames=8, channels=(8, 8), iterations=4, batch=2, steps=2, checkpoint_every=2, augmentation=None,
    fine=SuperResolutionSettings(channels=(8, 8), iterations=3, batch=2, steps=2, guidance=1),
    predictor=EfPredictorSettings(ecg_channels=(4, 8), embedding=8, iterations=3, batch=3),
)  # fmt: skip


@pytest.fixture(scope="module")
def beating(toy_hearts):
    """Hearts whose cines show their motion."""

    def make(*arguments, **changes):
        hearts = toy_hearts(*arguments, **changes)
        cines = [
            warp_canonical(torch.from_numpy(h.anchor), torch.from_numpy(h.displacement).float(), h.placement).numpy()
            for h in hearts
        ]
        return [replace(heart, cine=cine.clip(0, 1)) for heart, cine in zip(hearts, cines)]

    return make


def awake(settings=SETTINGS, seed=0):
    """Networks none of whose layers is zero, as after a first step of training."""
    torch.manual_seed(seed)
    network = EchoDiffusion(settings)
    for parameter in network.parameters():
        if torch.count_nonzero(parameter) == 0:
            torch.nn.init.normal_(parameter, std=0.1)
    network.predictor.mean.fill_(55.0)
    network.predictor.sd.fill_(8.0)
    for stage in (network.base, network.fine):
        stage.sigma_data.fill_(0.2)
    return network.eval()


def trained(hearts, folder, settings=SETTINGS, validation=()):
    folder.mkdir(exist_ok=True)
    EchoDiffusionFamily().fit(hearts, list(validation), settings, 0, Run(folder / "checkpoint.pt"))(folder)
    return EchoDiffusionFamily().load(folder, settings)


def as_subject(example):
    return Subject(**{field.name: getattr(example, field.name) for field in fields(Subject)})


def test_half_the_resolution_and_back_keeps_places():
    ramp = torch.arange(8.0)[:, None, None] + 10 * torch.arange(16.0)[:, None] + 100 * torch.arange(16.0)
    back = doubled(halved(ramp[None, None]))[0, 0]
    torch.testing.assert_close(back[1:-1, 1:-1, 1:-1], ramp[1:-1, 1:-1, 1:-1])


def test_sigma_data_is_the_root_mean_square_of_what_moves(beating):
    heart = beating(1)[0]
    base, fine = scales([heart], 12)
    whole = np.sqrt(np.mean((heart.cine - heart.anchor) ** 2))
    assert 0.3 * whole < base < whole
    assert 0.1 * whole < fine < whole  # blocks of two lack something, but not everything
    assert scales([replace(heart, cine=np.broadcast_to(heart.anchor, heart.cine.shape))], 12) == (1.0, 1.0)


def test_the_stated_share_of_examples_loses_its_ef_and_no_held_out_one_does(beating):
    hearts = beating(6)
    settings = SETTINGS.model_copy(update={"batch": 60, "drop": 0.3})
    source = BaseSlices(hearts, hearts[:2], settings, settings, 0)
    batches = [source.load(source.draw(iteration)) for iteration in range(1, 11)]
    kept = torch.cat([batch.keep for batch in batches]).float().mean()
    assert float(kept) == pytest.approx(0.7, abs=0.05)
    assert source.load(source.held_out).keep.all()
    unknown = BaseSlices([replace(hearts[0], ef_pct=None)], [], settings, settings, 0)
    assert not unknown.load(unknown.draw(1)).keep.any()


@torch.no_grad()
def test_who_loses_the_ef_hears_nothing_of_it_and_still_knows_its_place():
    stage = awake().base
    ef, place = torch.tensor([30.0, 70.0]), torch.tensor([0.1, 0.1])
    dropped, kept = torch.tensor([False, False]), torch.tensor([True, True])
    assert torch.equal(*stage.tokens(ef, place, dropped))
    assert (stage.tokens(ef, place, kept)[0, 0] - stage.tokens(ef, place, kept)[1, 0]).abs().max() > 1e-3
    assert (stage.tokens(ef, place, dropped) - stage.tokens(ef, place + 0.5, dropped))[:, 1].abs().max() > 1e-3
    noisy, images = torch.randn(1, 1, 4, 16, 16).expand(2, -1, -1, -1, -1), torch.rand(2, 3, 4, 16, 16)
    images[1] = images[0]
    made = stage(noisy, torch.ones(2), images, stage.tokens(ef, place, kept))
    assert (made[0] - made[1]).abs().max() > 1e-5


@torch.no_grad()
def test_guidance_of_one_is_the_conditional_and_of_zero_the_unconditional_model(beating):
    network, heart = awake(), beating(1)[0]
    slices = SliceBatch.of_stack(heart)
    images, rest = base_images(slices.anchor, 4), torch.full((5, 1, 1, 16, 16), 0.5)
    noise, ef = torch.randn(1, 4, 16, 16), torch.full((5,), 40.0)

    def made(guidance):
        settings = SETTINGS.model_copy(update={"guidance": guidance})
        return sample(network.base, settings, images, rest, ef, slices.position, noise)

    def alone(keep):
        tokens = network.base.tokens(ef, slices.position, torch.full((5,), keep))

        def denoise(noisy, sigma):
            return (0.5 + network.base(noisy, torch.full((5,), sigma), images, tokens)).clamp(0, 1) - 0.5

        sigmas = float(network.base.sigma_data) * edm.levels(2, *SIGMA_RANGE)
        return edm.solve(denoise, noise.expand(5, -1, -1, -1, -1), sigmas)

    torch.testing.assert_close(made(1), alone(True))
    torch.testing.assert_close(made(0), alone(False))
    assert (made(5) - made(1)).abs().max() > 1e-3


def test_crops_of_super_resolution_show_the_same_place(beating):
    hearts = beating(2)
    fine = SETTINGS.fine.model_copy(update={"condition_noise": 0.0})
    settings = SETTINGS.model_copy(update={"fine": fine})
    source = FineSlices(hearts, [], settings, fine, 3)
    batch, slices = source.load(source.draw(1)), source.slices(source.draw(1))
    assert batch.clean.shape == (2, 1, 8, 16, 16)
    assert batch.images.shape == (2, 4, 8, 16, 16)
    whole = difference(slices)
    for clean, images, video, anchor in zip(batch.clean, batch.images, whole, slices.anchor):
        found = [
            (y, x)
            for y in range(17)
            for x in range(17)
            if torch.allclose(video[:, :, y : y + 16, x : x + 16], clean + images[3:], atol=1e-6)
            and torch.equal(anchor[:, None, y : y + 16, x : x + 16].expand(-1, 8, -1, -1), images[:3])
        ]
        assert len(found) == 1
        y, x = found[0]
        coarse = doubled(halved(video[None]))[0]
        torch.testing.assert_close(images[3:], coarse[:, :, y : y + 16, x : x + 16])
    noisy = FineSlices(hearts, [], SETTINGS, SETTINGS.fine, 3)
    assert (noisy.load(noisy.draw(1)).images - batch.images)[:, 3].abs().max() > 0


def test_the_split_of_a_batch_changes_nothing_of_its_slices(beating):
    hearts = beating(3)
    for kind, stage in ((BaseSlices, SETTINGS), (FineSlices, SETTINGS.fine)):
        source = kind(hearts, [], SETTINGS, stage, 0)
        items = source.draw(5)
        whole, parts = source.load(items), [source.load([item]) for item in items]
        for name, value in vars(whole).items():
            torch.testing.assert_close(torch.cat([getattr(part, name) for part in parts]), value)


def test_the_predicted_ef_never_is_the_subjects_own_and_the_oracles_is(beating):
    hearts = beating(1)
    model = EchoDiffusionModel(awake(), SETTINGS)
    made = model.generate(as_subject(hearts[0]), 6, 0)
    for ef_pct in (10.0, 90.0):
        told = model.generate(replace(hearts[0], ef_pct=ef_pct), 6, 0)
        assert torch.equal(told.cine, made.cine)
        assert told.measures == made.measures
    other_ecg = model.generate(replace(hearts[0], beat=hearts[0].beat[:, ::-1].copy()), 6, 0)
    assert other_ecg.measures != made.measures
    oracle = EchoDiffusionModel(awake(), SETTINGS, told_ef=True)
    low, high = (oracle.generate(replace(hearts[0], ef_pct=ef_pct), 6, 0) for ef_pct in (10.0, 90.0))
    assert (low.measures["ef_wanted_pct"], high.measures["ef_wanted_pct"]) == (10.0, 90.0)
    assert not torch.equal(low.cine, high.cine)
    with pytest.raises(TypeError, match="own EF"):
        oracle.generate(as_subject(hearts[0]), 6, 0)


def test_slices_share_the_noise_that_seed_and_name_decide(beating, monkeypatch):
    heart, starts, solve = beating(1)[0], [], edm.solve

    def watched(denoise, noise, sigmas):
        starts.append(noise)
        return solve(denoise, noise, sigmas)

    monkeypatch.setattr(edm, "solve", watched)
    model = EchoDiffusionModel(awake(), SETTINGS)
    cine = model.generate(heart, 6, 1).cine
    assert [tuple(start.shape[1:]) for start in starts] == [(1, 4, 16, 16), (1, 8, 32, 32)] * 2  # four slices, and one
    for stage in (starts[::2], starts[1::2]):
        noise = torch.cat(stage)
        assert torch.equal(noise, noise[:1].expand_as(noise))
    assert torch.equal(model.generate(heart, 6, 1).cine, cine)
    assert not torch.equal(model.generate(heart, 6, 2).cine, cine)
    assert not torch.equal(model.generate(replace(heart, subject="sub-9999-v2"), 6, 1).cine, cine)


def test_slices_that_do_not_exist_show_the_anchor(beating):
    heart = beating(1)[0]
    heart = replace(heart, placement=replace(heart.placement, valid=(True, True, False, True, False)))
    cine = EchoDiffusionModel(awake(), SETTINGS).generate(heart, 6, 1).cine
    assert cine[:, [0, 1, 3]].min() >= 0
    assert cine[:, [0, 1, 3]].max() <= 1
    for index in (2, 4):
        assert torch.equal(cine[:, index], torch.from_numpy(heart.anchor[index]).expand(6, -1, -1))
    assert not torch.equal(cine[3, 1], torch.from_numpy(heart.anchor[1]))


def test_the_predictor_hears_what_the_ecg_says_of_unseen_hearts(toy_hearts, tmp_path):
    from cof.training import loop

    train, unseen = toy_hearts(32, seed=1), toy_hearts(12, seed=2)
    settings = EfPredictorSettings(ecg_channels=(8, 16), embedding=16, iterations=120, learning_rate=5e-3)
    torch.manual_seed(0)
    network = EfPredictor(settings)
    network.learn_scale(train)
    source = EfExamples(train, unseen, settings, 0)
    wanted = source.load(source.held_out)
    assert wanted.ef_pct.tolist() == pytest.approx([heart.ef_pct for heart in unseen])
    null = float(ef_loss(network, wanted).value.detach())
    network, _ = loop.fit(network, ef_loss, source, settings, Run(tmp_path / "c.pt"), log_every=50)
    assert float(ef_loss(network, wanted).value.detach()) < 0.4 * null


def test_an_unknown_ef_teaches_the_predictor_nothing(toy_hearts):
    hearts = toy_hearts(4)
    network = EfPredictor(SETTINGS.predictor)
    network.learn_scale(hearts)
    assert float(network.mean) == pytest.approx(np.mean([heart.ef_pct for heart in hearts]), rel=1e-5)
    unknown = [*hearts[:3], replace(hearts[3], ef_pct=None)]
    source = EfExamples(unknown, unknown, SETTINGS.predictor, 0)
    partly, known = (ef_loss(network, source.load(source.held_out[:count])) for count in (4, 3))
    torch.testing.assert_close(partly.value, known.value)
    assert int(partly.weight) == 3
    with pytest.raises(ValueError, match="no training subject"):
        network.learn_scale(unknown[3:])


def test_a_stopped_training_resumes_to_the_same_model(beating, tmp_path, monkeypatch):
    hearts = beating(3)
    whole = trained(hearts, tmp_path / "whole", validation=hearts[:1])
    draw = FineSlices.draw

    def stopping(source, iteration):
        if isinstance(source, FineSlices) and iteration == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return draw(source, iteration)

    monkeypatch.setattr(FineSlices, "draw", stopping)
    with pytest.raises(SystemExit):
        trained(hearts, tmp_path / "stopped", validation=hearts[:1])
    monkeypatch.setattr(FineSlices, "draw", draw)
    resumed = trained(hearts, tmp_path / "stopped", validation=hearts[:1])
    one, other = whole.network.state_dict(), resumed.network.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(whole.generate(hearts[0], 6, 0).cine, resumed.generate(hearts[0], 6, 0).cine)
    told = whole.network.predictor
    for stage in (whole.network.base, whole.network.fine):  # the EF is told in units of its spread
        assert (stage.ef_mean, stage.ef_sd) == (told.mean, told.sd)
    assert float(told.mean) == pytest.approx(np.mean([heart.ef_pct for heart in hearts]), rel=1e-5)
    logs = pd.read_csv(tmp_path / "stopped/log.csv")
    assert logs.equals(pd.read_csv(tmp_path / "whole/log.csv"))
    assert logs.groupby("part")["iteration"].max().to_dict() == {"predictor": 3, "base": 4, "fine": 3}


@pytest.mark.slow
def test_both_stages_learn_the_beat_of_one_slice(beating, tmp_path):
    heart = beating(1, amplitude=8.0, frames=8)[0]
    heart = replace(heart, placement=replace(heart.placement, valid=(False, False, True, False, False)))
    stage = {"batch": 2, "learning_rate": 5e-3, "channels": (8, 16), "guidance": 1, "steps": 8}
    stage |= {"iterations": 200, "checkpoint_every": 100}
    settings = SETTINGS.model_copy(update=stage | {"fine": SETTINGS.fine.model_copy(update=stage)})
    model = trained([heart], tmp_path / "m", settings)
    losses = pd.read_csv(tmp_path / "m/log.csv").groupby("part")["train_loss"].last()
    assert losses["base"] < 0.5  # that of a silent network is 1
    assert losses["fine"] < 0.95

    def blocks(cine):  # what noise of single voxels leaves
        return halved(torch.as_tensor(np.asarray(cine))[None, None, :, 2])

    def error(cine):
        return float((blocks(cine) - blocks(heart.cine)).square().mean().sqrt())

    made, still = error(model.generate(heart, 8, 0).cine), error(np.broadcast_to(heart.anchor, heart.cine.shape).copy())
    assert made < 0.75 * still


def test_a_grid_that_cannot_be_halved_is_refused(beating, tmp_path):
    settings = SETTINGS.model_copy(update={"video_frames": 10})
    with pytest.raises(UsageError, match="multiples of 4"):
        trained(beating(1), tmp_path / "m", settings)
