import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline

from cof.motion.path import DisplacementPath, cardinal_weights
from cof.motion.warp import warp


def _path(seed: int, frames: int) -> DisplacementPath:
    knots = 10 * torch.randn(frames, 3, 2, 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    knots[0] = 0
    return DisplacementPath(knots)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([8, 10, 20, 25, 50]))
def test_simpson_over_the_velocity_gives_the_knots_back(seed, frames):
    """v* at 2T+1 phases integrates to u_k at every knot, and to zero over the cycle."""
    path = _path(seed, frames)
    v = path.velocity(np.arange(2 * frames + 1) / (2 * frames))
    steps = (v[0:-1:2] + 4 * v[1::2] + v[2::2]) / (6 * frames)
    integral = torch.cumsum(steps, 0)
    torch.testing.assert_close(integral[:-1], path.knots[1:], atol=1e-10, rtol=0)
    assert integral[-1].abs().max() < 1e-10


def test_displacement_interpolates_the_knots_and_starts_at_the_anchor():
    path = _path(0, 20)
    torch.testing.assert_close(path.displacement(np.arange(20) / 20), path.knots, atol=1e-9, rtol=0)


def test_motion_is_periodic():
    path, phases = _path(1, 10), np.array([0.03, 0.5, 0.97])
    torch.testing.assert_close(path.displacement(phases), path.displacement(phases + 1))
    torch.testing.assert_close(path.velocity(phases), path.velocity(phases - 2), atol=1e-3, rtol=1e-5)
    before, after = path.velocity([1 - 1e-9, 1e-9])
    torch.testing.assert_close(before, after, atol=1e-4, rtol=0)


def test_one_voxel_agrees_with_scipy_and_velocity_is_the_derivative():
    path, phases = _path(2, 25), np.linspace(0, 1, 41)
    values = path.knots[:, 1, 0, 2, 1].double().numpy()
    spline = CubicSpline(np.arange(26) / 25, np.append(values, values[0]), bc_type="periodic")
    np.testing.assert_allclose(path.displacement(phases)[:, 1, 0, 2, 1], spline(phases), atol=1e-9)
    np.testing.assert_allclose(path.velocity(phases)[:, 1, 0, 2, 1], spline(phases, 1), atol=1e-8)


def test_cardinal_weights_sum_to_one_and_their_derivatives_to_zero():
    phases = np.random.default_rng(0).uniform(0, 1, 30)
    torch.testing.assert_close(cardinal_weights(phases, 20).sum(1), torch.ones(30))
    assert cardinal_weights(phases, 20, derivative=1).sum(1).abs().max() < 1e-4


def test_resampling_keeps_the_motion():
    """A motion of few harmonics is the same curve, whatever the number of its knots."""

    def motion(frames):
        t = torch.arange(frames) / frames
        curve = torch.sin(torch.pi * t) ** 2 + 0.2 * torch.sin(2 * torch.pi * t) * torch.sin(torch.pi * t) ** 2
        return DisplacementPath(curve[:, None, None, None, None] * torch.ones(3, 2, 2, 2))

    torch.testing.assert_close(motion(50).resample(20).knots, motion(20).knots, atol=1e-4, rtol=0)
    assert len(motion(20).resample(20)) == 20


def test_half_precision_knots_give_single_precision_motion():
    path = DisplacementPath(_path(3, 8).knots.half())
    assert path.displacement([0.3]).dtype == torch.float32


def test_a_path_that_does_not_start_at_the_anchor_is_refused():
    with pytest.raises(ValueError, match="anchor"):
        DisplacementPath(torch.ones(8, 3, 2, 2, 2))


