from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from cof.config.baselines import DenoiserSettings, DiffusionSettings
from cof.models.ddim import LEVELS, ddim
from cof.models.flow import diffusion
from cof.models.flow.diffusion import Denoiser, DiffusionFamily, NoisyPhases
from cof.models.flow.matching import heart_mask
from cof.motion.path import DisplacementPath
from cof.training.run import Run

FIELD = DenoiserSettings(channels=(8, 16), embedding=32, ecg_channels=(8, 16), time_harmonics=8)
SETTINGS = DiffusionSettings(field=FIELD, iterations=3, batch=2, phases=2, steps=4, phases_at_once=3)


def trained(hearts, folder, settings=SETTINGS, validation=(), seed=0):
    folder.mkdir(exist_ok=True)
    DiffusionFamily().fit(hearts, list(validation), settings, seed, Run(folder / "checkpoint.pt"))(folder)
    return DiffusionFamily().load(folder, settings)


def test_the_noisy_displacement_and_its_level_reach_the_denoiser(toy_hearts):
    torch.manual_seed(0)
    network = Denoiser(FIELD).eval()
    torch.nn.init.normal_(network.head.last.weight)
    heart = toy_hearts(1)[0]
    condition = diffusion.encode_subject(network, heart, torch.device("cpu"))
    phase, level = torch.tensor([[0.1, 0.6]]), torch.tensor([[100, 900]])
    noisy = torch.randn(1, 2, 3, 5, 16, 16)
    with torch.no_grad():
        made = network.denoise(noisy, level, phase, condition)
        assert made.shape == noisy.shape
        for other in (
            network.denoise(noisy + 1, level, phase, condition),
            network.denoise(noisy, level - 50, phase, condition),
            network.denoise(noisy, level, phase + 0.2, condition),
        ):
            assert (other - made).abs().max() > 1e-3
        alone = network.denoise(noisy[:, 1:], level[:, 1:], phase[:, 1:], condition)
        torch.testing.assert_close(alone, made[:, 1:], rtol=1e-4, atol=1e-4)


def test_training_noise_is_normal_and_its_levels_fill_the_schedule(toy_hearts):
    hearts = toy_hearts(3)
    settings = SETTINGS.model_copy(update={"phases": 4})
    source = NoisyPhases(hearts, hearts[:1], settings, 0, DisplacementPath.displacement)
    batches = [source.load(source.draw(iteration)) for iteration in range(1, 21)]
    levels = torch.cat([batch.level for batch in batches])
    assert levels.sort(1).values.div(LEVELS // 4, rounding_mode="floor").equal(torch.arange(4).expand(len(levels), -1))
    assert len({tuple(row) for row in (levels // 250).tolist()}) > 5  # any level at any phase
    noise = torch.stack([batch.noise for batch in batches])
    assert float(noise.mean()) == pytest.approx(0, abs=0.01)
    assert float(noise.std()) == pytest.approx(1, abs=0.01)
    assert torch.equal(source.load(source.draw(7)).noise, batches[6].noise)
    parts = [source.load([item]).noise for item in source.draw(7)]
    assert torch.equal(torch.cat(parts), batches[6].noise)
    assert torch.equal(source.load(source.held_out).noise, source.load(source.held_out).noise)


def test_the_cycle_shares_one_noise_that_seed_and_name_decide(toy_hearts, tmp_path, monkeypatch):
    hearts = toy_hearts(2)
    model = trained(hearts, tmp_path / "m")
    starts = []

    def watched(denoise, noise, steps):
        starts.append(noise)
        return ddim(denoise, noise, steps)

    monkeypatch.setattr(diffusion, "ddim", watched)
    made = model.generate(hearts[0], 8, 5).displacement
    noise = torch.cat(starts)
    assert noise.shape == (7, 3, 5, 16, 16)
    assert torch.equal(noise, noise[:1].expand_as(noise))
    assert torch.count_nonzero(made[0]) == 0
    assert torch.equal(model.generate(hearts[0], 8, 5).displacement, made)
    assert not torch.equal(model.generate(hearts[0], 8, 6).displacement, made)
    renamed = replace(hearts[0], subject="sub-9999-v2")
    assert not torch.equal(model.generate(renamed, 8, 5).displacement, made)
    again = trained(hearts, tmp_path / "again").generate(hearts[0], 8, 5).displacement
    assert torch.equal(again, made)


@pytest.mark.slow
def test_it_learns_the_motion_of_one_heart(toy_hearts, tmp_path):
    heart = toy_hearts(1, amplitude=6.0)[0]
    settings = SETTINGS.model_copy(
        update={
            "iterations": 120, "batch": 1, "phases": 8, "learning_rate": 1e-2, "augmentation": None,
            "checkpoint_every": 20, "steps": 10,
        }
    )  # fmt: skip
    model = trained([heart], tmp_path / "m", settings)
    losses = pd.read_csv(tmp_path / "m/log.csv")["train_loss"]
    assert losses.iloc[-1] < 0.2 * losses.iloc[0]
    made = model.generate(heart, 12, 0).displacement.numpy()
    inside = heart_mask(heart.anchor_labels).bool().numpy()

    def length(field):
        return np.linalg.norm(field, axis=1)[1:, inside].mean()

    assert length(made - heart.displacement) < 0.4 * length(heart.displacement)


def test_modes_are_refused():
    with pytest.raises(ValidationError, match="modes"):
        DiffusionSettings(field={"modes": 8})
