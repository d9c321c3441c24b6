import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cof.config.flow import OdeSettings
from cof.models.flow.ode import integrate
from cof.motion.path import DisplacementPath


def spline_path(frames: int = 10) -> DisplacementPath:
    knots = torch.randn(frames, 3, 2, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    knots[0] = 0
    return DisplacementPath(knots)


@pytest.mark.parametrize("method", ["simpson", "rk4"])
def test_integral_of_the_reference_velocity_is_the_displacement(method):
    """Both are exact for the cubic spline whose derivative they integrate."""
    path = spline_path()
    u, residual = integrate(path.velocity, len(path), OdeSettings(method=method, phases_at_once=7))
    torch.testing.assert_close(u, path.knots, rtol=0, atol=1e-10)
    assert residual.abs().max() < 1e-10


def test_simpson_equals_the_runge_kutta_of_torchdiffeq():
    path = spline_path(16)
    simpson, _ = integrate(path.velocity, 16, OdeSettings())
    runge_kutta, _ = integrate(path.velocity, 16, OdeSettings(method="rk4"))
    torch.testing.assert_close(simpson, runge_kutta, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("midpoint", 2), ("simpson", 4), ("rk4", 4)])
def test_solvers_converge_with_their_order(method, order):
    """du/dt = cos(2 pi t) / (2 + sin(2 pi t)) is no polynomial; u = log(1 + sin(2 pi t) / 2) / (2 pi)."""

    def velocity(phases: torch.Tensor) -> torch.Tensor:
        angle = 2 * torch.pi * phases
        return (angle.cos() / (2 + angle.sin()))[:, None]

    def error(frames: int) -> float:
        u, _ = integrate(velocity, frames, OdeSettings(method=method))
        truth = np.log1p(np.sin(2 * np.pi * np.arange(frames) / frames) / 2) / (2 * np.pi)
        return float(np.abs(u[:, 0].numpy() - truth).max())

    assert error(16) / error(32) > 0.8 * 2**order


def test_dopri5_keeps_its_tolerance():
    def velocity(phases: torch.Tensor) -> torch.Tensor:
        return (2 * torch.pi * phases).cos()[:, None]

    u, _ = integrate(velocity, 12, OdeSettings(method="dopri5", tolerance=1e-6))
    truth = torch.sin(2 * torch.pi * torch.arange(12, dtype=torch.float64) / 12) / (2 * torch.pi)
    torch.testing.assert_close(u[:, 0], truth, rtol=0, atol=1e-5)


def test_projection_removes_a_constant_bias_and_reports_it():
    path, bias = spline_path(), 0.7

    def biased(phases: torch.Tensor) -> torch.Tensor:
        return path.velocity(phases) + bias

    open_cycle, residual = integrate(biased, len(path), OdeSettings())
    closed, same = integrate(biased, len(path), OdeSettings(closure="project"))
    torch.testing.assert_close(residual, torch.full_like(residual, bias))
    torch.testing.assert_close(same, residual)
    torch.testing.assert_close(closed, path.knots, rtol=0, atol=1e-10)
    assert (open_cycle - path.knots).abs().max() > 0.5


@given(frames=st.integers(1, 40), harmonics=st.integers(1, 12), seed=st.integers(0, 99))
def test_fourier_is_exact_for_velocities_of_few_harmonics(frames, harmonics, seed):
    rng = np.random.default_rng(seed)
    cosines, sines, mean = rng.normal(size=harmonics), rng.normal(size=harmonics), rng.normal()
    order = 2 * np.pi * np.arange(1, harmonics + 1)

    def velocity(phases: torch.Tensor) -> torch.Tensor:
        angle = phases.numpy()[:, None] * order
        return torch.from_numpy(mean + np.cos(angle) @ cosines + np.sin(angle) @ sines)[:, None]

    u, residual = integrate(velocity, frames, OdeSettings(method="fourier", harmonics=harmonics, phases_at_once=5))
    angle = np.arange(frames)[:, None] / frames * order
    truth = mean * np.arange(frames) / frames + (
        np.sin(angle) @ (cosines / order) + (1 - np.cos(angle)) @ (sines / order)
    )
    np.testing.assert_allclose(u[:, 0].numpy(), truth, atol=1e-12)
    assert float(residual) == pytest.approx(mean, abs=1e-12)


def test_fourier_nears_simpson_as_harmonics_are_added():
    """A velocity of harmonics up to 16, as the phase's embedding has."""
    path = spline_path(32)
    exact, _ = integrate(path.velocity, 32, OdeSettings())
    errors = [
        float((integrate(path.velocity, 32, OdeSettings(method="fourier", harmonics=k))[0] - exact).abs().max())
        for k in (8, 16, 64)
    ]
    assert errors[0] > 5 * errors[2]
    assert errors[2] < 0.02
