"""A network that sees every slice between its two neighbours."""

from pathlib import Path

import numpy as np
import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from ring_phantom import Cohort

from cof.cine.volume import read_cine
from cof.labels.augmentation import NeighbourTransform
from cof.labels.neighbours import channel_names, channels
from cof.labels.predict import Labeller
from cof.labels.teacher import Stack, Teacher, intensity_statistics

SPACING = (10.0, 2.1, 2.1)  # as planned: nothing is resampled


@pytest.fixture(scope="module")
def volume(cohort: Cohort) -> np.ndarray:
    return np.array(read_cine(cohort.cine / "sub-0005-v2.nii").frames)[0]


@pytest.mark.parametrize("kind", [np.array, torch.tensor])
def test_every_slice_lies_between_its_neighbours_and_an_end_stands_in_for_its_missing_one(kind) -> None:
    stack = kind([[0, 0], [1, 1], [2, 2], [3, 3]])
    own, before, after = channels(stack, 3)
    assert own is stack
    assert before.tolist() == [[0, 0], [0, 0], [1, 1], [2, 2]]
    assert after.tolist() == [[1, 1], [2, 2], [3, 3], [3, 3]]
    assert [len(one) for one in channels(stack[:1], 3)] == [1, 1, 1]
    (alone,) = channels(stack, 1)
    assert alone is stack
    assert len(channel_names(True)) == 3
    assert len(channel_names(False)) == 1


def test_labels_equal_the_official_prediction_from_three_channels(between: Path, volume: np.ndarray) -> None:
    official = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    official.initialize_from_trained_model_folder(str(between), (0,), "checkpoint_final.pth")
    last = len(volume) - 1
    seen = np.stack([volume, volume[[0, *range(last)]], volume[[*range(1, last + 1), last]]]).astype(np.float32)
    expected = official.predict_single_npy_array(seen, {"spacing": list(SPACING)})
    found = Labeller.load(between, mirroring=False).segment(volume, SPACING)
    assert len(np.unique(expected)) > 1
    np.testing.assert_array_equal(found, expected)


def test_a_slice_is_judged_by_its_neighbours_too(between: Path, volume: np.ndarray) -> None:
    labeller = Labeller.load(between, mirroring=False)
    changed = volume.copy()
    changed[2] = changed[2, ::-1]  # the same intensities, so that their statistics stay
    differs = [(a != b).any() for a, b in zip(labeller.segment(volume, SPACING), labeller.segment(changed, SPACING))]
    assert differs == [False, True, True, True, False]


def test_the_teacher_sees_nearly_what_the_labeller_sees(between: Path, volume: np.ndarray) -> None:
    """It normalises neighbours by the whole stack, nnU-Net by the shifted one; random weights decide narrowly."""
    (found,) = Teacher.load(between).see(
        [Stack(torch.from_numpy(volume.astype(np.float32)), SPACING, *intensity_statistics(volume))]
    )
    labels = Labeller.load(between, mirroring=False).segment(volume, SPACING)
    assert (found.argmax(0).numpy() == labels).mean() > 0.93


def test_gradients_of_a_slice_reach_its_neighbours(between: Path, volume: np.ndarray) -> None:
    image = torch.from_numpy(volume.astype(np.float32)).requires_grad_()
    (found,) = Teacher.load(between).see([Stack(image, SPACING, 100.0, 50.0)])
    found[1, 0].mean().backward()
    assert image.grad is not None
    assert [bool(one.abs().max() > 0) for one in image.grad] == [True, True, False, False, False]


def test_moved_neighbours_leave_the_slice_alone() -> None:
    torch.manual_seed(0)
    image = torch.rand(3, 20, 24)
    missing = shifted = 0
    for _ in range(200):
        seen = NeighbourTransform(shift_pixels=2, missing=0.3)(image=image.clone())["image"]
        assert torch.equal(seen[0], image[0])
        for one, own in zip(seen[1:], image[1:]):
            if torch.equal(one, image[0]):
                missing += 1
                continue
            shifts = [(y, x) for y in range(-2, 3) for x in range(-2, 3)]
            assert any(torch.equal(one, torch.roll(own, shift, (0, 1))) for shift in shifts)
            shifted += not torch.equal(one, own)
    assert 80 < missing < 160
    assert shifted > 200
    alone = torch.rand(1, 8, 8)
    assert torch.equal(NeighbourTransform(2, 1.0)(image=alone.clone())["image"], alone)
