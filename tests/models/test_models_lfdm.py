from dataclasses import replace

import pandas as pd
import pytest
import torch

from cof.config.baselines import FlowAutoencoderSettings, FlowDiffusionSettings, LfdmSettings
from cof.config.training import AffineSettings
from cof.errors import UsageError
from cof.models.video import lfdm
from cof.models.video.lfdm import FewFrames, LfdmFamily, LfdmModel, NoisedSlices
from cof.models.video.slices import SliceBatch, Slices, stacked
from cof.training.run import Run

AUTOENCODER = FlowAutoencoderSettings(
    channels=(4, 8, 16), blocks=1, frames=4, iterations=4, batch=2, learning_rate=5e-3, checkpoint_every=2
)
SETTINGS = LfdmSettings(
    video_frames=8, autoencoder=AUTOENCODER,
    diffusion=FlowDiffusionSettings(channels=(16, 32), blocks=1, embedding=16, ecg_channels=(8, 8)),
    iterations=6, batch=2, learning_rate=3e-3, checkpoint_every=2, steps=5, augmentation=None,
)  # fmt: skip


@pytest.fixture(scope="module")
def pair(beating_hearts):
    """The same heart with two ECGs, one of which stills it; only the middle slice is there."""
    heart, other = beating_hearts(2, frames=8, amplitude=8.0, end_systole=0.5)
    still = replace(heart, subject=other.subject, beat=2 * other.beat[:, ::-1].copy(), cine=heart.cine[:1].repeat(8, 0))
    placement = replace(heart.placement, valid=(False, False, True, False, False))
    return [replace(one, placement=placement) for one in (heart, still)]


@pytest.fixture(scope="module")
def trained(pair, tmp_path_factory):
    """Long enough to know both by heart."""
    folder = tmp_path_factory.mktemp("lfdm")
    autoencoder = AUTOENCODER.model_copy(update={"iterations": 60, "checkpoint_every": 10})
    settings = SETTINGS.model_copy(
        update={"autoencoder": autoencoder, "iterations": 110, "batch": 4, "checkpoint_every": 10}
    )
    LfdmFamily().fit(pair, [], settings, 0, Run(folder / "c.pt"))(folder)
    return folder, settings


@pytest.mark.slow
def test_it_overfits_a_heart_and_the_ecg_tells_how_it_moves(trained, pair):
    folder, settings = trained
    log = pd.read_csv(folder / "log.csv")
    losses = {part: rows["train_loss"].to_numpy() for part, rows in log.groupby("part")}
    assert losses["autoencoder"][-1] < 0.6 * losses["autoencoder"][0]
    assert losses["diffusion"][-1] < 0.3 * losses["diffusion"][0]

    model = LfdmFamily().load(folder, settings)
    made = [model.generate(heart, 8, 0).cine[:, 2] for heart in pair]
    real = [torch.from_numpy(heart.cine[:, 2]) for heart in pair]
    errors = [[float((one - two).abs().mean()) for two in real] for one in made]
    assert errors[0][0] < 0.6 * errors[0][1]
    assert errors[1][1] < 0.6 * errors[1][0]


@pytest.mark.slow
def test_a_model_is_the_same_when_read_again_and_seed_and_name_decide_its_bytes(trained, pair):
    folder, settings = trained
    one, two = (LfdmFamily().load(folder, settings) for _ in range(2))
    made = one.generate(pair[0], 12, 5)
    assert made.displacement is None
    assert made.cine.shape == (12, 5, 32, 32)
    assert made.cine.numpy().tobytes() == two.generate(pair[0], 12, 5).cine.numpy().tobytes()
    assert not torch.equal(made.cine, two.generate(pair[0], 12, 6).cine)
    assert not torch.equal(made.cine, two.generate(replace(pair[0], subject="sub-0099-v2"), 12, 5).cine)
    guided = LfdmModel(one.network, settings.model_copy(update={"guidance": 3.0})).generate(pair[0], 12, 5)
    assert not torch.equal(made.cine, guided.cine)
    other = settings.diffusion.model_copy(update={"embedding": 8})
    with pytest.raises(UsageError, match="other settings"):
        LfdmFamily().load(folder, settings.model_copy(update={"diffusion": other}))


@pytest.mark.slow
def test_guidance_moves_the_motion_away_from_what_there_is_without_the_ecg(trained, pair, monkeypatch):
    """With predictions that are known: one step of DDIM gives the guided one."""
    folder, settings = trained
    settings = settings.model_copy(update={"guidance": 3.0, "steps": 1})
    model, kept = LfdmFamily().load(folder, settings), []
    encode = model.network.diffusion.encode

    def encoded(anatomy, position, beat, rr_ms, keep):
        kept.append(bool(keep.all()))
        return encode(anatomy, position, beat, rr_ms, keep), kept[-1]

    def clean(noisy, levels, condition):
        return torch.full_like(noisy, 0.5 if condition[1] else 0.2)

    samples = []
    unscaled = model.network.diffusion.unscaled
    monkeypatch.setattr(model.network.diffusion, "encode", encoded)
    monkeypatch.setattr(model.network.diffusion, "forward", clean)
    monkeypatch.setattr(model.network.diffusion, "unscaled", lambda sample: samples.append(sample) or unscaled(sample))
    model.generate(pair[0], 8, 0)
    assert kept == [True, False]
    torch.testing.assert_close(samples[0], torch.full_like(samples[0], 0.2 + 3 * 0.3))


