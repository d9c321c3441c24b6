"""Labels that a displacement moves, against closed forms and against warped masks of which the largest share wins."""

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt, map_coordinates

from cof.cine.grid import Placement
from cof.config.data import PhantomSettings
from cof.metrics.overlap import dice
from cof.motion.labels import warp_labels, warp_native_labels
from cof.motion.native import NativeCrop, native_displacement
from cof.motion.warp import warp
from cof.phantom.population import sample
from cof.phantom.stack import SLICE_DISTANCE_MM
from cof.phantom.stage import scan_heart

PIXEL_MM, SLICE_MM, SIDE = 3.0, 10.0, 40
SPACING = (SLICE_MM, PIXEL_MM, PIXEL_MM)
CENTRE = np.array([58.3, 60.9])
GRID, GRID_SPACING = (6, 24, 20), (10.0, 3.6, 3.6)
NATIVE, NATIVE_SPACING = (9, 70, 64), (10.0, 1.8, 1.5)


def ring(radius_mm: float, wall_mm: float, centre=CENTRE) -> np.ndarray:
    """One slice: a round LV in a ring of myocardium."""
    y, x = np.indices((SIDE, SIDE)) * PIXEL_MM
    distance = np.hypot(y - centre[0], x - centre[1])
    return np.select([distance < radius_mm, distance < radius_mm + wall_mm], [1, 2], 0).astype(np.uint8)


def stack(*slices: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(slices))


def constant(zyx_mm, depth: int) -> torch.Tensor:
    return torch.tensor(zyx_mm)[None, :, None, None, None].expand(1, 3, depth, SIDE, SIDE).clone()


def shrinking(factor: float, depth: int = 1, centre=CENTRE) -> torch.Tensor:
    """The pull-back of a heart that shrinks in the plane by 1 / factor about its centre."""
    at = torch.from_numpy(np.indices((depth, SIDE, SIDE)).astype(np.float32)) * PIXEL_MM
    y, x = at[1] - float(centre[0]), at[2] - float(centre[1])
    return torch.stack([0 * y, (factor - 1) * y, (factor - 1) * x])[None]


def largest_share(labels: torch.Tensor, displacement: torch.Tensor) -> torch.Tensor:
    """The rule of before: masks are warped, and the largest share wins."""
    masks = F.one_hot(labels.long(), 4).movedim(-1, 0)[None].float()
    return warp(masks, displacement, SPACING).argmax(1)


def area_mm2(labels: torch.Tensor, structure: int) -> float:
    return float((labels == structure).sum()) * PIXEL_MM**2


def open_voxels(labels: torch.Tensor) -> int:
    """Voxels of the LV with background beside them in the plane, where the ring of myocardium is open."""
    padded = F.pad(labels, (1, 1, 1, 1))
    bare = sum((torch.roll(padded == 0, by, axis) for axis in (-1, -2) for by in (1, -1)), torch.zeros_like(padded))
    return int(((padded == 1) & (bare > 0)).sum())


@given(seed=st.integers(0, 300))
def test_labels_that_stay_are_the_same_bit_for_bit(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, (4, 9, 11)) * (rng.random((4, 1, 1)) < 0.8)
    found = warp_labels(torch.from_numpy(labels.astype(np.uint8)), torch.zeros(1, 3, 4, 9, 11), SPACING)
    assert found.dtype == torch.uint8
    np.testing.assert_array_equal(found[0], labels)


@pytest.mark.parametrize("voxels", [(0, 2, 0), (0, 0, -3), (0, -1, 2)])
def test_a_translation_by_whole_pixels_is_exact(voxels):
    labels = stack(ring(30, 9), ring(20, 6))
    found = warp_labels(labels, constant([step * count for step, count in zip(SPACING, voxels)], 2), SPACING)[0]
    assert torch.equal(found, torch.roll(labels, [-count for count in voxels], (0, 1, 2)))


def test_a_translation_by_a_part_of_a_pixel_keeps_areas_and_place():
    """Over many parts of a pixel and places of the disc, areas and centre are those of the shifted disc."""
    rng = np.random.default_rng(0)
    grown, off = [], []
    for _ in range(60):
        centre, by = CENTRE + rng.uniform(-PIXEL_MM, PIXEL_MM, 2), rng.uniform(-2, 2, 2)
        labels = stack(ring(24, 7, centre))
        found = warp_labels(labels, constant([0, *(by * PIXEL_MM)], 1), SPACING)[0]
        grown.append([area_mm2(found, one) / area_mm2(labels, one) - 1 for one in (1, 2)])
        middle, rest = ((one == 1).nonzero()[:, 1:].float().mean(0).numpy() for one in (found, labels))
        off.append(middle + by - rest)
    assert np.abs(np.mean(grown, 0)).max() < 0.01
    assert np.abs(np.mean(off, 0)).max() < 0.1
    assert np.abs(off).max() < 0.55  # half a pixel: labels lie on the grid


