"""EDM, the diffusion model of Karras et al. (Elucidating the design space of diffusion-based generative models, NeurIPS
2022): preconditioning and training noise, for data of any standard deviation; and DPM-Solver++ (Lu et al.,
arXiv:2211.01095), which samples in fewer steps than the paper's own solver.

Noise levels are standard deviations. What the paper states as numbers holds for data of its own standard deviation, so
that here levels are counted in units of sigma_data, the data's.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

Network = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Preconditioning:
    """Table 1 of the paper: input and target of the network have unit variance at every noise level.

    Attributes:
        skip: c_skip, share of the noisy sample in the denoised one.
        out: c_out, scale of the network's output.
        into: c_in, scale of its input.
        noise: c_noise, what the network is told of the level: ln(sigma / sigma_data) / 4.
    """

    skip: Tensor
    out: Tensor
    into: Tensor
    noise: Tensor

    @classmethod
    def at(cls, sigma: Tensor, sigma_data: Tensor) -> "Preconditioning":
        """At noise levels [N], for data of a standard deviation []."""
        total = sigma**2 + sigma_data**2
        return cls(
            sigma_data**2 / total, sigma * sigma_data / total.sqrt(), total.rsqrt(), (sigma / sigma_data).log() / 4
        )


def denoised(network: Network, noisy: Tensor, sigma: Tensor, sigma_data: Tensor) -> Tensor:
    """D(x; sigma) = c_skip x + c_out F(c_in x; c_noise), equation (7).

    Args:
        network: F, of inputs [N, ...] and c_noise [N].
        noisy: x, [N, ...].
        sigma: [N].
        sigma_data: [].
    """
    scales = Preconditioning.at(sigma, sigma_data)
    each = (-1, *[1] * (noisy.ndim - 1))
    return scales.skip.view(each) * noisy + scales.out.view(each) * network(
        scales.into.view(each) * noisy, scales.noise
    )


def weighted_square(error: Tensor, sigma: Tensor, sigma_data: Tensor) -> Tensor:
    """Mean over everything of lambda(sigma) (D - y)^2 with lambda = 1 / c_out^2, for errors [N, ...]."""
    out = Preconditioning.at(sigma, sigma_data).out
    return (error / out.view(-1, *[1] * (error.ndim - 1))).square().mean()


def training_sigma(rng: np.random.Generator, mean: float, sd: float) -> float:
    """A noise level in units of sigma_data: ln sigma is normal."""
    return math.exp(rng.normal(mean, sd))


def levels(steps: int, lowest: float, highest: float, rho: float = 7.0) -> Tensor:
    """Falling noise levels [steps + 1], the last of them 0 (equation (5))."""
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    powers = highest ** (1 / rho) + ramp * (lowest ** (1 / rho) - highest ** (1 / rho))
    return torch.cat([powers**rho, powers.new_zeros(1)]).float()


def solve(denoise: Callable[[Tensor, float], Tensor], noise: Tensor, sigmas: Tensor) -> Tensor:
    """DPM-Solver++(2M), deterministic and of second order, at one evaluation a step (algorithm 2 of its paper).

    Noise falls with its level, however large the step. Heun's method (algorithm 1 of EDM) leaves up to half of it where
    a level is a small share of the one before, as in a handful of steps.

    Args:
        denoise: D(x; sigma) of a sample and its noise level.
        noise: standard normal.
        sigmas: falling levels, the last of them 0.

    Returns:
        The sample, shaped as `noise`.
    """
    ladder = sigmas.tolist()
    sample = ladder[0] * noise
    before: tuple[Tensor, float] | None = None
    for sigma, following in pairwise(ladder):
        clean = aim = denoise(sample, sigma)
        if following == 0:
            return clean
        step = math.log(sigma / following)
        if before is not None:
            aim = clean + step / (2 * before[1]) * (clean - before[0])
        sample = torch.lerp(aim, sample, following / sigma)
        before = clean, step
    raise ValueError("the last noise level must be 0")
