import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline

from cof.motion.path import DisplacementPath, cardinal_weights


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
