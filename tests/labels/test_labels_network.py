"""Our fast path through nnU-Net against its official one, the teacher's gradients, and tampered folders.

The weights are random here, so that every voxel's decision is close and a wrong step shows.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.preprocessing.cropping.cropping import crop_to_nonzero
from ring_phantom import Cohort

from cof.cine.volume import read_cine
from cof.errors import UsageError
from cof.labels import artefact
from cof.labels.components import largest_components
from cof.labels.predict import Labeller
from cof.labels.teacher import Stack, Teacher, intensity_statistics

SPACINGS = [(10.0, 2.1, 2.1), (10.0, 1.6, 1.6), (10.0, 2.8, 2.8)]  # as planned; finer; coarser


@pytest.fixture(scope="module")
def frames(cohort: Cohort) -> np.ndarray:
    return np.array(read_cine(cohort.cine / "sub-0005-v2.nii").frames)


def official_predictor(folder: Path, mirroring: bool) -> nnUNetPredictor:
    """nnU-Net's own predictor of the folder, loaded by its own function."""
    predictor = nnUNetPredictor(use_mirroring=mirroring, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(folder), (0,), "checkpoint_final.pth")
    return predictor


@pytest.mark.parametrize("spacing", SPACINGS)
def test_labels_equal_the_official_prediction(
    untrained: Path, frames: np.ndarray, spacing: tuple[float, float, float]
) -> None:
    official = official_predictor(untrained, mirroring=False)
    expected = official.predict_single_npy_array(frames[0][None].astype(np.float32), {"spacing": list(spacing)})
    found = Labeller.load(untrained, mirroring=False).segment(frames[0], spacing)
    assert len(np.unique(expected)) > 1
    np.testing.assert_array_equal(found, expected)


def test_mirroring_equals_the_official_one_and_changes_labels(untrained: Path, frames: np.ndarray) -> None:
    official = official_predictor(untrained, mirroring=True)
    expected = official.predict_single_npy_array(frames[0][None].astype(np.float32), {"spacing": list(SPACINGS[1])})
    found = Labeller.load(untrained, mirroring=True).segment(frames[0], SPACINGS[1])
    np.testing.assert_array_equal(found, expected)
    assert (found != Labeller.load(untrained, mirroring=False).segment(frames[0], SPACINGS[1])).any()


def test_a_cine_is_labelled_frame_by_frame_whatever_the_threads(untrained: Path, frames: np.ndarray) -> None:
    labeller = Labeller.load(untrained, mirroring=False)
    expected = np.stack([largest_components(labeller.segment(frame, SPACINGS[0])) for frame in frames])
    threads = torch.get_num_threads()
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            labels = labeller.label(frames, SPACINGS[0])
            assert labels.dtype == np.uint8
            np.testing.assert_array_equal(labels, expected)
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)


@given(seed=st.integers(0, 99), density=st.sampled_from([0.001, 0.02, 0.9]))
def test_intensities_are_measured_over_the_box_that_nnunet_crops_to(seed: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    volume = (rng.integers(1, 3000, (5, 40, 30)) * (rng.random((5, 40, 30)) < density)).astype(np.int16)
    volume[2, 20, 11] = 7
    cropped, _, _ = crop_to_nonzero(volume[None].astype(np.float32))
    assert intensity_statistics(volume) == (float(cropped.mean()), float(cropped.std()))


def test_the_teacher_gives_the_official_probabilities_where_nothing_is_resampled(
    untrained: Path, frames: np.ndarray
) -> None:
    official = official_predictor(untrained, mirroring=False)
    _, expected = official.predict_single_npy_array(
        frames[0][None].astype(np.float32), {"spacing": list(SPACINGS[0])}, save_or_return_probabilities=True
    )
    volume = torch.from_numpy(frames[0].astype(np.float32))
    (found,) = Teacher.load(untrained).see([Stack(volume, SPACINGS[0], *intensity_statistics(frames[0]))])
    assert found.shape == (4, 5, 64, 64)
    # nnU-Net accumulates Gaussian-weighted logits in half precision, where the weights of the corners nearly vanish.
    inside = (..., slice(8, -8), slice(8, -8))
    np.testing.assert_allclose(found.numpy()[inside], expected[inside], atol=3e-3)
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-2)


