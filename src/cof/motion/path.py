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

from cof.config.base import Triple
from cof.motion.integrate import compose, invert

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
        knots: [T, 3, Z, Y, X] displacement in mm at phases k / T, of any floating type.
        anchor_phase: phase s of the frame to which the displacement points; the knot that lies there is zero.
    """

    def __init__(self, knots: Tensor, anchor_phase: float = 0.0) -> None:
        at = _knot(anchor_phase, len(knots))
        if at is not None and torch.count_nonzero(knots[at]):
            raise ValueError("a displacement path points to the anchor: the displacement of its own frame must be zero")
        self.knots, self.anchor_phase = knots, anchor_phase

    @classmethod
    def pinned(cls, knots: Tensor, anchor_phase: float) -> "DisplacementPath":
        """The path with these knots less their spline's value at the anchor: the integral of its rate from there on."""
        weights = cardinal_weights([anchor_phase], len(knots), dtype=knots.dtype).to(knots.device)
        return _zeroed(knots - torch.tensordot(weights, knots, dims=1), anchor_phase)

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
        return _zeroed(self.displacement(np.arange(frames) / frames), self.anchor_phase)

    def about(self, phase: float, spacing_mm: Triple) -> "DisplacementPath":
        """The same motion as a path that points to the frame at another phase.

        With phi_t = id + u_t, frame t is V_t(x) = V_s(phi_t(x)), s the anchor's phase. Frame r is V_r = V_s o phi_r, so
        that V_s = V_r o phi_r^-1 and V_t = V_r o (phi_r^-1 o phi_t): seen from frame r, the displacement of frame t is
        that of x -> phi_r^-1(phi_t(x)), and zero at t = r.

        Args:
            phase: r, any real number; between knots u_r is the spline's.
            spacing_mm: voxel spacing (z, y, x) of the knots.
        """
        phase = phase % 1.0
        if phase == self.anchor_phase:
            return self
        back = invert(self.displacement([phase]), spacing_mm)
        return _zeroed(compose(back, self.knots.to(back.dtype), spacing_mm), phase)

    def low_pass(self, harmonics: int) -> "DisplacementPath":
        """The motion without its faster part: the first `harmonics` of the cycle, and again zero at the anchor.

        Noise of single frames is amplified by differentiation; so many harmonics are smooth at any phase.
        """
        dtype = torch.promote_types(self.knots.dtype, torch.float32)
        spectrum = torch.fft.rfft(self.knots.to(dtype), dim=0)
        spectrum[harmonics + 1 :] = 0
        knots = torch.fft.irfft(spectrum, n=len(self), dim=0)
        return DisplacementPath.pinned(knots, self.anchor_phase)

    def _combine(self, phases: Phases, derivative: int) -> Tensor:
        dtype = torch.promote_types(self.knots.dtype, torch.float32)
        weights = cardinal_weights(phases, len(self), derivative, dtype).to(self.knots.device)
        return torch.tensordot(weights, self.knots.to(dtype), dims=1)


def _knot(phase: float, knots: int) -> int | None:
    """The knot that lies at a phase, if there is one."""
    place = phase * knots
    return round(place) % knots if abs(place - round(place)) < 1e-6 else None


def _zeroed(knots: Tensor, anchor_phase: float) -> DisplacementPath:
    """A path whose knot at the anchor is zero up to rounding and interpolation."""
    at = _knot(anchor_phase, len(knots))
    if at is not None:
        knots[at] = 0
    return DisplacementPath(knots, anchor_phase)
