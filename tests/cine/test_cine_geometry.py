"""Geometry in millimetres: against SimpleITK's reader, and to the canonical grid and back."""

import itertools

import numpy as np
import pytest

from cof.cine.geometry import flip_slices
from cof.cine.grid import place
from cof.cine.reader import read_cine_source
from cof.config.data import GridSettings

SMALL = GridSettings(shape=(4, 8, 8), spacing_mm=(10.0, 2.4, 2.4), frames=4)


def test_the_geometry_of_oblique_dicoms_is_that_of_simpleitk(kit, archived, tmp_path):
    simpleitk = pytest.importorskip("SimpleITK")
    scan = kit.scan(slices=4, frames=1)
    datasets = kit.images(scan)
    cine = read_cine_source(archived(datasets), 0.1)
    for plane, data in enumerate(datasets):
        (tmp_path / "one.dcm").write_bytes(kit.encode(data))
        image = simpleitk.ReadImage(str(tmp_path / "one.dcm"))
        for x, y in itertools.product((0, kit.columns - 1), (0, kit.rows - 1)):
            theirs = np.array(image.TransformIndexToPhysicalPoint((x, y, 0))) * [-1, -1, 1]
            np.testing.assert_allclose((cine.affine @ [x, y, plane, 1])[:3], theirs, atol=0.001)


@pytest.mark.parametrize("flips", itertools.product((1, -1), repeat=2))
@pytest.mark.parametrize("reverse", [False, True])
def test_a_point_goes_to_the_canonical_grid_and_back(scan, flips, reverse):
    """Through voxels and canonical indices a point in the patient stays where it is, to a thousandth of a mm."""
    affine = scan.affine @ np.diag([*flips, 1.0, 1.0])
    frames = scan.frames[0]
    if reverse:
        frames, affine = flip_slices(frames, affine)
    labels = np.zeros(frames.shape, np.uint8)
    labels[1:5, 5:11, 4:10], labels[1:5, 6:10, 5:9] = 2, 1
    spacing = tuple(np.linalg.norm(affine[:3, :3], axis=0)[::-1])
    placement = place(frames, labels, spacing, SMALL)
    canonical = placement.canonical_affine(affine)
    points = (affine @ np.vstack([np.random.default_rng(0).uniform(2, 9, (3, 50)), np.ones(50)]))[:3].T
    native_index = np.linalg.solve(affine, np.vstack([points.T, np.ones(50)]))[2::-1].T
    canonical_index = (native_index - placement.offset) / placement.scale
    by_affine = np.linalg.solve(canonical, np.vstack([points.T, np.ones(50)]))[2::-1].T
    error_mm = np.abs(canonical_index - by_affine) * SMALL.spacing_mm
    assert error_mm.max() < 0.001
    back = placement.offset + placement.scale * canonical_index
    back_mm = (affine @ np.vstack([back[:, ::-1].T, np.ones(50)]))[:3].T
    assert np.linalg.norm(back_mm - points, axis=1).max() < 0.001
