import numpy as np
import pytest
from fuzz_cine import Seeds, fuzz, run_one


@pytest.mark.slow
def test_mutated_archives_and_niftis_give_a_cine_or_a_typed_error(tmp_path):
    results, faults = fuzz(500, 0, tmp_path)
    assert faults == []
    # Mutations that are all refused, or none, would test nothing.
    assert 25 < results["cine"] < 475
    assert len(results) > 4


def test_an_input_is_always_the_same(tmp_path):
    seeds = Seeds(tmp_path, 0)
    assert np.array_equal(*([run_one(k, 0, seeds, tmp_path) for k in range(10)] for _ in range(2)))


@pytest.mark.parametrize(
    ("seed", "index"),
    [
        (0, 259),  # a unit of time that is none: KeyError in nibabel
        (0, 437),  # images of a few pixels: no voxel to find ED by
        (1, 9),  # a member without a name: IndexError in zipfile
        (2, 774),  # a broken lossless JPEG: GDCM ended the process
    ],
)
def test_faults_once_found_stay_mended(tmp_path, seed, index):
    assert run_one(index, seed, Seeds(tmp_path, seed), tmp_path)