@pytest.mark.slow
def test_slices_share_their_noise(trained, beating_hearts, monkeypatch):
    folder, settings = trained
    model, seen = LfdmFamily().load(folder, settings), []
    monkeypatch.setattr(
        model.network.diffusion, "forward", lambda noisy, *_: seen.append(noisy) or torch.zeros_like(noisy)
    )
    model.generate(beating_hearts(1, frames=8)[0], 8, 0)
    assert seen[0].shape == (5, 3, 8, 8, 8)
    assert all(torch.equal(noise, seen[0][0]) for noise in seen[0])
    assert float(seen[0].std()) == pytest.approx(1, abs=0.1)


@pytest.mark.slow
def test_a_diffusion_that_finds_no_motion_gives_the_anchor(trained, pair, monkeypatch):
    folder, settings = trained
    model, heart = LfdmFamily().load(folder, settings), pair[0]
    rest = torch.tensor([0.0, 0.0, 1.0])[:, None, None, None].expand(1, 3, 8, 8, 8)
    monkeypatch.setattr(model.network.diffusion, "unscaled", lambda sample: rest)
    made = model.generate(heart, 8, 0).cine
    anchor = SliceBatch.of_stack(heart).anchor[:, 1:2]
    torch.testing.assert_close(made, stacked(anchor.expand(-1, 8, -1, -1)[:, None], heart, 8))


def test_noise_levels_are_uniform_and_the_ecg_is_dropped_at_the_stated_rate_but_of_held_out_slices(pair):
    settings = SETTINGS.model_copy(update={"batch": 50})
    source = NoisedSlices(pair, pair[:1], settings, 0)
    drawn = [source.noise(source.draw(iteration), (1, 1, 1, 1)) for iteration in range(1, 61)]
    noise, levels, keep = (torch.cat(values).double() for values in zip(*drawn))
    assert 1 - float(keep.mean()) == pytest.approx(0.1, abs=0.015)
    assert float(levels.mean()) == pytest.approx(500, abs=20)
    assert levels.min() < 10
    assert levels.max() > 989
    assert float(noise.std()) == pytest.approx(1, abs=0.05)
    certain = NoisedSlices(pair, pair[:1], settings.model_copy(update={"drop": 1.0}), 0)
    assert not certain.noise(certain.draw(1), (1,))[2].any()
    assert certain.noise(certain.held_out, (1,))[2].all()


def test_the_autoencoder_sees_random_frames_of_each_slice(pair):
    source, whole = FewFrames(pair, [], SETTINGS, 0), Slices(pair, [], SETTINGS, 0)
    firsts = []
    for iteration in range(1, 9):
        items = source.draw(iteration)
        few, all_frames = source.load(items).video, whole.load(items).video
        assert few.shape == (2, 1, 4, 32, 32)
        for one, every in zip(few[:, 0], all_frames[:, 0]):
            firsts.append(next(place for place, frame in enumerate(every) if torch.equal(frame, one[0])))
        assert torch.equal(few, source.load(items).video)
    assert len(set(firsts)) > 2


def test_a_training_stopped_in_its_second_part_resumes_there_to_the_same_weights(pair, tmp_path, monkeypatch):
    settings = SETTINGS.model_copy(update={"augmentation": AffineSettings()})
    whole, log = lfdm.fit(pair, pair[:1], settings, 3, Run(tmp_path / "whole.pt"))
    load, loaded = NoisedSlices.load, []

    def failing(source, items):
        loaded.append(items)
        if len(loaded) == 4:
            raise MemoryError
        return load(source, items)

    with monkeypatch.context() as patch:
        patch.setattr(NoisedSlices, "load", failing)
        with pytest.raises(MemoryError):
            lfdm.fit(pair, [], settings, 3, Run(tmp_path / "stopped.pt"))
    assert torch.load(tmp_path / "stopped.diffusion.pt", weights_only=True)["iteration"] == 2
    with monkeypatch.context() as patch:
        patch.setattr(FewFrames, "load", None)  # the autoencoder is not trained again
        resumed, resumed_log = lfdm.fit(pair, [], settings, 3, Run(tmp_path / "stopped.pt"))
    assert log["part"].tolist() == ["autoencoder"] * 2 + ["diffusion"] * 3
    assert log.drop(columns="validation_loss").equals(resumed_log.drop(columns="validation_loss"))
    states = whole.state_dict(), resumed.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_sizes_that_cannot_be_halved_are_refused(pair, tmp_path):
    with pytest.raises(UsageError, match="video_frames is 7, which must be a multiple of 2"):
        lfdm.fit(pair, [], SETTINGS.model_copy(update={"video_frames": 7}), 0, Run(tmp_path / "c.pt"))
    small = [replace(pair[0], anchor=pair[0].anchor[:, :24])]
    with pytest.raises(UsageError, match="24 rows and 32 columns, which must be multiples of 16"):
        lfdm.fit(small, [], SETTINGS, 0, Run(tmp_path / "c.pt"))
