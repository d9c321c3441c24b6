"""Displacement as a continuous function of the cardiac phase.

The registered displacements u_k at phases k / T (eq (7) of the paper) are the knots of a periodic cubic spline in every
voxel, with u_0 = u_T = 0. The reference velocity of flow matching, v*(x, t) = d u_t(x) / dt at fixed x, is the exact
derivative of the spline, so its integral is the displacement again (exactly, with Simpson's rule).

A spline is linear in its knots: u(x, t) = sum_k W_k(t) u_k(x), with weights that depend only on t and T.
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
    """Return the periodic cubic splines through the T unit vectors of knots at phases k / T."""
    values = np.eye(knots)
    return CubicSpline(np.arange(knots + 1) / knots, np.concatenate([values, values[:1]]), bc_type="periodic")


def cardinal_weights(phases: Phases, knots: int, derivative: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Compute the weights [P, T] of T periodic knots at phases [P].

    Args:
        phases: phases at which to evaluate the spline; any real numbers, 1 is a whole cycle.
        knots: number of knots T, at phases k / T.
        derivative: 0 for the value of the spline, 1 for its derivative in phase (per cycle).
        dtype: type of the result.
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
            raise ValueError(
                f"a displacement path points to the anchor, here at phase {anchor_phase}: the displacement of its own "
                "frame must be zero"
            )
        self.knots, self.anchor_phase = knots, anchor_phase

    @classmethod
    def pinned(cls, knots: Tensor, anchor_phase: float) -> "DisplacementPath":
        """Make a path that is zero at the anchor, by subtracting the spline's value at the anchor from the knots."""
        weights = cardinal_weights([anchor_phase], len(knots), dtype=knots.dtype).to(knots.device)
        return _zeroed(knots - torch.tensordot(weights, knots, dims=1), anchor_phase)

    def __len__(self) -> int:
        return len(self.knots)

    def displacement(self, phases: Phases) -> Tensor:
        """Return the displacement u(., t) at phases [P]: [P, 3, Z, Y, X] in mm, in at least single precision."""
        return self._combine(phases, derivative=0)

    def velocity(self, phases: Phases) -> Tensor:
        """Return the velocity v*(., t) = du/dt (fixed x) at phases [P]: [P, 3, Z, Y, X] in mm per cycle."""
        return self._combine(phases, derivative=1)

    def resample(self, frames: int) -> "DisplacementPath":
        """Return the same motion with knots at phases k / frames."""
        if frames == len(self):
            return self
        return _zeroed(self.displacement(np.arange(frames) / frames), self.anchor_phase)

    def about(self, phase: float, spacing_mm: Triple) -> "DisplacementPath":
        """Return the same motion as a path that points to the frame at another phase, a new anchor.

        With phi_t = id + u_t and s the phase of the anchor, frame t is V_t = V_s o phi_t. For the new anchor at phase
        r, V_r = V_s o phi_r, so V_s = V_r o phi_r^-1 and V_t = V_r o (phi_r^-1 o phi_t). The displacement from frame t
        to frame r is therefore that of x -> phi_r^-1(phi_t(x)); it is zero at t = r.

        Args:
            phase: r, any real number; between knots, u_r is the value of the spline.
            spacing_mm: voxel spacing (z, y, x) of the knots.
        """
        phase = phase % 1.0
        if phase == self.anchor_phase:
            return self
        back = invert(self.displacement([phase]), spacing_mm)
        return _zeroed(compose(back, self.knots.to(back.dtype), spacing_mm), phase)

    def low_pass(self, harmonics: int) -> "DisplacementPath":
        """Return the motion with only the first `harmonics` harmonics of the cycle, again zero at the anchor.

        The derivative amplifies the noise of single frames; a low-pass removes it.
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
    """Return the index of the knot at a phase; None if there is no knot."""
    place = phase * knots
    return round(place) % knots if abs(place - round(place)) < 1e-6 else None


def _zeroed(knots: Tensor, anchor_phase: float) -> DisplacementPath:
    """Make a path whose knot at the anchor is set to exactly zero; before, it is zero up to numerical errors."""
    at = _knot(anchor_phase, len(knots))
    if at is not None:
        knots[at] = 0
    return DisplacementPath(knots, anchor_phase)