def test_a_disc_that_shrinks_has_the_area_of_the_smaller_disc():
    """LV of about 24 mm, pixels of 3 mm, over many sizes, places and contractions."""
    rng = np.random.default_rng(1)
    errors = []
    for _ in range(150):
        centre, radius, wall = CENTRE + rng.uniform(-PIXEL_MM, PIXEL_MM, 2), rng.uniform(20, 28), 6.0
        factor = rng.uniform(1.1, 2.0)
        found = warp_labels(stack(ring(radius, wall, centre)), shrinking(factor, centre=centre), SPACING)[0]
        exact = np.pi / factor**2 * np.array([radius**2, (radius + wall) ** 2 - radius**2])
        errors.append([area_mm2(found, one) for one in (1, 2)] / exact - 1)
    assert np.abs(np.mean(errors, 0)).max() < 0.015
    assert np.abs(np.array(errors)[:, 0]).mean() < 0.04


def test_a_cone_that_sinks_has_the_areas_between_its_slices():
    """Slices 10 mm apart of a cone: half a slice distance lower, its radius is the mean of two slices."""
    radii = [36.0, 30.0, 24.0, 18.0]
    labels, u = stack(*(ring(radius, 8) for radius in radii)), constant([-0.4 * SLICE_MM, 0, 0], 4)
    exact = [np.pi * (0.6 * low + 0.4 * high) ** 2 for high, low in pairwise(radii)]
    ours, before = warp_labels(labels, u, SPACING)[0], largest_share(labels, u)[0]
    errors = np.array([[area_mm2(way[z + 1], 1) / exact[z] - 1 for z in range(3)] for way in (ours, before)])
    assert np.abs(errors[0]).max() < 0.04
    assert np.abs(errors[1]).min() > 0.1


@pytest.mark.parametrize("end", ["base", "apex"])
def test_a_ventricle_leaves_the_stack_through_its_end(end):
    labels = stack(ring(30, 6), ring(27, 6), ring(24, 6), ring(20, 6))
    inwards = -1 if end == "base" else 1
    found = warp_labels(labels, constant([inwards * 1.01 * SLICE_MM, 0, 0], 4), SPACING)[0]
    left, rest = ([0], [1, 2, 3]) if end == "base" else ([3], [0, 1, 2])
    assert not found[left].any()
    assert torch.equal(found[rest], labels[[z + inwards for z in rest]])
    assert (largest_share(labels, constant([inwards * SLICE_MM, 0, 0], 4))[0, left] == 1).any()  # the border went on
    for share, there in ((0.49, True), (0.99, True), (1.01, False)):
        found = warp_labels(labels, constant([inwards * share * SLICE_MM, 0, 0], 4), SPACING)[0]
        assert torch.equal(found[left], labels[left]) if there else not found[left].any()


def test_a_base_within_the_stack_falls_behind_half_way_to_the_empty_slice():
    empty = np.zeros((SIDE, SIDE), np.uint8)
    labels = stack(empty, ring(30, 6), ring(24, 6))
    for share, there in ((0.49, True), (0.51, False)):
        found = warp_labels(labels, constant([-share * SLICE_MM, 0, 0], 3), SPACING)[0]
        assert not found[0].any()
        assert torch.equal(found[1], labels[1]) if there else not found[1].any()


def test_a_single_slice_is_left_by_more_than_one_slice_distance():
    labels = stack(ring(30, 6))
    assert torch.equal(warp_labels(labels, constant([9.9, 0, 0], 1), SPACING)[0], labels)
    assert not warp_labels(labels, constant([10.1, 0, 0], 1), SPACING).any()


def test_a_thin_ring_stays_closed():
    """A wall of two pixels, which shrinks and sinks between slices whose rings do not overlap."""
    labels = stack(ring(44, 7), ring(34, 7), ring(24, 7), ring(14, 7))
    assert open_voxels(labels) == 0
    ours = before = 0
    for factor in (1.0, 1.25, 1.5):
        for sunk in (0.2, 0.35, 0.5, 0.65):
            u = shrinking(factor, 4)
            u[:, 0] = -sunk * SLICE_MM
            found = warp_labels(labels, u, SPACING)[0]
            assert all((found[z] == structure).any() for z in (1, 2, 3) for structure in (1, 2))
            ours += open_voxels(found)
            before += open_voxels(largest_share(labels, u)[0])
    assert ours == 0
    assert before > 100


