import json
from dataclasses import fields, replace
from typing import get_type_hints

import numpy as np
import pytest
import torch

from cof.config.baselines import (
    DenoiserSettings,
    DiffusionSettings,
    EchoDiffusionSettings,
    EchoPulseSettings,
    EfPredictorSettings,
    FlowAutoencoderSettings,
    FlowDiffusionSettings,
    LfdmSettings,
    MaskedTransformerSettings,
    RegressionSettings,
    SuperResolutionSettings,
    VideoCodecSettings,
)
from cof.config.controls import (
    AnchoredSettings,
    EnsembleSettings,
    MeanMotionSettings,
    OracleSettings,
    RandomSettings,
    RidgeSettings,
    ScaledMotionSettings,
    ShuffledSettings,
    StaticSettings,
    TrueEfSettings,
)
from cof.config.families import FAMILIES, settings_of
from cof.config.flow import CofSettings, ContractedSettings, VelocitySettings
from cof.errors import CofError, Reason, UsageError
from cof.models.alignment import HeartPose
from cof.models.base import Subject
from cof.models.controls.ensemble import MEMBERS
from cof.models.controls.motion import mean_motion
from cof.models.controls.shuffled import MODEL
from cof.models.flow.matching import heart_mask
from cof.models.registry import family_of
from cof.training.run import Run

TINY = VelocitySettings(channels=(4, 8), embedding=8, ecg_channels=(4, 8), time_harmonics=4)
SETTINGS = {
    "cof": CofSettings(field=TINY, iterations=2, batch=1, phases=1),
    "contracted": ContractedSettings(),
    "static": StaticSettings(),
    "random": RandomSettings(),
    "mean_motion": MeanMotionSettings(),
    "scaled_motion": ScaledMotionSettings(),
    "ridge": RidgeSettings(),
    "shuffled": ShuffledSettings(),
    "anchored": AnchoredSettings(),
    "true_ef": TrueEfSettings(),
    "ensemble": EnsembleSettings(members=("a", "b")),
    "oracle": OracleSettings(),
    "diffusion": DiffusionSettings(
        field=DenoiserSettings(**TINY.model_dump(exclude={"modes"})), iterations=2, batch=1, phases=1, steps=2
    ),
    "echodiffusion": EchoDiffusionSettings(
        video_frames=8,
        channels=(8, 8),
        iterations=2,
        batch=1,
        steps=2,
        guidance=1,
        fine=SuperResolutionSettings(channels=(8, 8), iterations=2, batch=1, steps=1),
        predictor=EfPredictorSettings(ecg_channels=(4, 8), embedding=8, iterations=2, batch=2),
    ),
    "echopulse": EchoPulseSettings(
        video_frames=8,
        codec=VideoCodecSettings(channels=(8, 8), blocks=1, codes=8, code_channels=4, iterations=2, batch=1),
        transformer=MaskedTransformerSettings(width=8, layers=1, heads=1, ecg_channels=(4, 8)),
        iterations=2,
        batch=1,
        steps=2,
    ),
    "lfdm": LfdmSettings(
        video_frames=8,
        autoencoder=FlowAutoencoderSettings(channels=(8, 8, 8), blocks=1, frames=2, iterations=2, batch=1),
        diffusion=FlowDiffusionSettings(channels=(16, 32), blocks=1, embedding=8, ecg_channels=(4, 8)),
        iterations=2,
        batch=1,
        steps=2,
    ),
    "regression": RegressionSettings(field=TINY, iterations=2, batch=1, phases=1),
}


RECORD = {
    "settings": {"family": "static"}, "frames": 12, "shape": [5, 32, 32], "spacing_mm": [10, 4, 4],
    "beat_samples": 128, "provenance": {},
}  # fmt: skip