def test_the_teacher_sees_stacks_of_several_sizes_and_spacings_at_once(untrained: Path, frames: np.ndarray) -> None:
    teacher = Teacher.load(untrained)
    volumes = torch.from_numpy(frames[:3].astype(np.float32))
    stacks = [
        Stack(volumes[0], SPACINGS[0], *intensity_statistics(frames[0])),
        Stack(volumes[1][[3, 1], :50], SPACINGS[1], *intensity_statistics(frames[1])),
        Stack(volumes[2][:, :, :44], SPACINGS[0], *intensity_statistics(frames[2])),
    ]
    together = teacher.see(stacks)
    for stack, found in zip(stacks, together):
        assert found.shape == (4, *stack.volume.shape)
        torch.testing.assert_close(found.sum(0), torch.ones(stack.volume.shape))
        torch.testing.assert_close(found, teacher.see([stack])[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_gradients_reach_the_image_and_leave_the_weights_alone(
    untrained: Path, frames: np.ndarray, spacing: tuple[float, float, float]
) -> None:
    teacher = Teacher.load(untrained)
    before = {name: tensor.clone() for name, tensor in teacher._network.state_dict().items()}
    volume = torch.from_numpy(frames[0].astype(np.float32)).requires_grad_()
    (probabilities,) = teacher.see([Stack(volume[[0, 2]], spacing, 100.0, 50.0)])
    probabilities[1].mean().backward()
    assert volume.grad is not None
    assert torch.isfinite(volume.grad).all()
    assert volume.grad[[0, 2]].abs().max() > 0
    assert volume.grad[[1, 3, 4]].abs().max() == 0
    assert all(parameter.grad is None for parameter in teacher._network.parameters())
    for name, tensor in teacher._network.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_the_gradient_is_the_derivative(untrained: Path, frames: np.ndarray) -> None:
    teacher = Teacher.load(untrained)
    teacher._network.double()
    volume = torch.from_numpy(frames[0].astype(np.float64))
    direction = torch.from_numpy(np.random.default_rng(0).standard_normal(volume.shape))

    def score(image: torch.Tensor) -> torch.Tensor:
        return teacher.see([Stack(image, SPACINGS[1], *intensity_statistics(frames[0]))])[0][2].mean()

    wanted = volume.clone().requires_grad_()
    score(wanted).backward()
    assert wanted.grad is not None
    step = 1e-6
    difference = (score(volume + step * direction) - score(volume - step * direction)) / (2 * step)
    assert float((wanted.grad * direction).sum()) == pytest.approx(float(difference), rel=1e-3)


def test_statistics_are_those_of_the_nonzero_box() -> None:
    volume = np.zeros((3, 8, 8), np.int16)
    volume[:, 2:6, 2:6] = np.arange(48).reshape(3, 4, 4) + 1
    assert intensity_statistics(volume) == pytest.approx((24.5, np.arange(48).std()), rel=1e-5)


@pytest.mark.parametrize("name", ["plans.json", "dataset.json", "fold_0/checkpoint_final.pth"])
def test_a_changed_file_is_refused_before_it_is_used(untrained: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "labeller"
    shutil.copytree(untrained, folder)
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    for load in (artefact.load, Teacher.load, lambda path: Labeller.load(path, mirroring=False)):
        with pytest.raises(UsageError, match="SHA-256"):
            load(folder)


def test_a_checkpoint_that_runs_code_is_refused_even_with_a_matching_hash(untrained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "labeller"
    shutil.copytree(untrained, folder)
    mark = tmp_path / "mark"

    class Payload:
        def __reduce__(self) -> tuple:
            return Path.touch, (mark,)

    torch.save({"network_weights": Payload()}, folder / "fold_0/checkpoint_final.pth")
    artefact.describe(folder, {})
    with pytest.raises(UsageError, match="more than tensors"):
        artefact.load(folder)
    assert not mark.exists()


def test_a_folder_without_its_parts_is_no_labeller(untrained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "labeller"
    shutil.copytree(untrained, folder)
    (folder / "labeller.json").unlink()
    with pytest.raises(UsageError, match=r"labeller\.json is missing"):
        artefact.load(folder)


def test_the_record_of_a_labeller_names_every_model_file(untrained: Path) -> None:
    record = json.loads((untrained / "labeller.json").read_text())
    assert set(record["sha256"]) == {"plans.json", "dataset.json", "fold_0/checkpoint_final.pth"}
    assert all(len(value) == 64 for value in record["sha256"].values())


def test_the_checkpoint_holds_every_tensor_once(untrained: Path) -> None:
    network = artefact.load(untrained).network
    names = sum(tensor.numel() for tensor in network.state_dict().values())
    held = sum(parameter.numel() for parameter in network.parameters())
    assert names > 2 * held  # nnU-Net's own names overlap
    assert (untrained / artefact.CHECKPOINT).stat().st_size < 4 * held * 1.2
