"""Doubt about labels, by labellers of known behaviour: one that sees the heart, and one that guesses in dark slices."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from ring_phantom import ring_heart

from cof.labels.doubt import Doubt, agreement, closed_ring, judge
from cof.labels.teacher import intensity_statistics

SPACING = (10.0, 1.5, 1.5)
# Signal by label, in the order in which they touch, so that no edge looks like a third one.
SIGNAL = np.array([200, 0, 100, 300], np.int16)
DARK = -1


class Labels(torch.nn.Module):
    """Labels by signal, and in slices with a dark corner by where a pixel lies in what it is shown."""

    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self.levels = torch.from_numpy((SIGNAL - mean) / std).float()
        self.dark = (DARK * 1000 - mean) / std

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits = -50 * (image - self.levels[:, None, None]).abs()
        rows = torch.linspace(0, 1, image.shape[2])[:, None].expand(image.shape[2:])
        guess = torch.stack([rows > 0.5, rows < 0.2, (rows >= 0.2) & (rows < 0.3), (rows >= 0.3) & (rows <= 0.5)])
        for index in range(len(image)):
            if image[index].min() < self.dark / 2:
                logits[index] = 50.0 * guess.float()
        return logits


def labeller(volume: np.ndarray, mirrored: bool = False) -> Any:
    plan = SimpleNamespace(spacing=[1.8, 1.8], patch_size=[96, 80])
    network = Labels(*intensity_statistics(volume))
    axes = (0, 1) if mirrored else None
    return SimpleNamespace(
        configuration=plan, network=network, channels=1, mirroring_axes=axes, device=torch.device("cpu")
    )


@pytest.fixture(scope="module")
def heart() -> np.ndarray:
    """Labels [T, Z, Y, X] of a heart at ED, at ES, and between them."""
    return np.stack([ring_heart(np.random.default_rng(4), (6, 96, 110), SPACING, phase) for phase in (0.0, 0.45, 0.2)])


def scan_of(labels: np.ndarray, dark: tuple[int, ...] = ()) -> np.ndarray:
    image = SIGNAL[labels]
    middle = [length // 2 for length in labels.shape[-2:]]
    for index in dark:
        image[..., index, middle[0] - 8 : middle[0] + 8, middle[1] - 8 : middle[1] + 8] = DARK * 1000
    return image


@pytest.mark.parametrize("mirrored", [False, True])
def test_who_sees_the_heart_agrees_with_himself(heart: np.ndarray, mirrored: bool) -> None:
    image = scan_of(heart[0])
    found = agreement(labeller(image, mirrored), image, heart[0], SPACING)
    assert found.stack > 0.85
    assert found.slices.shape == (6,)
    assert np.nanmin(found.slices) > 0.85


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_slice_in_which_labels_are_guessed_is_told(heart: np.ndarray, mirrored: bool) -> None:
    image = scan_of(heart[0], dark=(2,))
    found = agreement(labeller(image, mirrored), image, heart[0], SPACING)
    assert found.slices[2] < 0.5 < np.delete(found.slices, 2).min()


def test_labels_of_another_heart_find_no_agreement(heart: np.ndarray) -> None:
    image = scan_of(heart[0])
    elsewhere = np.roll(heart[0], 25, axis=2)
    right, wrong = (agreement(labeller(image), image, labels, SPACING).stack for labels in (heart[0], elsewhere))
    assert wrong < right - 0.4


def test_nothing_labelled_is_no_agreement(heart: np.ndarray) -> None:
    image = scan_of(heart[0])
    found = agreement(labeller(image), image, np.zeros_like(heart[0]), SPACING)
    assert found.stack == 0
    assert np.isnan(found.slices).all()


def test_how_far_a_ring_is_closed(heart: np.ndarray) -> None:
    labels = heart[0].copy()
    assert closed_ring(labels) == 1
    half = labels.copy()
    centre = np.argwhere(labels == 1).mean(0).round().astype(int)
    half[:, : centre[1]][half[:, : centre[1]] == 2] = 0
    assert 0.35 < closed_ring(half) < 0.65
    assert closed_ring(np.where(labels == 1, 0, labels)) == 0


def test_a_cycle_is_judged_at_both_ends_and_a_lone_anchor_at_one(heart: np.ndarray) -> None:
    frames = scan_of(heart)
    found = judge(labeller(frames[0]), frames, heart, SPACING)
    assert set(found.trust) == {"ED", "ES"}
    assert found.least > 0.85
    assert not found.doubtful
    assert found.slices == ()
    assert set(judge(labeller(frames[0]), frames[:1], heart[:1], SPACING).trust) == {"ED"}


def test_a_heart_whose_labels_are_guessed_is_doubtful(heart: np.ndarray) -> None:
    frame = scan_of(heart[0], dark=(0, 1, 2, 3, 4))
    found = judge(labeller(frame), frame[None], heart[:1], SPACING)
    assert found.doubtful
    assert str(found) == "labels doubtful, slices 1, 2, 3, 4 and 5"
    assert found.record()["doubtful_slices"] == [1, 2, 3, 4, 5]
    assert found.warning()["value"] == round(found.trust["ED"], 3)


@pytest.mark.parametrize(
    ("slices", "said"),
    [
        ((), "labels doubtful"),
        ((3,), "labels doubtful, slice 3"),
        ((1, 9), "labels doubtful, slices 1 and 9"),
        ((1, 2, 9), "labels doubtful, slices 1, 2 and 9"),
    ],
)
def test_doubt_in_words(slices: tuple[int, ...], said: str) -> None:
    assert str(Doubt({"ED": 0.4}, slices)) == said
