import numpy as np

from cof.cine.grid import Placement
from cof.metrics.region import heart_region


def placement(spacing: tuple[float, float], scale: float = 1.0) -> Placement:
    """A canonical grid of 3 x 60 x 60 voxels, whose first voxel is the native one's first."""
    native = tuple(length / scale for length in spacing)
    size, scales = round(60 * scale), (1, scale, scale)
    shapes = (3, 60, 60), (3, size, size)
    return Placement((0, 0, 0), scales, shapes[0], (10, *spacing), shapes[1], (10, *native), (0, 1), (True,) * 3)


def test_the_region_is_the_union_over_the_cycle_and_its_margin_in_the_plane() -> None:
    labels = np.zeros((2, 3, 60, 60), np.uint8)
    labels[0, 1, 20, 30], labels[1, 1, 20, 40] = 1, 3
    region = heart_region(labels, placement((2.0, 1.0)))
    rows, columns = np.mgrid[:60, :60]
    near = [np.hypot(2 * (rows - 20), columns - x) <= 5 for x in (30, 40)]
    np.testing.assert_array_equal(region[1], near[0] | near[1])
    assert not region[[0, 2]].any()  # no heart in these slices


def test_a_finer_native_grid_gives_the_same_region() -> None:
    """A disc of 14 mm, and so a region of 19 mm, on the same canonical grid."""
    regions = []
    for scale in (1, 2):
        grid = placement((1.5, 1.5), scale)
        rows, columns = np.mgrid[: 60 * scale, : 60 * scale] / scale - 30
        disc = np.hypot(rows, columns) * 1.5 < 14
        regions.append(heart_region(np.tile(disc.astype(np.uint8), (1, 3, 1, 1)), grid))
    rows, columns = (np.mgrid[:60, :60] - 30) * 1.5
    radius = np.hypot(rows, columns)
    for region in regions:
        assert region[:, radius < 18].all()
        assert not region[:, radius > 19].any()


def test_labels_without_a_heart_have_an_empty_region() -> None:
    assert not heart_region(np.zeros((2, 3, 60, 60), np.uint8), placement((1.5, 1.5))).any()
