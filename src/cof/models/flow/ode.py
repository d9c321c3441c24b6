"""Integration of velocity to displacement: ODESolve in eq (10) of the paper.

The velocity is the derivative of the displacement in phase at a fixed point, du(x, t)/dt = v(x, t) with u(x, 0) = 0, as
in eqs (8) and (9). It does not depend on u, so integration is a quadrature and all phases can be evaluated at once.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torchdiffeq import odeint

from cof.config.flow import OdeSettings

Velocity = Callable[[Tensor], Tensor]


def integrate(velocity: Velocity, frames: int, settings: OdeSettings) -> tuple[Tensor, Tensor]:
    """Compute the displacement at the phases k / frames of one cycle.

    Args:
        velocity: function from phases [N], in increasing order, to velocities [N, ...] in mm per cycle.
        frames: number of frames T.
        settings: choice of the solver. `simpson` evaluates 2T + 1 phases in batches. `fourier` evaluates 2K + 1 phases,
            independent of T, and integrates K harmonics exactly. `rk4` (the 3/8 rule), `midpoint` and `euler` take one
            step per frame; `dopri5` chooses its steps.

    Returns:
        Displacement [T, ...] with u_0 = 0, and the closure residual u(., 1) [...] before any projection; both in mm.
    """
    solve = {"simpson": _simpson, "fourier": _fourier}.get(settings.method, _odeint)
    path = solve(velocity, frames, settings)
    residual = path[-1].clone()
    if settings.closure == "project":
        share = torch.linspace(0, 1, frames + 1, dtype=path.dtype, device=path.device)
        path = path - share.view(-1, *[1] * residual.ndim) * residual
    return path[:-1], residual


def _simpson(velocity: Velocity, frames: int, settings: OdeSettings) -> Tensor:
    """Integrate by u_{k+1} = u_k + (v_k + 4 v_{k+1/2} + v_{k+1}) / (6T), exact for piecewise cubic displacement."""
    rates = _evaluate(velocity, torch.arange(2 * frames + 1, dtype=torch.float64) / (2 * frames), settings)
    steps = (rates[:-2:2] + 4 * rates[1::2] + rates[2::2]) / (6 * frames)
    return torch.cat([torch.zeros_like(steps[:1]), steps.cumsum(0)])


def _fourier(velocity: Velocity, frames: int, settings: OdeSettings) -> Tensor:
    """Integrate the trigonometric polynomial of degree K through 2K + 1 velocities at phases j / (2K + 1)."""
    count = 2 * settings.harmonics + 1
    rates = _evaluate(velocity, torch.arange(count, dtype=torch.float64) / count, settings)
    weights = torch.from_numpy(integral_weights(np.arange(frames + 1) / frames, settings.harmonics)).to(rates)
    return torch.tensordot(weights, rates, dims=1)


def integral_weights(phases: np.ndarray, harmonics: int) -> np.ndarray:
    """Compute the weights of velocities at phases j / (2K + 1) in their integral from 0, by the Dirichlet kernel.

    Args:
        phases: [...], upper ends of the integrals.
        harmonics: number of harmonics K.

    Returns:
        float64 [..., 2K + 1]; exact for velocities of K harmonics.
    """
    count = 2 * harmonics + 1
    order = 2 * np.pi * np.arange(1, harmonics + 1)
    times, knots = np.asarray(phases, np.float64)[..., None], np.arange(count) / count
    waves = np.sin((times[..., None] - knots[:, None]) * order) + np.sin(knots[:, None] * order)
    return (times + (2 * waves / order).sum(-1)) / count


def _evaluate(velocity: Velocity, phases: Tensor, settings: OdeSettings) -> Tensor:
    return torch.cat([velocity(chunk) for chunk in phases.split(settings.phases_at_once)])


def _odeint(velocity: Velocity, frames: int, settings: OdeSettings) -> Tensor:
    start = torch.zeros_like(velocity(torch.zeros(1, dtype=torch.float64))[0])
    times = torch.linspace(0, 1, frames + 1, dtype=torch.float64, device=start.device)
    return odeint(
        lambda time, _: velocity(time[None])[0],
        start,
        times,
        rtol=settings.tolerance,
        atol=settings.tolerance,
        method=settings.method,
        options=None if settings.method == "dopri5" else {"step_size": 1 / frames},
    )
