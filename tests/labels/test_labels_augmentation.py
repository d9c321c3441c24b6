"""The wide augmentation: nothing labelled is lost, every orientation is met, and the same seed gives the same patch."""

import json

import numpy as np
import pytest
import torch
from ring_phantom import image_of, ring_heart

from cof.config.data import LabelSettings
from cof.labels import training
from cof.labels.augmentation import CoilBiasTransform, FieldOfViewTransform, wide


def seed(value: int) -> None:
    np.random.seed(value)  # noqa: NPY002 - the generator that the transforms use
    torch.manual_seed(value)


@pytest.fixture(scope="module")
def slice_and_labels() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    labels = ring_heart(rng, (5, 96, 96), (10.0, 1.8, 1.8), 0.0)
    image = image_of(labels, rng).astype(np.float32)
    image = (image - image.mean()) / image.std()
    return torch.from_numpy(image[1:2]), torch.from_numpy(labels[1:2].astype(np.int16))


def augmented(pair: tuple[torch.Tensor, torch.Tensor], value: int) -> tuple[torch.Tensor, torch.Tensor]:
    seed(value)
    chain = wide((64, 64), (-np.pi, np.pi), (0, 1), None)
    out = chain(image=pair[0].clone(), segmentation=pair[1].clone())
    return out["image"], out["segmentation"]


def test_the_same_seed_gives_the_same_patch(slice_and_labels: tuple[torch.Tensor, torch.Tensor]) -> None:
    first, again, other = (augmented(slice_and_labels, value) for value in (1, 1, 2))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_patches_are_finite_and_labelled(slice_and_labels: tuple[torch.Tensor, torch.Tensor]) -> None:
    for value in range(40):
        image, labels = augmented(slice_and_labels, value)
        assert image.shape == labels.shape == (1, 64, 64)
        assert torch.isfinite(image).all()
        assert set(labels.unique().tolist()) <= {0, 1, 2, 3}
        assert (labels == 1).any()


def test_the_right_ventricle_comes_to_lie_on_every_side(slice_and_labels: tuple[torch.Tensor, torch.Tensor]) -> None:
    sides = set()
    for value in range(60):
        labels = augmented(slice_and_labels, value)[1][0]
        if (labels == 3).any():
            way = (labels == 3).nonzero().float().mean(0) - (labels == 1).nonzero().float().mean(0)
            sides.add(int(torch.atan2(way[0], way[1]) // (np.pi / 2)))
    assert sides >= {-2, -1, 0, 1}


def test_a_coil_bias_is_smooth_and_leaves_no_signal_dark() -> None:
    seed(0)
    image = torch.ones(1, 64, 64)
    image[:, :8] = 0
    out = CoilBiasTransform(0.5)(image=image.clone())["image"]
    assert (out[:, :8] == 0).all()
    bright = out[0, 8:]
    assert bright.max() / bright.min() > 1.3
    assert (bright.diff(dim=1).abs() / bright[:, 1:]).max() < 0.1


def test_a_smaller_field_of_view_blanks_nothing_labelled(slice_and_labels: tuple[torch.Tensor, torch.Tensor]) -> None:
    image, labels = slice_and_labels
    blanked = []
    for value in range(30):
        seed(value)
        out = FieldOfViewTransform()(image=image.clone(), segmentation=labels.clone())
        changed = out["image"] != image
        assert torch.equal(out["segmentation"], labels)
        assert not changed[labels > 0].any()
        assert (out["image"][changed] == image.min()).all()
        blanked.append(changed.float().mean().item())
    assert min(blanked) < 0.2 < max(blanked) < 0.9


@pytest.mark.parametrize(("patch_mm", "expected"), [(None, [144, 160]), (90.0, [64, 64]), (1000.0, [144, 160])])
def test_training_patches_are_at_most_a_slice(patch_mm: float | None, expected: list[int]) -> None:
    architecture = {"arch_kwargs": {"strides": [[1, 1], [2, 2], [2, 2], [2, 2], [2, 2]]}}
    configuration = {"spacing": [1.8, 1.8], "patch_size": [144, 160], "architecture": architecture}
    plans = {"configurations": {"2d": configuration}}
    before = json.dumps(plans)
    planned = training._with_patch(plans, LabelSettings(patch_mm=patch_mm))
    assert planned["configurations"]["2d"]["patch_size"] == expected
    assert json.dumps(plans) == before
