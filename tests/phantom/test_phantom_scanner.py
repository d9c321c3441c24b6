from dataclasses import replace

import numpy as np
import pytest

from cof.config.data import PhantomSettings
from cof.phantom.anatomy import build_heart
from cof.phantom.expert import annotate
from cof.phantom.motion import Deformation, build_beat
from cof.phantom.population import sample
from cof.phantom.scanner import Scanner
from cof.phantom.seeds import derive, stream
from cof.phantom.stack import SLICE_DISTANCE_MM, plan_stack
from cof.phantom.torso import build_torso, draw_contrast


def _scan(name, settings):
    latents = sample(name, 0)
    heart = build_heart(latents, stream(0, name, "heart"))
    motion = Deformation(heart, build_beat(latents, heart, stream(0, name, "beat")))
    stack = plan_stack(heart, settings, stream(0, name, "stack"))
    rng = stream(0, name, "contrast")
    contrast = draw_contrast(rng)
    torso = build_torso(latents, heart, stack, contrast, rng)
    scanner = Scanner(heart, motion, stack, torso, contrast, rng)
    return motion, stack, scanner.acquire(settings.frames, 0.03, 300.0, stream(0, name, "noise"), truth=True)


@pytest.fixture(scope="module")
def scans():
    settings = PhantomSettings(frames=12, slices=10, matrix=128)
    return [_scan(name, settings) for name in ("one", "two", "three")]


def test_counted_volumes_agree_with_the_latents(scans):
    errors = []
    for motion, stack, scan in scans:
        voxel = stack.spacing_mm**2 * SLICE_DISTANCE_MM / 1000
        volume = (scan.labels == 1).sum((1, 2, 3)) * voxel
        latents = motion.beat.latents
        assert volume[0] == pytest.approx(latents.edv_ml, rel=0.08)
        errors.append(100 * (1 - volume.min() / volume[0]) - latents.ef_pct)
        times = np.arange(len(volume)) * latents.rr_cmr_ms / len(volume)
        assert np.corrcoef(volume, motion.beat.volume_ml(times))[0, 1] > 0.97
    assert np.abs(errors).max() < 6
    assert abs(np.mean(errors)) < 4


def test_contrast_is_that_of_balanced_ssfp(scans):
    for _, _, scan in scans:
        middle = slice(3, 6)
        image, labels = scan.frames[0, middle].astype(float), scan.labels[0, middle]
        blood = np.percentile(image[labels == 1], 75)
        wall = np.percentile(image[labels == 2], 30)
        assert 0.25 < wall / blood < 0.6
        assert np.percentile(image, 10) < 0.2 * blood
        assert scan.frames.max() <= 4095


def test_the_rv_lies_left_and_the_anterior_wall_up(scans):
    for _, _, scan in scans:
        rows, columns = np.nonzero(scan.labels[0, 4] == 1)
        rv_rows, rv_columns = np.nonzero(scan.labels[0, 4] == 3)
        assert rv_columns.mean() < columns.mean() - 10
        assert abs(rv_rows.mean() - rows.mean()) < abs(rv_columns.mean() - columns.mean())


def test_displacement_follows_the_labels_and_rests_at_the_edge(scans):
    for motion, stack, scan in scans:
        assert scan.displacement.shape == (12, 3, *stack.box_shape)
        assert np.abs(scan.displacement[0]).max() < 5e-3
        rr = motion.beat.latents.rr_cmr_ms
        systole = int(np.argmin(motion.beat.volume_ml(np.arange(12) * rr / 12)))
        field = scan.displacement[systole].astype(float)
        # The base moves towards the apex, so tissue came from the base: against the slice order.
        assert -25 < np.median(field[0, 3]) <= 0
        assert field[0].min() < -6
        top, bottom, left, right = stack.box
        inside = np.zeros(scan.labels.shape[1:], bool)
        inside[:, top:bottom, left:right] = True
        assert not scan.labels[:, ~inside].any()


def test_a_frame_is_no_warp_of_frame_0(scans):
    for _, _, scan in scans:
        dark = scan.frames[0] < np.percentile(scan.frames[0], 20)
        now, then = (frame.astype(float)[dark] for frame in scan.frames[[0, 6]])
        # Where nothing moves and nothing shines there is fresh noise.
        assert abs(np.corrcoef(now, then)[0, 1]) < 0.6
        assert now.std() > 1
        following = scan.frames[1].astype(float)[dark]
        assert np.corrcoef(now, following)[0, 1] > np.corrcoef(now, then)[0, 1]


def test_slices_stand_where_the_header_says(scans):
    for _, stack, _ in scans:
        row, column = stack.orientation
        np.testing.assert_allclose([row @ row, column @ column, row @ column], [1, 1, 0], atol=1e-9)
        step = np.diff(stack.position_mm, axis=0)
        np.testing.assert_allclose(np.linalg.norm(step, axis=1), SLICE_DISTANCE_MM)
        # Slices run from base to apex: left, forward and down in the patient, against the normal of the images.
        assert (step @ np.cross(row, column) < 0).all()
        assert step[0, 0] > 0 > step[0, 2]
        assert row[0] > 0.3
        assert np.linalg.det(stack.affine()[:3, :3]) != 0


@pytest.mark.parametrize(("slices", "above"), [(6, 0), (8, 0), (10, 1), (16, 3)])
def test_spare_slices_go_above_the_base(slices, above):
    heart = replace(build_heart(sample("tall", 0), np.random.default_rng(0)), length_mm=90.0)
    settings = PhantomSettings(slices=slices, slice_shift_mm=0.0)
    stack = plan_stack(heart, settings, np.random.default_rng(1))
    assert (stack.height_mm > heart.length_mm).sum() == above
    np.testing.assert_allclose(np.diff(stack.height_mm), -SLICE_DISTANCE_MM, atol=1e-4)
    assert np.abs(stack.shift_mm).max() == 0


def test_pixel_spacing_is_a_mixture():
    heart = build_heart(sample("tall", 0), np.random.default_rng(0))
    spacing = np.array([plan_stack(heart, PhantomSettings(), np.random.default_rng(k)).spacing_mm for k in range(300)])
    assert np.mean(np.abs(spacing - 1.83) < 0.08) == pytest.approx(0.83, abs=0.07)
    assert 1.2 <= spacing.min() < 1.6
    assert 2.0 < spacing.max() <= 2.3


def test_experts_waver_about_the_truth(scans):
    for motion, stack, scan in scans:
        drawn = annotate(motion, stack, 12, np.random.default_rng(0))
        frames = np.flatnonzero(drawn.any((1, 2, 3)))
        assert frames[0] == 0
        assert len(frames) == 2
        for value, least in ((1, 0.93), (2, 0.8), (3, 0.85)):
            ours, exact = drawn[frames] == value, scan.labels[frames] == value
            dice = 2 * (ours & exact).sum() / (ours.sum() + exact.sum())
            assert least < dice < 1


def test_streams_are_independent_and_repeatable():
    assert derive(0, "a", "x") == derive(0, "a", "x")
    assert len({derive(s, p, q) for s in (0, 1) for p in "ab" for q in "xy"}) == 8
    assert stream(0, "a", "x").random() == stream(0, "a", "x").random()