def test_low_pass_keeps_slow_motion_and_takes_fast_noise_away():
    phases = torch.arange(24) / 24
    slow = 1 - torch.cos(2 * torch.pi * phases) + 0.5 * torch.sin(2 * torch.pi * 3 * phases)
    fast = torch.sin(2 * torch.pi * 9 * phases)
    knots = (slow + 0.3 * fast)[:, None, None, None, None].expand(-1, 3, 2, 2, 2).clone()
    knots[0] = 0
    smooth = DisplacementPath(knots).low_pass(5).knots
    assert (smooth[0] == 0).all()
    torch.testing.assert_close(smooth[:, 0, 0, 0, 0], slow, atol=1e-5, rtol=0)


def test_low_pass_with_all_harmonics_changes_nothing():
    knots = torch.randn(9, 3, 2, 2, 2)
    knots[0] = 0
    torch.testing.assert_close(DisplacementPath(knots).low_pass(4).knots, knots, atol=1e-5, rtol=0)


def _twist(frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Turns [T, 3, 2, 32, 32] about the middle by angles [T] that are zero at phase 0; 2 mm voxels."""
    angles = 0.5 * torch.sin(torch.pi * torch.arange(frames) / frames) ** 2
    return angles, torch.stack([_turn(angle) for angle in angles])


def _turn(angle: torch.Tensor) -> torch.Tensor:
    y, x = torch.meshgrid(*([(torch.arange(32) - 15.5) * 2.0] * 2), indexing="ij")
    local = angle * torch.exp(-((y**2 + x**2) / 300))
    cos, sin = torch.cos(local), torch.sin(local)
    moved = torch.stack([0 * y, cos * y - sin * x - y, sin * y + cos * x - x])
    return moved[:, None].expand(-1, 2, -1, -1)


def test_motion_about_another_frame_is_the_composition_with_an_inverse():
    """Turns about one axis commute: seen from frame r, frame t is turned by the difference of the angles."""
    angles, knots = _twist(8)
    path = DisplacementPath(knots)
    for phase in (0.25, 0.5):
        turned = path.about(phase, (10.0, 2.0, 2.0))
        assert turned.anchor_phase == phase
        assert not turned.knots[round(8 * phase)].any()
        expected = torch.stack([_turn(angle - angles[round(8 * phase)]) for angle in angles])
        torch.testing.assert_close(turned.knots, expected, atol=0.1, rtol=0)
        torch.testing.assert_close(turned.about(0.0, (10.0, 2.0, 2.0)).knots, knots, atol=0.1, rtol=0)
    assert path.about(1.0, (10.0, 2.0, 2.0)) is path


def test_an_image_seen_from_another_frame_is_the_same_image():
    """V_t warped from the anchor at ED and from a later frame: the convention of the pull-back."""
    _, knots = _twist(8)
    y, x = torch.meshgrid(*([(torch.arange(32) - 15.5) * 2.0] * 2), indexing="ij")

    def image(knot: torch.Tensor) -> torch.Tensor:
        return torch.sin(0.2 * (y + knot[1])) + torch.cos(0.15 * (x + knot[2]))

    frames = torch.stack([image(knot) for knot in knots])[:, None]  # exact, of the anatomy at ED
    turned = DisplacementPath(knots).about(0.375, (10.0, 2.0, 2.0)).knots
    seen = warp(frames[3:4], turned, (10.0, 2.0, 2.0))
    middle = (..., slice(4, -4), slice(4, -4))
    torch.testing.assert_close(seen[middle], frames[middle], atol=0.05, rtol=0)
    wrong = warp(frames[3:4], knots - knots[3:4], (10.0, 2.0, 2.0))
    assert (wrong - frames)[middle].abs().max() > 0.08


def test_a_path_about_a_phase_between_frames_passes_through_zero_there():
    _, knots = _twist(8)
    turned = DisplacementPath(knots).about(0.3, (10.0, 2.0, 2.0))
    assert turned.displacement([0.3]).abs().max() < 0.1 * turned.knots.abs().max()
    resampled = turned.resample(10)
    assert not resampled.knots[3].any()
    with pytest.raises(ValueError, match="its own frame must be zero"):
        DisplacementPath(knots, anchor_phase=0.25)