def trained(name, train, folder, seed=0):
    folder.mkdir(exist_ok=True)
    family = family_of(name)
    run = Run(folder.with_suffix(".pt"))
    family.fit(train if SETTINGS[name].learns_on else [], [], SETTINGS[name], seed, run)(folder)
    applied = {
        "contracted": [MODEL],
        "shuffled": [MODEL],
        "anchored": [MODEL],
        "ensemble": [f"{MEMBERS}/a", f"{MEMBERS}/b"],
    }
    for place in applied.get(name, []):
        (folder / place).mkdir(parents=True)
        (folder / place / "settings.json").write_text(json.dumps(RECORD))
    if name == "true_ef":
        trained("echodiffusion", train, folder / MODEL, seed)
        record = RECORD | {"settings": SETTINGS["echodiffusion"].model_dump(mode="json")}
        (folder / MODEL / "settings.json").write_text(json.dumps(record))
    return family.load(folder, SETTINGS[name])


def as_subject(example):
    return Subject(**{field.name: getattr(example, field.name) for field in fields(Subject)})


@pytest.mark.parametrize("name", FAMILIES)
def test_implementation_and_settings_of_a_family_name_each_other(name):
    assert get_type_hints(family_of(name).fit)["settings"] is settings_of(name)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_keeps_the_protocol(name, toy_hearts, tmp_path):
    hearts = toy_hearts(3)
    model = trained(name, hearts[:2], tmp_path / name)
    unseen = hearts[2] if SETTINGS[name].sees else as_subject(hearts[2])
    made = model.generate(unseen, 9, seed=4)
    again = model.generate(unseen, 9, seed=4)
    assert (made.displacement is None) != (made.cine is None)
    if made.displacement is not None:
        assert made.displacement.shape == (9, 3, 5, 16, 16)
        assert torch.count_nonzero(made.displacement[0]) == 0
        assert torch.equal(made.displacement, again.displacement)
    else:
        assert made.cine.shape == (9, 5, 32, 32)
        assert torch.equal(made.cine, again.cine)


def test_static_does_not_move(toy_hearts, tmp_path):
    made = trained("static", [], tmp_path / "static").generate(toy_hearts(1)[0], 7, 0)
    assert made.displacement.shape[0] == 7
    assert torch.count_nonzero(made.displacement) == 0


def test_oracle_returns_the_registered_motion(toy_hearts, tmp_path):
    heart = toy_hearts(1)[0]
    model = trained("oracle", [], tmp_path / "oracle")
    assert np.array_equal(model.generate(heart, 12, 0).displacement.numpy(), heart.displacement.astype(np.float32))
    twice = model.generate(heart, 24, 0).displacement
    np.testing.assert_allclose(twice[::2].numpy(), heart.displacement, atol=1e-4)
    with pytest.raises(TypeError):
        model.generate(as_subject(heart), 12, 0)


def test_random_is_another_participants_heart_and_depends_on_seed_and_name_alone(toy_hearts, tmp_path):
    hearts = toy_hearts(6)
    model = trained("random", hearts, tmp_path / "random")
    donors = {}
    for heart in hearts:
        made = model.generate(heart, 12, seed=1)
        donor = donors[heart.subject] = made.measures["donor"]
        source = next(other for other in hearts if other.subject == donor)
        assert donor != heart.subject
        np.testing.assert_allclose(made.cine.numpy(), source.cine, atol=1e-3)
        other_visit = replace(heart, subject=heart.subject.replace("-v2", "-v3"))
        assert model.generate(other_visit, 12, seed=1).measures["donor"] != heart.subject
    assert len(set(donors.values())) > 1
    assert any(model.generate(heart, 12, seed=2).measures["donor"] != donors[heart.subject] for heart in hearts)
    reversed_model = trained("random", hearts[::-1], tmp_path / "reversed")
    assert all(reversed_model.generate(h, 12, seed=1).measures["donor"] == donors[h.subject] for h in hearts)


def test_random_keeps_no_more_donors_than_asked(toy_hearts, tmp_path):
    family, settings = family_of("random"), RandomSettings(donors=2)
    family.fit(toy_hearts(5), [], settings, 0, Run(tmp_path / "c.pt"))(tmp_path)
    assert len(family.load(tmp_path, settings).donors) == 2


