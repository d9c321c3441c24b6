"""Moving surfaces: closed in every frame, where the tissue goes, with the volume of the labels that move alike."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh
from beating_heart import AXIS, FRAMES, PLACEMENT, SPACING, affine, displacement, labels, pull
from moved_labels import moved_volumes

from cof.cine.grid import Placement, place
from cof.config.data import GridSettings, PhantomSettings
from cof.heart.structures import SURFACES
from cof.heart.surfaces import Surface, surface_of
from cof.motion.points import follow
from cof.phantom.motion import Deformation, polar_points
from cof.phantom.population import sample
from cof.phantom.scanner import Acquisition
from cof.phantom.stack import SLICE_DISTANCE_MM, Stack
from cof.phantom.stage import scan_heart
from cof.truth.artefacts import Truth
from cof.twins.exports.heart import Heart
from cof.twins.surfaces import moving_surfaces


def check_closed(surface: Surface, frames: int) -> None:
    assert surface.vertices.shape[0] == frames
    assert np.isfinite(surface.vertices).all()
    for vertices in surface.vertices:
        mesh = trimesh.Trimesh(vertices, surface.faces, process=False)
        assert mesh.is_watertight
        assert (mesh.euler_number, mesh.body_count) == (2, 1)
        assert mesh.volume > 0
    np.testing.assert_allclose(mesh.volume / 1000, surface.volume_ml[-1], rtol=1e-6)
    a, b, c = (surface.vertices[0][corner] for corner in surface.faces.T)
    sides = sum(((p - q) ** 2).sum(1) for p, q in ((a, b), (b, c), (c, a)))
    quality = 2 * np.sqrt(3) * np.linalg.norm(np.cross(b - a, c - a), axis=1) / sides
    assert quality.min() >= 0.2


def check_volumes(surfaces: dict[str, Surface], known: dict[str, np.ndarray]) -> None:
    for name, surface in surfaces.items():
        found, expected = surface.volume_ml, known[name]
        assert found[0] == pytest.approx(expected[0], rel=0.03), name
        np.testing.assert_allclose(found, expected, rtol=0.05, err_msg=name)
        ef, wanted = (100 * (1 - curve.min() / curve[0]) for curve in (found, expected))
        assert ef == pytest.approx(wanted, abs=2), name


def in_stack(surface: Surface, matrix: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """Vertices [T, V, 3] in mm (z, y, x) from the centre of voxel 0."""
    inverse = np.linalg.inv(matrix)
    return (surface.vertices @ inverse[:3, :3].T + inverse[:3, 3])[..., ::-1] * spacing


@pytest.fixture(scope="module")
def surfaces() -> dict[str, Surface]:
    return moving_surfaces(labels(), displacement(), PLACEMENT, affine(), FRAMES)


def test_surfaces_are_closed_in_every_frame_with_the_same_triangles(surfaces):
    assert tuple(surfaces) == tuple(SURFACES)
    for surface in surfaces.values():
        check_closed(surface, FRAMES)
        assert surface.remarks == ()
        with pytest.raises(ValueError, match="read-only"):
            surface.vertices[...] = 0


def test_volumes_are_those_of_labels_that_move_alike(surfaces):
    known = moved_volumes(labels(), displacement(), PLACEMENT, FRAMES)
    assert 100 * (1 - known["LV endocardium"].min() / known["LV endocardium"][0]) > 40
    check_volumes(surfaces, known)


def test_vertices_go_where_the_motion_takes_them(surfaces):
    for surface in surfaces.values():
        found = in_stack(surface, affine(), SPACING)
        for frame in range(FRAMES):
            exact = found[0].copy()
            for _ in range(100):
                exact -= 0.5 * (exact + pull(exact, frame) - found[0])
            inside = (found[0][:, 0] > 0) & (
                found[0][:, 0] < 81
            )  # beyond the stack the field is no longer the analytic one
            off = (found[frame] - exact)[inside]
            assert np.linalg.norm(off[:, 1:], axis=1).max() < 0.5
            assert np.abs(off[:, 0]).max() < 0.5


def test_a_heart_that_is_pushed_the_wrong_way_fails(surfaces):
    """Vertices moved by the field instead of its inverse: neither place nor volume is that of the labels."""
    name, systole = "LV endocardium", FRAMES // 2
    found = in_stack(surfaces[name], affine(), SPACING)
    wrong = found[0] + pull(found[0], systole)
    apart = np.linalg.norm((wrong - found[systole])[:, 1:], axis=1)
    assert np.median(apart) > 5
    pushed = found.copy()
    pushed[systole] = wrong
    world = pushed[..., ::-1] / SPACING[::-1] @ affine()[:3, :3].T + affine()[:3, 3]
    other = {name: Surface(name, world, surfaces[name].faces)}
    known = moved_volumes(labels(), displacement(), PLACEMENT, FRAMES)
    with pytest.raises(AssertionError):
        check_volumes(other, known)
    assert np.linalg.norm(wrong[:, 1:] - AXIS, axis=1).max() > np.linalg.norm(found[0][:, 1:] - AXIS, axis=1).max()


def test_surfaces_lie_in_the_patient_where_the_labels_lie(surfaces):
    """The voxels of the labels, by the affine alone, against the surface about them."""
    index = np.argwhere(labels() == 1)[:, ::-1]
    world = index @ affine()[:3, :3].T + affine()[:3, 3]
    ed = surfaces["LV endocardium"].vertices[0]
    np.testing.assert_allclose(ed.mean(0), world.mean(0), atol=5)
    mesh = trimesh.Trimesh(ed, surfaces["LV endocardium"].faces, process=False)
    np.testing.assert_allclose(mesh.center_mass, world.mean(0), atol=0.7)


def test_another_number_of_frames_is_the_same_motion(surfaces):
    more = moving_surfaces(labels(), displacement(), PLACEMENT, affine(), 2 * FRAMES)
    for name, surface in more.items():
        np.testing.assert_allclose(surface.vertices[::2], surfaces[name].vertices, atol=0.01)


def test_motion_that_folds_is_told():
    folding = displacement()
    folding[1, 2] = torch.linspace(60, -60, folding.shape[-1])
    told = moving_surfaces(labels(), folding, PLACEMENT, affine(), FRAMES)
    assert all("the motion folds at" in surface.remarks[0] for surface in told.values())


def exact_pull(motion: Deformation, stack: Stack, at: np.ndarray, time_ms: float) -> np.ndarray:
    """The phantom's displacement [V, 3] in mm (z, y, x) at points of its stack, by its own formulas."""
    height = (stack.height_mm[0] - at[:, 0]).astype(np.float32)
    x, y = ((at[:, axis] - stack.centre[2 - axis] * stack.spacing_mm)[:, None] for axis in (2, 1))
    lateral, anterior = stack.to_heart(motion.heart, x, y, height)
    moved = motion.displacement(motion.at(time_ms, height), polar_points(lateral, anterior))
    return np.concatenate(stack.to_image(motion.heart, *moved), axis=1)


