"""Displacement as a continuous function of the cardiac phase.

The registered displacements u_k at phases k / T (equation (7) of the paper) are the knots of a periodic cubic spline in
every voxel, with u_0 = u_T = 0. The reference velocity of flow matching, v*(x, t) = d u_t(x) / dt at fixed x, is the
spline's exact derivative, so that integrating it gives the displacements back (Simpson's rule does so exactly).

A spline is linear in its knots: u(x, t) = sum_k W_k(t) u_k(x), with weights that depend on t and T alone.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor

Phases = Tensor | np.ndarray | Sequence[float]


@lru_cache(maxsize=8)
def _cardinal_spline(knots: int) -> CubicSpline:
    """The periodic cubic spline through each unit vector of knots at k / T."""
    values = np.eye(knots)
    return CubicSpline(np.arange(knots + 1) / knots, np.concatenate([values, values[:1]]), bc_type="periodic")


def cardinal_weights(phases: Phases, knots: int, derivative: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Weights [P, T] of T periodic knots at phases [P] (in cycles, any real number).

    Args:
        phases: where to evaluate.
        knots: number T of knots, at phases k / T.
        derivative: 0 for the spline's value, 1 for its derivative by the phase (per cycle).
        dtype: of the result.
    """
    at = np.asarray(phases, np.float64) % 1.0
    return torch.from_numpy(_cardinal_spline(knots)(at, derivative)).to(dtype)


class DisplacementPath:
    """The motion of one heart over its cycle.

    Args:
        knots: [T, 3, Z, Y, X] displacement in mm at phases k / T, of any floating type; the first is zero.
    """

    def __init__(self, knots: Tensor) -> None:
        if torch.count_nonzero(knots[0]):
            raise ValueError("a displacement path starts at the anchor: its first displacement must be zero")
        self.knots = knots

    def __len__(self) -> int:
        return len(self.knots)

    def displacement(self, phases: Phases) -> Tensor:
        """u(., t) in mm, [P, 3, Z, Y, X] in at least single precision, at phases [P]."""
        return self._combine(phases, derivative=0)

    def velocity(self, phases: Phases) -> Tensor:
        """v*(., t) = du/dt at fixed x, in mm per cycle, [P, 3, Z, Y, X] in at least single precision, at phases [P]."""
        return self._combine(phases, derivative=1)

    def resample(self, frames: int) -> "DisplacementPath":
        """The same motion with knots at k / frames."""
        if frames == len(self):
            return self
        knots = self.displacement(np.arange(frames) / frames)
        knots[0] = 0  # it is, up to rounding
        return DisplacementPath(knots)

    def low_pass(self, harmonics: int) -> "DisplacementPath":
        """The motion without its faster part: the first `harmonics` of the cycle, and again zero at the anchor.

        Noise of single frames is amplified by differentiation; so many harmonics are smooth at any phase.
        """
        dtype = torch.promote_types(self.knots.dtype, torch.float32)
        spectrum = torch.fft.rfft(self.knots.to(dtype), dim=0)
        spectrum[harmonics + 1 :] = 0
        knots = torch.fft.irfft(spectrum, n=len(self), dim=0)
        return DisplacementPath(knots - knots[:1])

    def _combine(self, phases: Phases, derivative: int) -> Tensor:
        dtype = torch.promote_types(self.knots.dtype, torch.float32)
        weights = cardinal_weights(phases, len(self), derivative, dtype).to(self.knots.device)
        return torch.tensordot(weights, self.knots.to(dtype), dims=1)