def test_mean_motion_of_identical_hearts_is_their_common_motion(toy_hearts, tmp_path):
    hearts = toy_hearts(3, end_systole=0.4, amplitude=5.0, moved_mm=0.0)
    made = trained("mean_motion", hearts, tmp_path / "mean").generate(hearts[0], 12, 0)
    np.testing.assert_allclose(made.displacement.numpy(), hearts[0].displacement, atol=2e-3)


def test_mean_motion_follows_a_heart_that_lies_elsewhere(toy_hearts, tmp_path):
    """Hearts at different places move in the same way about their own centres."""
    train = toy_hearts(6, end_systole=0.4, amplitude=5.0, moved_mm=8.0)
    heart = toy_hearts(1, seed=9, end_systole=0.4, amplitude=5.0, moved_mm=8.0)[0]
    made = trained("mean_motion", train, tmp_path / "mean").generate(heart, 12, 0).displacement.numpy()
    inside = heart_mask(heart.anchor_labels).bool().numpy()
    error = np.linalg.norm(made - heart.displacement, axis=1)[:, inside].mean()
    unaligned = np.mean([other.displacement for other in train], axis=0)
    unaligned_error = np.linalg.norm(unaligned - heart.displacement, axis=1)[:, inside].mean()
    assert error < 0.5 * unaligned_error


def test_mean_motion_leaves_out_slices_that_do_not_exist(toy_hearts):
    first, second = toy_hearts(2, end_systole=0.4, amplitude=5.0, moved_mm=0.0)
    wrong = second.displacement.copy()
    wrong[1:, :, 0] = 25.0
    placement = replace(second.placement, valid=(False, True, True, True, True))
    mean, _ = mean_motion([first, replace(second, displacement=wrong, placement=placement)])
    np.testing.assert_allclose(mean.numpy(), first.displacement, atol=2e-3)


def test_pose_is_centre_and_size_of_the_left_ventricle():
    labels = np.zeros((5, 20, 20), np.uint8)
    labels[1:4, 6:10, 8:12] = 1
    labels[:, 0, 0] = 3
    pose = HeartPose.of(labels, (10.0, 2.0, 2.0))
    assert pose.centre_mm == pytest.approx((0.0, -4.0, 0.0))
    assert pose.size_mm == pytest.approx((10 * np.sqrt(2 / 3), 2 * np.sqrt(1.25), 2 * np.sqrt(1.25)))
    with pytest.raises(CofError) as error:
        HeartPose.of(np.zeros((5, 20, 20), np.uint8), (10.0, 2.0, 2.0))
    assert error.value.reason is Reason.HEART_NOT_FOUND


def test_cof_hears_the_ecg_and_the_anchor_only_model_does_not(toy_hearts, tmp_path):
    train, heart = toy_hearts(2), toy_hearts(1, seed=3)[0]
    other = replace(heart, beat=train[0].beat, rr_ms=700.0)
    for ecg, hears in (("temporal", True), ("none", False)):
        settings = CofSettings(field=TINY.model_copy(update={"ecg": ecg}), iterations=3, batch=2, phases=2)
        folder = tmp_path / ecg
        folder.mkdir()
        family_of("cof").fit(train, [], settings, 0, Run(tmp_path / f"{ecg}.pt"))(folder)
        model = family_of("cof").load(folder, settings)
        same = torch.equal(model.generate(heart, 6, 0).displacement, model.generate(other, 6, 0).displacement)
        assert same is not hears
        assert model.generate(heart, 6, 0).measures["closure_mm"] >= 0


def test_weights_of_other_settings_are_refused_in_words(toy_hearts, tmp_path):
    trained("cof", toy_hearts(2), tmp_path / "cof")
    with pytest.raises(UsageError, match="other settings"):
        family_of("cof").load(tmp_path / "cof", CofSettings())


def test_unknown_family_is_named():
    with pytest.raises(UsageError, match="no model family is called 'cov'"):
        family_of("cov")