def scanned(name: str) -> tuple[Deformation, Stack, Acquisition]:
    """A phantom of the cohort without breath-hold shifts."""
    settings = PhantomSettings(
        first=1, train=0, validation=0, test=1, frames=8, slices=11, matrix=120, slice_shift_mm=0
    )
    return scan_heart(sample(name, 0), settings, 0, truth=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_a_phantom_of_the_cohort_has_closed_surfaces_with_its_volumes(name: str):
    """Its exact motion, as `cof exact-motion` writes it, on the canonical grid of the bench."""
    motion, stack, scan = scanned(name)
    ed, spacing = scan.labels[0], (SLICE_DISTANCE_MM, stack.spacing_mm, stack.spacing_mm)
    grid = GridSettings(shape=(10, 64, 64), spacing_mm=(SLICE_DISTANCE_MM, 2.7, 2.7), frames=8)
    placement = place(scan.frames[0].astype(np.int16), ed, spacing, grid)
    truth = Truth(scan.labels, scan.displacement, (0, stack.box[0], stack.box[2]), motion.beat.t_es_ms)
    known = truth.on_motion_grid(placement, 8)
    assert known is not None
    field = torch.from_numpy(known[0])
    made = moving_surfaces(ed, field, placement, stack.affine(), 8)
    for surface in made.values():
        check_closed(surface, 8)
    check_volumes(made, moved_volumes(ed, field, placement, 8))


def sampled_systole(
    motion: Deformation, stack: Stack, pixel_mm: float, distance_mm: float
) -> tuple[Stack, np.ndarray, torch.Tensor, Placement]:
    """A stack of other pixels and slices about a phantom: its ED labels, and its exact motion at ES in every voxel.

    Returns:
        The stack, labels [Z, Y, X], displacement [1, 3, Z, Y, X] whose motion grid is the stack itself, the placement.
    """
    reach, depth = 62.0, int(110 / distance_mm)
    side = 2 * int(reach / pixel_mm) + 1
    top, bottom, left, right = stack.box
    middle_y, middle_x = ((low + high) / 2 for low, high in ((top, bottom), (left, right)))
    stack = replace(
        stack,
        matrix=side,
        spacing_mm=pixel_mm,
        height_mm=(stack.height_mm[0] - distance_mm * np.arange(depth)).astype(np.float32),
        shift_mm=np.zeros((depth, 2), np.float32),
        centre=tuple(
            (reach - (middle - centre) * stack.spacing_mm) / pixel_mm
            for middle, centre in zip((middle_x, middle_y), stack.centre)
        ),
        box=(0, side, 0, side),
    )
    shape = (depth, side, side)
    height, points = stack.box_points(motion.heart, np.zeros(1, np.float32))
    ed, es = (motion.at(time, height) for time in (0.0, motion.beat.t_es_ms))
    ed_labels = motion.labels(ed, points, motion.material(ed, points)).reshape(shape)
    field = np.stack([one.reshape(shape) for one in stack.to_image(motion.heart, *motion.displacement(es, points))])
    placement = Placement(
        offset=(0.0, -0.25, -0.25),
        scale=(1.0, 0.5, 0.5),
        shape=(depth, 2 * side, 2 * side),
        spacing_mm=(distance_mm, pixel_mm / 2, pixel_mm / 2),
        native_shape=shape,
        native_spacing_mm=(distance_mm, pixel_mm, pixel_mm),
        intensity=(0.0, 1.0),
        valid=(True,) * depth,
    )
    return stack, ed_labels, torch.from_numpy(field[None]).float(), placement


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "pixel_mm", "distance_mm", "everywhere"),
    [("a", 1.0, 2.5, True), ("c", 1.0, 2.5, True), ("a", 1.85, 10.0, False), ("c", 1.85, 10.0, False)],
)
def test_vertices_of_a_phantom_go_where_its_formulas_say(name, pixel_mm, distance_mm, everywhere):
    """In-plane, at ES; on the slices of a usual stack, and everywhere if the exact motion is sampled finely.

    The phantom's motion has kinks at these very surfaces, and the RV's has jumps where its crescent ends: samples round
    them off, and between slices 10 mm apart a linear field is no better than 1 to 3 mm at an apex.
    """
    motion, stack, _ = scanned(name)
    stack, ed, field, placement = sampled_systole(motion, stack, pixel_mm, distance_mm)
    for surface in SURFACES:
        vertices, _, _ = surface_of(surface, ed, placement.native_spacing_mm)
        moved, left = follow(torch.from_numpy(vertices), field, placement)
        assert float(left.max()) < 0.01
        rest, found = vertices[::15], moved[0].numpy()[::15]
        exact = rest.copy()
        for _ in range(28):
            exact -= 0.5 * (exact + exact_pull(motion, stack, exact, motion.beat.t_es_ms) - rest)
        off = np.linalg.norm((found - exact)[:, 1:], axis=1)
        in_slices = found[:, 0] / distance_mm
        chosen = off if everywhere else off[np.abs(in_slices - np.rint(in_slices)) < 0.08]
        assert len(chosen) > 20
        assert np.linalg.norm((exact - rest)[:, 1:], axis=1).max() > 5
        assert np.median(chosen) < 0.3
        assert np.quantile(chosen, 0.95) < (0.5 if surface.startswith("LV") else 0.7)


@pytest.mark.slow
def test_a_heart_of_shipped_weights_has_such_surfaces(one_heart):
    heart = Heart.read(one_heart[0])
    assert heart.displacement is not None
    assert heart.placement is not None
    for surface in heart.surfaces.values():
        check_closed(surface, len(heart.times_ms))
    known = moved_volumes(heart.labels[0], heart.displacement, heart.placement, len(heart.times_ms))
    check_volumes(heart.surfaces, known)
    ef = heart.summary["function"]["LV"]["ef_pct"]  # of the labeller, which labels every frame anew
    volume = heart.surfaces["LV endocardium"].volume_ml
    assert 100 * (1 - volume.min() / volume[0]) == pytest.approx(ef, abs=5)
