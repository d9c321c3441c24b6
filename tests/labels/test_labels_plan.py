"""What we change in nnU-Net's plan: slices fit their patch whole, and the network has our width and depth."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ring_phantom import Cohort

from cof.artefacts.exclusions import Exclusions
from cof.config.data import LabelSettings
from cof.errors import UsageError
from cof.labels import dataset, training
from cof.labels.stage import train


@pytest.fixture(scope="module")
def cases(cohort: Cohort) -> list[dataset.Case]:
    return dataset.find_cases(cohort.subjects, [cohort.cine], [cohort.annotations], Exclusions("labeller"))


def test_slices_of_scattered_spacing_fit_one_patch(cases: list[dataset.Case]) -> None:
    rng = np.random.default_rng(0)
    image = np.zeros((5, 144, 144), np.int16)
    scattered = [
        replace(cases[0], image=image, labels=image.astype(np.uint8), spacing_mm=(10.0, value, value))
        for value in rng.normal(1.83, 0.01, 50)
    ]
    spacing, size = training._working_grid(scattered, None)
    assert spacing[0] == 10.0
    assert 1.83 < spacing[1] < 1.86
    assert list(size) == [144, 144]
    fits = [144 * case.spacing_mm[1] / spacing[1] < 144.5 for case in scattered]
    assert np.mean(fits) >= 0.9
    spacing, size = training._working_grid(scattered, 1.5)
    assert spacing == (10.0, 1.5, 1.5)
    assert all(174 < length < 178 for length in size)


def test_the_plan_has_our_width_depth_batch_and_whole_slices(untrained: Path) -> None:
    plans = json.loads((untrained / "plans.json").read_text())
    assert list(plans["configurations"]) == ["2d"]
    configuration = plans["configurations"]["2d"]
    assert configuration["batch_size"] == 3
    architecture = configuration["architecture"]["arch_kwargs"]
    assert architecture["features_per_stage"] == [8, 16, 32, 64]
    assert architecture["n_stages"] == len(architecture["strides"]) == 4
    # Of the five subjects one has slices of 2.1 mm: the ninetieth percentile is theirs.
    assert configuration["spacing"] == pytest.approx([2.1, 2.1])
    assert configuration["patch_size"] == [64, 64]


def test_stacks_with_slices_finer_than_pixels_are_refused(cases: list[dataset.Case], tmp_path: Path) -> None:
    turned = [replace(case, spacing_mm=(0.5, 2.0, 9.0)) for case in cases]
    with pytest.raises(UsageError, match="not short-axis"):
        training.prepare(turned, {cases[0].participant}, LabelSettings(), tmp_path / "work")
    assert not (tmp_path / "work/prepared").exists()


def test_mirroring_in_prediction_needs_it_in_training(cohort: Cohort, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"does not go with labels\.augmentation: upright"):
        train(
            subjects=cohort.subjects,
            cine=[cohort.cine],
            annotations=[cohort.annotations],
            out=tmp_path / "out",
            work=tmp_path / "work",
            settings=LabelSettings(mirroring=True),
            seed=0,
        )
    assert not (tmp_path / "work").exists()
