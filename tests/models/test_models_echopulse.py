from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from cof.config.baselines import EchoPulseSettings, MaskedTransformerSettings, VideoCodecSettings
from cof.config.training import AffineSettings
from cof.errors import UsageError
from cof.models.video import echopulse
from cof.models.video.echopulse import EchoPulseFamily, EchoPulseModel, MaskedSlices
from cof.models.video.slices import SliceBatch, Slices, slice_videos, stacked
from cof.training.run import Run

CODEC = VideoCodecSettings(
    channels=(8, 16), blocks=1, codes=32, code_channels=8, decay=0.9,
    iterations=4, batch=2, learning_rate=4e-3, checkpoint_every=2,
)  # fmt: skip
TRANSFORMER = MaskedTransformerSettings(width=32, layers=2, heads=2, ecg_channels=(8, 8))
SETTINGS = EchoPulseSettings(
    video_frames=8, codec=CODEC, transformer=TRANSFORMER,
    iterations=6, batch=2, learning_rate=3e-3, checkpoint_every=2, steps=4, augmentation=None,
)  # fmt: skip


def with_slices(hearts, valid):
    return [replace(heart, placement=replace(heart.placement, valid=valid)) for heart in hearts]


@pytest.fixture(scope="module")
def pair(beating_hearts):
    """The same heart with two ECGs, one of which stills it; only the middle slice is there."""
    heart, other = beating_hearts(2, frames=8, amplitude=8.0, end_systole=0.4)
    still = replace(heart, subject=other.subject, beat=2 * other.beat[::-1].copy(), cine=heart.cine[:1].repeat(8, 0))
    return with_slices([heart, still], (False, False, True, False, False))


@pytest.fixture(scope="module")
def trained(pair, tmp_path_factory):
    """Long enough to know both by heart."""
    folder = tmp_path_factory.mktemp("echopulse")
    codec = CODEC.model_copy(update={"iterations": 50, "checkpoint_every": 10})
    settings = SETTINGS.model_copy(
        update={"codec": codec, "iterations": 200, "checkpoint_every": 10, "guidance": 2.0, "drop": 0.2}
    )
    EchoPulseFamily().fit(pair, [], settings, 0, Run(folder / "c.pt"))(folder)
    return folder, settings


@pytest.mark.slow
def test_it_overfits_a_heart_and_the_ecg_tells_how_it_moves(trained, pair):
    folder, settings = trained
    log = pd.read_csv(folder / "log.csv")
    losses = {part: rows["train_loss"].to_numpy() for part, rows in log.groupby("part")}
    assert losses["codec"][-1] < 0.5 * losses["codec"][0]
    assert losses["transformer"][-1] < 0.3 * losses["transformer"][0]

    model = EchoPulseFamily().load(folder, settings)
    codec, middle = model.network.codec, np.array([2])
    best = [codec.decode(codec.tokens(slice_videos(heart, middle, 8)))[0, 0] for heart in pair]
    made = [model.generate(heart, 8, 0).cine[:, 2] for heart in pair]
    apart = (best[0] - best[1]).abs().mean()
    assert apart > 0.003
    for one, two in zip(made, best):
        assert (one - two).abs().mean() < 0.3 * apart


