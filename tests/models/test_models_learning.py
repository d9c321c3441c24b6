"""The one thing that matters: what the ECG tells reaches the motion of hearts that were never seen."""

from dataclasses import replace

import numpy as np
import pytest

from cof.config.controls import MeanMotionSettings
from cof.config.flow import CofSettings, VelocitySettings
from cof.models.base import Example, TrainedModel
from cof.models.controls.motion import MeanMotionFamily
from cof.models.flow.cof import CofFamily
from cof.models.flow.matching import heart_mask
from cof.training.run import Run


def end_point_error(model: TrainedModel, hearts: list[Example]) -> float:
    """Mean length of the error in mm inside the hearts."""
    errors = []
    for heart in hearts:
        made = model.generate(heart, len(heart.displacement), seed=0).displacement.numpy()
        length = np.linalg.norm(made - heart.displacement, axis=1)
        errors.append(length[1:, heart_mask(heart.anchor_labels).bool().numpy()].mean())
    return float(np.mean(errors))


@pytest.mark.slow
def test_the_ecg_decides_the_motion_of_unseen_hearts(toy_hearts, tmp_path):
    train, unseen = toy_hearts(48, seed=1), toy_hearts(12, seed=2)
    settings = CofSettings(
        field=VelocitySettings(channels=(8, 16, 32), embedding=64, ecg_channels=(16, 32, 64)),
        iterations=200,
        learning_rate=3e-3,
        checkpoint_every=100,
    )
    for folder in ("cof", "mean"):
        (tmp_path / folder).mkdir()
    run = Run(tmp_path / "checkpoint.pt")
    CofFamily().fit(train, [], settings, 0, run)(tmp_path / "cof")
    model = CofFamily().load(tmp_path / "cof", settings)
    MeanMotionFamily().fit(train, [], MeanMotionSettings(), 0, run)(tmp_path / "mean")
    mean = MeanMotionFamily().load(tmp_path / "mean", MeanMotionSettings())

    shuffled = [replace(heart, beat=other.beat) for heart, other in zip(unseen, unseen[1:] + unseen[:1])]
    with_ecg, with_other_ecg = end_point_error(model, unseen), end_point_error(model, shuffled)
    without_ecg = end_point_error(mean, unseen)
    print(with_ecg, with_other_ecg, without_ecg)
    assert with_ecg < 0.7 * without_ecg
    assert with_other_ecg > 0.95 * without_ecg


@pytest.mark.slow
def test_a_control_learns_what_its_part_of_the_ecg_tells_and_no_more(toy_hearts, tmp_path):
    """Two features state the motion; the RR interval and a constant state nothing of it; nor do exchanged ECGs."""
    train, unseen = toy_hearts(32, seed=1, moved_mm=0), toy_hearts(8, seed=2, moved_mm=0)
    errors = {}
    for name, ecg, shuffled in (
        ("features", "features", False),
        ("rate", "rate", False),
        ("none", "none", False),
        ("shuffled", "features", True),
    ):
        settings = CofSettings(
            field=VelocitySettings(channels=(8, 8), embedding=32, ecg=ecg, anatomy=False, modes=4),
            shuffled_ecg=shuffled,
            iterations=200,
            learning_rate=1e-2,
            augmentation=None,
            checkpoint_every=50,
        )
        folder = tmp_path / name
        folder.mkdir()
        CofFamily().fit(train, [], settings, 0, Run(tmp_path / f"{name}.pt"))(folder)
        errors[name] = end_point_error(CofFamily().load(folder, settings), unseen)
    print(errors)
    assert errors["features"] < 0.8 * errors["none"]
    assert errors["rate"] > 0.95 * errors["none"]
    assert errors["shuffled"] > 0.95 * errors["none"]
