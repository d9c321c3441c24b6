from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import binary_erosion, map_coordinates

from cof.phantom.anatomy import build_heart
from cof.phantom.motion import REACH_MM, Deformation, build_beat, polar_points
from cof.phantom.population import sample

STEP = 1.5


def _deformation(**changes):
    latents = replace(sample("moving", 4), conduction="normal", infarct="none", infarct_size=0.0, rhythm="sinus")
    latents = replace(latents, qrs_ms=88.0, ef_pct=60.0, septal_flash=False, **changes)
    heart = build_heart(latents, np.random.default_rng(0))
    return Deformation(heart, build_beat(latents, heart, np.random.default_rng(1)))


@pytest.fixture(scope="module")
def motion():
    return _deformation()


class Grid:
    """An isotropic grid over a heart: [Z, Y, X] with z towards the base and y anterior."""

    def __init__(self, motion):
        length = motion.heart.length_mm
        self.height = np.arange(-20, length + 45, STEP, dtype=np.float32)
        extent = float(motion.heart.rv_epi.max()) + REACH_MM + 5
        side = np.arange(-extent, extent, STEP, dtype=np.float32)
        x, y = np.meshgrid(side, side, indexing="xy")
        self.shape = (len(self.height), *x.shape)
        flat = (np.broadcast_to(axis.ravel(), (len(self.height), x.size)) for axis in (x, y))
        self.points = polar_points(*flat)
        self.motion = motion

    def at(self, time_ms):
        """Displacement [3, Z, Y, X] along z, y, x and labels."""
        now = self.motion.at(time_ms, self.height)
        material = self.motion.material(now, self.points)
        u = self.motion.displacement(now, self.points)
        field = np.stack([u[2], u[1], u[0]]).reshape(3, *self.shape)
        return field, self.motion.labels(now, self.points, material).reshape(self.shape)


@pytest.fixture(scope="module")
def grid(motion):
    return Grid(motion)


@pytest.fixture(scope="module")
def systole(grid):
    return grid.at(grid.motion.beat.t_es_ms)


def test_nothing_has_moved_at_end_diastole(grid):
    field, _ = grid.at(0.0)
    assert np.abs(field).max() < 2e-3


def test_warped_labels_are_the_labels(grid, systole):
    field, labels = systole
    _, anchor = grid.at(0.0)
    index = np.indices(grid.shape) + field / STEP
    for value, least in ((1, 0.96), (2, 0.93), (3, 0.93)):
        warped = map_coordinates((anchor == value).astype(np.float32), index, order=1, mode="nearest") > 0.5
        mask = labels == value
        assert 2 * (warped & mask).sum() / (warped.sum() + mask.sum()) > least


def test_the_wall_is_incompressible(grid, systole):
    field, labels = systole
    gradient = np.stack([np.stack(np.gradient(component, STEP)) for component in field])
    jacobian = np.linalg.det(np.moveaxis(gradient, (0, 1), (-2, -1)) + np.eye(3))
    inside = binary_erosion(labels == 2, iterations=2)
    assert inside.sum() > 1000
    assert jacobian[inside].mean() == pytest.approx(1, abs=0.02)
    assert np.percentile(np.abs(jacobian[inside] - 1), 90) < 0.1


def test_volumes_and_mass_are_those_of_the_curves(grid, systole):
    _, labels = systole
    _, anchor = grid.at(0.0)
    beat, voxel = grid.motion.beat, STEP**3 / 1000
    assert (anchor == 1).sum() * voxel == pytest.approx(beat.latents.edv_ml, rel=0.02)
    assert (labels == 1).sum() * voxel == pytest.approx(float(beat.volume_ml(beat.t_es_ms)), rel=0.03)
    assert (labels == 2).sum() == pytest.approx((anchor == 2).sum(), rel=0.03)
    assert 1.05 * (anchor == 2).sum() * voxel == pytest.approx(beat.latents.lvm_g, rel=0.06)
    assert (anchor == 3).sum() * voxel == pytest.approx(beat.latents.rvedv_ml, rel=0.05)
    assert (labels == 3).sum() * voxel == pytest.approx(float(beat.rv_volume_ml(beat.t_es_ms)), rel=0.08)


def test_the_base_descends_and_the_apex_turns_against_it(motion):
    now = motion.at(motion.beat.t_es_ms, np.array([5.0, motion.heart.length_mm * 0.84], np.float32))
    assert now.twist[0] > 0 > now.twist[1]
    assert now.height_ed[1] - now.height[1] > 8


def test_far_tissue_rests(grid, systole):
    field, _ = systole
    now = grid.motion.at(grid.motion.beat.t_es_ms, grid.height)
    outer = now.rv_epi.ravel()[grid.points.index].reshape(grid.shape)
    far = grid.points.radius.reshape(grid.shape) > outer + REACH_MM
    assert far.any()
    assert np.abs(field[:, far]).max() < 1e-3


def test_the_volume_curve_has_the_latent_ef_and_closes(motion):
    beat = motion.beat
    times = np.arange(0, beat.latents.rr_cmr_ms, 1.0)
    volume = beat.volume_ml(times)
    assert volume[0] == pytest.approx(beat.latents.edv_ml)
    assert volume.argmax() == 0
    assert 100 * (1 - volume.min() / volume[0]) == pytest.approx(60, abs=0.01)
    assert volume[-1] == pytest.approx(volume[0], rel=0.01)
    assert beat.t_es_ms == pytest.approx(beat.latents.t_es_ms, abs=15)


def test_bundle_branch_block_delays_the_lateral_wall():
    beat = _deformation(conduction="lbbb").beat
    wide = replace(beat.latents, qrs_ms=150.0)
    heart = build_heart(wide, np.random.default_rng(0))
    beat = build_beat(wide, heart, np.random.default_rng(1))
    peak = np.arange(0, 700.0)[beat.segments(np.arange(0, 700.0)).argmax(0)]
    lateral, septal = peak[[4, 5, 10, 11, 15]].mean(), peak[[1, 2, 7, 8, 13]].mean()
    assert 25 < lateral - septal < 50


def test_septal_flash_moves_the_septum_before_ejection():
    latents = replace(sample("flash", 0), conduction="lbbb", qrs_ms=150.0, t_ejection_ms=75.0)
    heart = build_heart(latents, np.random.default_rng(0))
    beats = [
        build_beat(replace(latents, septal_flash=flash), heart, np.random.default_rng(1)) for flash in (False, True)
    ]
    early = [beat.segments(40.0) for beat in beats]
    assert early[0][2] < 0.01 < 0.1 < early[1][2]
    assert early[1][4] < -0.05


def test_an_infarct_thickens_less():
    motion = _deformation()
    scarred = replace(motion.beat.latents, infarct="lad", infarct_size=0.25, ef_pct=45.0)
    heart = build_heart(scarred, np.random.default_rng(0))
    own = Deformation(heart, build_beat(scarred, heart, np.random.default_rng(1)))
    now = own.at(own.beat.t_es_ms, np.array([heart.length_mm * 0.15], np.float32))
    thickening = (now.epi - now.endo) / (now.epi_ed - now.endo_ed)
    quarter = len(thickening[0]) // 4
    anterior, inferior = thickening[0, quarter], thickening[0, 3 * quarter]
    assert anterior < inferior - 0.15