@pytest.mark.slow
def test_a_model_is_the_same_when_read_again_and_seed_and_name_decide_its_bytes(trained, pair):
    folder, settings = trained
    one, two = (EchoPulseFamily().load(folder, settings) for _ in range(2))
    unsure = settings.model_copy(update={"temperature": 30.0})
    made = one.generate(pair[0], 12, 5)
    assert made.displacement is None
    assert made.cine.shape == (12, 5, 32, 32)
    assert made.cine.numpy().tobytes() == two.generate(pair[0], 12, 5).cine.numpy().tobytes()
    anchor = torch.from_numpy(pair[0].anchor)
    assert torch.equal(made.cine[:, [0, 1, 3, 4]], anchor[[0, 1, 3, 4]].expand(12, -1, -1, -1))
    drawn = [EchoPulseModel(one.network, unsure).generate(pair[0], 12, seed).cine for seed in (5, 5, 6)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    namesake = replace(pair[0], subject="sub-0099-v2")
    assert not torch.equal(drawn[0], EchoPulseModel(one.network, unsure).generate(namesake, 12, 5).cine)
    with pytest.raises(UsageError, match="other settings"):
        EchoPulseFamily().load(folder, settings.model_copy(update={"codec": CODEC.model_copy(update={"codes": 16})}))


@pytest.mark.slow
def test_a_transformer_that_knows_the_tokens_gives_the_real_video_through_the_codec(
    trained, beating_hearts, monkeypatch
):
    folder, settings = trained
    model = EchoPulseFamily().load(folder, settings)
    heart = with_slices(beating_hearts(1, frames=8, seed=4), (False, True, True, True, False))[0]
    codec, valid = model.network.codec, np.array([1, 2, 3])
    answer = codec.tokens(slice_videos(heart, valid, 8))
    slices, prefixes = SliceBatch.of_stack(heart), []
    kept = torch.ones(3, dtype=torch.bool)
    expected = model.network.transformer.encode(
        codec.still_tokens(slices.anchor), slices.position, slices.beat, slices.rr_ms, kept
    )

    def knowing(tokens, condition):
        prefixes.append(condition.prefix.clone())
        return 50.0 * torch.nn.functional.one_hot(answer, CODEC.codes)

    monkeypatch.setattr(model.network.transformer, "forward", knowing)
    made = model.generate(heart, 8, 0).cine
    assert torch.equal(made, stacked(codec.decode(answer), heart, 8))
    assert len(prefixes) == 2 * settings.steps  # with and without the ECG
    assert all(torch.equal(prefix, expected.prefix) for prefix in prefixes)


def test_the_ecg_is_dropped_at_the_stated_rate_and_never_of_held_out_slices(pair):
    settings = SETTINGS.model_copy(update={"batch": 50})
    source = MaskedSlices(pair, pair[:1], settings, 0, 4)
    keep = torch.cat([source.conceal(source.draw(iteration), (1, 1, 1))[1] for iteration in range(1, 61)])
    assert 1 - float(keep.float().mean()) == pytest.approx(0.1, abs=0.015)
    certain = MaskedSlices(pair, pair[:1], settings.model_copy(update={"drop": 1.0}), 0, 4)
    assert not certain.conceal(certain.draw(1), (2, 8, 8))[1].any()
    assert certain.conceal(certain.held_out, (2, 8, 8))[1].all()


def test_what_is_hidden_depends_on_the_iteration_alone(pair):
    source = MaskedSlices(pair, [], SETTINGS, 0, 4)
    one, two = source.load(source.draw(3)), source.load(source.draw(3))
    assert torch.equal(one.hidden, two.hidden)
    assert torch.equal(one.slices.video, two.slices.video)
    assert one.hidden.shape == (2, 2, 8, 8)
    assert not torch.equal(one.hidden, source.load(source.draw(4)).hidden)


def test_without_dropping_the_null_condition_is_never_trained(pair, tmp_path):
    """What the original does: its guidance subtracts what nobody taught."""
    null = {}
    for drop in (0.0, 0.5):
        settings = SETTINGS.model_copy(update={"drop": drop, "iterations": 3, "batch": 4, "weight_decay": 0.0})
        with torch.random.fork_rng():
            torch.manual_seed(0)
            before = echopulse.EchoPulse(settings).transformer.ecg.null.detach()
        network, _ = echopulse.fit(pair, [], settings, 0, Run(tmp_path / f"{drop}.pt"))
        null[drop] = float((network.transformer.ecg.null.detach() - before).abs().max())
    assert null[0.0] == 0
    assert null[0.5] > 1e-4


def test_a_training_stopped_in_its_second_part_resumes_there_to_the_same_weights(pair, tmp_path, monkeypatch):
    settings = SETTINGS.model_copy(update={"augmentation": AffineSettings()})
    whole, log = echopulse.fit(pair, pair[:1], settings, 3, Run(tmp_path / "whole.pt"))
    draw, drawn = Slices.draw, []

    def failing(source, iteration):
        drawn.append((type(source).__name__, iteration))
        if drawn[-1] == ("MaskedSlices", 4) and drawn.count(drawn[-1]) == 1:
            raise MemoryError
        return draw(source, iteration)

    monkeypatch.setattr(Slices, "draw", failing)
    with pytest.raises(MemoryError):
        echopulse.fit(pair, pair[:1], settings, 3, Run(tmp_path / "stopped.pt"))
    del drawn[:-1]
    resumed, resumed_log = echopulse.fit(pair, pair[:1], settings, 3, Run(tmp_path / "stopped.pt"))
    assert drawn[1:] == [("Slices", 0)] + [("MaskedSlices", iteration) for iteration in (3, 4, 5, 6)]
    assert log.equals(resumed_log)
    assert log["part"].tolist() == ["codec"] * 2 + ["transformer"] * 3
    states = whole.state_dict(), resumed.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_sizes_that_cannot_be_halved_are_refused(pair, tmp_path):
    with pytest.raises(UsageError, match="must be multiples of 4"):
        echopulse.fit(pair, [], SETTINGS.model_copy(update={"video_frames": 10}), 0, Run(tmp_path / "c.pt"))
