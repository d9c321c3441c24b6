"""The linear baseline: what is linear in its regressors is found, and nothing else is claimed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from cof.config.controls import RidgeSettings
from cof.models.alignment import HeartPose
from cof.models.controls import ridge
from cof.models.controls.ridge import PENALTIES, Anatomy, RidgeFamily, choose_penalty, fit_ridge, regressors
from cof.models.controls.standard import Standard
from cof.training.run import Run


@pytest.fixture
def alike(toy_hearts):
    """Make hearts of the same anatomy whose motion is linear in RR interval and sex, by two planted patterns."""

    def make(count, seed=0):
        rng = np.random.default_rng(seed)
        (heart,) = toy_hearts(1)
        patterns = np.random.default_rng(7).normal(size=(3, *heart.displacement.shape))
        patterns[:, 0] = 0
        return [
            planted(heart, f"p{k}-v2", patterns, rng.uniform(700, 1100), rng.choice(["M", "F"])) for k in range(count)
        ]

    return make


def planted(heart, name, patterns, rr_ms, sex):
    motion = patterns[0] + (rr_ms - 900) / 100 * patterns[1] + (sex == "M") * patterns[2]
    return replace(heart, subject=name, rr_ms=rr_ms, sex=sex, displacement=motion.astype(np.float32))


def fitted(train, folder, seed=0, **settings):
    folder.mkdir(exist_ok=True)
    chosen = RidgeSettings(**settings)
    RidgeFamily().fit(train, [], chosen, seed, Run(folder / "run.pt"))(folder)
    return RidgeFamily().load(folder, chosen)


def anatomy_of(hearts, components=3):
    pose = HeartPose.mean([HeartPose.of(heart.anchor_labels, heart.placement.spacing_mm) for heart in hearts])
    return Anatomy.of(hearts, pose, components)


def test_a_planted_linear_relation_is_found(alike, tmp_path):
    *train, unseen = alike(41)
    made = fitted(train, tmp_path / "model").generate(unseen, 12, 0).displacement
    mean = np.mean([heart.displacement for heart in train], 0)
    error, spread = (np.abs(one - unseen.displacement).mean() for one in (made.numpy(), mean))
    assert error < 0.05 * spread  # the least penalty still shrinks a little


def test_the_fit_is_that_of_an_independent_ridge_regression(toy_hearts):
    train = [
        replace(heart, rr_ms=800.0 + 10 * k, sex="MF"[k % 2]) for k, heart in enumerate(toy_hearts(9, moved_mm=0.0))
    ]
    anatomy = anatomy_of(train)
    standard, mean, slopes = fit_ridge(train, anatomy)
    values = standard.apply(np.stack([regressors(heart, anatomy) for heart in train]))
    motion = np.stack([heart.displacement for heart in train]).astype(float)  # all have the same pose
    count, flat = len(train), motion.reshape(len(train), -1)
    scores = []
    for penalty in PENALTIES:
        hat = values @ np.linalg.inv(values.T @ values + penalty * np.eye(values.shape[1])) @ values.T + 1 / count
        left_over = flat - hat @ flat
        scores.append((left_over**2).sum() / (count - np.trace(hat)) ** 2)
    best = PENALTIES[np.argmin(scores)]
    assert PENALTIES[0] < best < PENALTIES[-1]
    other = Ridge(best).fit(values, flat)
    np.testing.assert_allclose(mean.numpy().ravel(), other.intercept_, atol=1e-4)
    np.testing.assert_allclose(slopes.flatten(1).numpy(), other.coef_.T, atol=1e-4)


def test_the_penalty_grows_with_the_noise():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(60, 5))
    values -= values.mean(0)
    left, singular, _ = np.linalg.svd(values, full_matrices=False)
    chosen = []
    for noise in (0.01, 1.0, 100.0):
        outputs = values @ rng.normal(size=(5, 200)) + noise * rng.normal(size=(60, 200))
        outputs -= outputs.mean(0)
        explained = ((left.T @ outputs) ** 2).sum(1)
        chosen.append(choose_penalty(singular, explained, (outputs**2).sum(), len(values)))
    assert chosen[0] == PENALTIES[0]
    assert chosen[0] < chosen[1] < chosen[2]


def test_hearts_that_are_all_the_same_give_their_motion(alike, tmp_path):
    heart = alike(1)[0]
    for count in (1, 5):
        train = [replace(heart, subject=f"p{k}-v2") for k in range(count)]
        model = fitted(train, tmp_path / str(count))
        assert torch.count_nonzero(model.slopes) == 0
        other = replace(heart, rr_ms=heart.rr_ms + 300, sex="F" if heart.sex == "M" else "M")
        np.testing.assert_allclose(model.generate(other, 12, 0).displacement, heart.displacement, atol=1e-4)


def test_a_sex_that_is_not_stated_is_between_both(alike, tmp_path):
    train = alike(40)
    model = fitted(train, tmp_path / "model")
    men, women, unknown = (
        model.generate(replace(train[0], sex=sex), 12, 0).displacement.numpy() for sex in ("M", "F", "")
    )
    share = np.mean([heart.sex == "M" for heart in train])
    np.testing.assert_allclose(unknown, share * men + (1 - share) * women, atol=2e-2)
    assert np.abs(men - women).mean() > 0.5


def test_the_motion_moves_with_the_heart(toy_hearts, tmp_path):
    train = [replace(heart, rr_ms=800.0 + 20 * k) for k, heart in enumerate(toy_hearts(8))]
    model = fitted(train, tmp_path / "model")
    (heart,) = toy_hearts(1, seed=3, moved_mm=0.0)
    shifted = replace(heart, anchor_labels=np.roll(heart.anchor_labels, 4, axis=1))  # two voxels of the motion grid
    here, there = (model.generate(one, 12, 0).displacement for one in (heart, shifted))
    np.testing.assert_allclose(here[..., 4:12, 4:12], there[..., 6:14, 4:12], atol=0.02)
    assert here.abs().max() > 1


def test_other_frames_are_those_of_the_same_course(toy_hearts, tmp_path):
    model = fitted(toy_hearts(6), tmp_path / "model")
    (unseen,) = toy_hearts(1, seed=5)
    few, many = (model.generate(unseen, frames, 0).displacement for frames in (12, 24))
    np.testing.assert_allclose(few, many[::2], atol=1e-4)


def test_the_seed_chooses_the_hearts_of_the_components_and_nothing_else(toy_hearts, tmp_path, monkeypatch):
    train = toy_hearts(6)
    stored = {}
    for most in (3, 500):
        monkeypatch.setattr(ridge, "MOST_HEARTS", most)
        for name, seed in (("one", 0), ("again", 0), ("other", 1)):
            fitted(train, tmp_path / f"{most}-{name}", seed)
            stored[most, name] = (tmp_path / f"{most}-{name}/weights.safetensors").read_bytes()
    assert stored[3, "one"] == stored[3, "again"] != stored[3, "other"]
    assert stored[500, "one"] == stored[500, "again"] == stored[500, "other"]


def test_components_are_those_of_the_anatomy_and_fewer_than_the_hearts(toy_hearts):
    hearts = toy_hearts(5)
    anatomy = anatomy_of(hearts, components=10)
    assert len(anatomy.directions) == 4
    np.testing.assert_allclose(anatomy.directions @ anatomy.directions.T, np.eye(4), atol=1e-4)
    told = anatomy.describe(hearts[0])
    voxel_ml = 10 * 4 * 4 / 1000
    assert told[:3] == pytest.approx([voxel_ml * (hearts[0].anchor_labels == code).sum() for code in (1, 2, 3)])
    assert len(told) == 3 + 2 + 4


def test_components_are_those_of_the_singular_value_decomposition(toy_hearts):
    hearts = toy_hearts(6)
    anatomy = anatomy_of(hearts, components=3)
    masks = np.stack([ridge._aligned_masks(heart, anatomy.pose) for heart in hearts]).astype(float)
    _, _, expected = np.linalg.svd(masks - masks.mean(0), full_matrices=False)
    np.testing.assert_allclose(np.abs(np.sum(anatomy.directions * expected[:3], axis=1)), 1, atol=1e-4)
    alike = anatomy_of([hearts[0]] * 4)
    assert not alike.directions.any()  # hearts that are all the same have no component
    assert np.isfinite(alike.describe(hearts[1])).all()


def test_what_is_missing_or_does_not_vary_has_no_effect():
    rows = np.array([[1.0, np.nan, 0.1], [3.0, np.nan, 0.1], [np.nan, np.nan, 0.1]])
    standard = Standard.of(rows)
    np.testing.assert_allclose(standard.apply(rows), [[-1, 0, 0], [1, 0, 0], [0, 0, 0]])
    np.testing.assert_allclose(standard.apply(np.array([4.0, 7.0, 9.0])), [2, 0, 0])