def placed(offset=(1.0, 8.4, 5.2)) -> Placement:
    scale = tuple(c / n for c, n in zip(GRID_SPACING, NATIVE_SPACING))
    return Placement(offset, scale, GRID, GRID_SPACING, NATIVE, NATIVE_SPACING, (0.0, 1.0), (True,) * GRID[0])


def blobs() -> torch.Tensor:
    labels = torch.zeros(NATIVE, dtype=torch.uint8)
    labels[1:7, 18:40, 20:44] = 2
    labels[2:6, 22:34, 26:38] = 1
    labels[1:6, 24:36, 12:20] = 3
    return labels


def test_native_labels_move_as_their_native_displacement_says():
    u = 5 * torch.randn(3, 3, 6, 12, 10, generator=torch.Generator().manual_seed(5))
    u[0] = 0
    moved = warp_native_labels(blobs(), u, placed())
    assert torch.equal(moved[0], blobs())
    assert all((moved[1:] != blobs()).flatten(1).float().mean(1) > 0.01)
    assert torch.equal(moved, warp_labels(blobs(), native_displacement(u, placed()), NATIVE_SPACING))
    outside = torch.ones(NATIVE, dtype=torch.bool)
    outside[NativeCrop.of(placed()).box] = False
    assert torch.equal(moved[:, outside], blobs()[outside].expand(3, -1))
    assert not warp_native_labels(torch.zeros_like(blobs()), u, placed()).any()


def test_agrees_with_scipy():
    u = 4 * torch.randn(2, 3, 6, 12, 10, generator=torch.Generator().manual_seed(6))
    field = native_displacement(u, placed()).double().numpy()
    labels = blobs().numpy()
    for found, motion in zip(warp_native_labels(blobs(), u, placed()).numpy(), field):
        at = np.indices(NATIVE) + motion / np.array(NATIVE_SPACING)[:, None, None, None]
        endocardium, epicardium, right = (
            map_coordinates(stacked(np.isin(labels, codes)), at, order=1, mode="nearest")
            for codes in ([1], [1, 2], [3])
        )
        expected = np.select([epicardium >= np.maximum(right, 1e-9), right > 0], [2, 3], 0)
        expected[(expected == 2) & (endocardium > 0)] = 1
        expected[(at[0] < -1) | (at[0] > NATIVE[0])] = 0
        assert (found != expected).mean() < 1e-4  # rounding at an outline


def stacked(mask: np.ndarray) -> np.ndarray:
    """Signed distances of a mask [Z, Y, X], whose slices outside of it mirror the nearest one of it."""
    held = np.flatnonzero(mask.any((1, 2)))
    inside = {z: distance_transform_edt(mask[z], NATIVE_SPACING[1:]) for z in held}
    signed = {z: inside[z] - distance_transform_edt(~mask[z], NATIVE_SPACING[1:]) for z in held}
    signed = {z: distance - np.sign(distance) * min(NATIVE_SPACING) / 2 for z, distance in signed.items()}
    nearest = [min(held, key=lambda one: abs(one - z)) for z in range(len(mask))]
    return np.stack([signed[z] if z in signed else -np.abs(signed[nearest[z]]) for z in range(len(mask))])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "slices"), [("a", 10), ("b", 10), ("c", 8), ("heart-1", 8)])
def test_the_exact_motion_of_a_phantom_gives_its_ejection_fraction(name, slices):
    """Without breath-hold shifts, which the exact motion does not contain; two of the stacks begin below the base."""
    settings = PhantomSettings(frames=8, slices=slices, slice_shift_mm=0)
    _, scanned, scan = scan_heart(sample(name, 0), settings, 0, truth=True)
    spacing = (SLICE_DISTANCE_MM, scanned.spacing_mm, scanned.spacing_mm)
    volume = (scan.labels == 1).sum((1, 2, 3))
    es = int(volume.argmin())
    u = torch.zeros(1, 3, *scan.labels.shape[1:])
    top, bottom, left, right = scanned.box
    u[0, :, :, top:bottom, left:right] = torch.from_numpy(scan.displacement[es].astype(np.float32))
    found = warp_labels(torch.from_numpy(scan.labels[0]), u, spacing).numpy()
    error = 100 * ((found == 1).sum() - volume[es]) / volume[0]
    overlap = [float(dice(found, scan.labels[es : es + 1], code)[0]) for code in (1, 2, 3)]
    assert abs(error) < 5  # the base lies anywhere between two slices
    assert min(overlap) > 0.9
