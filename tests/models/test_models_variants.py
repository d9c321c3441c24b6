"""Rows of the tables that are COF with other settings: as configured, each trains and generates."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from cof import config
from cof.config.flow import CofSettings
from cof.config.overlay import overlaid
from cof.models.flow.cof import CofFamily
from cof.motion.resolution import to_canonical
from cof.motion.warp import warp
from cof.training.run import Run

REPOSITORY = Path(__file__).parents[2]
SMALL = {
    "iterations": 2, "batch": 2, "phases": 2,
    "field": {"channels": [4, 8], "embedding": 8, "ecg_channels": [4, 8], "time_harmonics": 4},
}  # fmt: skip


def configured() -> dict[str, CofSettings]:
    """All models of the family in the files that make Tables I to III, with networks that train in no time."""
    raw = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    for name in ("bench", "baselines", "table3"):
        raw = overlaid(raw, yaml.safe_load((REPOSITORY / f"workflow/config/{name}.yaml").read_text()))
    models = {name: model for name, model in config.parse(raw).models.items() if isinstance(model, CofSettings)}
    return {
        name: CofSettings.model_validate(overlaid(model.model_dump(), SMALL | {"trials": None}))
        for name, model in models.items()
    }


MODELS = configured()
WITHOUT_ANATOMY = ("cof_zero_anatomy", "cof_no_anatomy")


@pytest.mark.parametrize("name", MODELS)
def test_two_iterations_make_a_heart_that_moves(name, toy_hearts, tmp_path):
    *train, unseen = toy_hearts(4)
    CofFamily().fit(train, train[:1], MODELS[name], 0, Run(tmp_path / "run.pt"))(tmp_path)
    model = CofFamily().load(tmp_path, MODELS[name])
    made = model.generate(unseen, 9, 0).displacement
    assert made.shape == (9, 3, 5, 16, 16)
    assert torch.isfinite(made).all()
    assert torch.count_nonzero(made[0]) == 0
    assert made[1:].abs().max() > 0
    # Another's anatomy, with the same ECG: the motion is another one if the field sees the anatomy.
    other = toy_hearts(1, seed=9)[0].with_ecg_of(unseen)
    moved = model.generate(other, 9, 0).displacement
    assert torch.equal(moved, made) is (name in WITHOUT_ANATOMY)
    # The anchor itself is warped in either case.
    for heart, motion in ((unseen, made), (other, moved)):
        anchor = torch.from_numpy(heart.anchor)[None, None].expand(len(motion), -1, -1, -1, -1)
        frames = warp(anchor, to_canonical(motion), heart.placement.spacing_mm)
        np.testing.assert_allclose(frames[0, 0], heart.anchor, atol=1e-5)
    assert np.abs(unseen.anchor - other.anchor).max() > 0.1


def test_the_letter_of_the_paper_leaves_the_cycle_open(toy_hearts, tmp_path):
    """The last displacement is not zero; with a closed cycle it would be."""
    train = toy_hearts(2)
    CofFamily().fit(train, [], MODELS["cof_letter"], 0, Run(tmp_path / "run.pt"))(tmp_path)
    closed = MODELS["cof_letter"].model_copy(update={"ode": MODELS["cof"].ode})
    open_ended, ended = (CofFamily().load(tmp_path, settings) for settings in (MODELS["cof_letter"], closed))
    left, right = (model.generate(train[0], 9, 0) for model in (open_ended, ended))
    assert left.measures == right.measures
    assert left.measures["closure_mm"] > 0
    gaps = (left.displacement - right.displacement).norm(dim=1).mean((1, 2, 3))
    torch.testing.assert_close(gaps, gaps[1] * torch.arange(9), rtol=1e-3, atol=1e-6)
    assert gaps[1] > 0
