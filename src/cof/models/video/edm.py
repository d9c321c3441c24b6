"""EDM, the diffusion model of Karras et al. (Elucidating the design space of diffusion-based generative models, NeurIPS
2022), with preconditioning and training noise for data of any standard deviation; and DPM-Solver++ (Lu et al.,
arXiv:2211.01095), which needs fewer steps than the solver of EDM.

Noise levels are standard deviations. The numbers in the EDM paper hold for the standard deviation of its own data, so
here levels are in units of sigma_data, the standard deviation of our data.
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
    """Factors of table 1 of EDM, with which input and target of the network have unit variance at every noise level.

    Attributes:
        skip: c_skip, share of the noisy sample in the denoised one.
        out: c_out, scale of the network's output.
        into: c_in, scale of the network's input.
        noise: c_noise, the noise level as an input of the network: ln(sigma / sigma_data) / 4.
    """

    skip: Tensor
    out: Tensor
    into: Tensor
    noise: Tensor

    @classmethod
    def at(cls, sigma: Tensor, sigma_data: Tensor) -> "Preconditioning":
        """Compute the factors at noise levels [N], for data with the standard deviation sigma_data []."""
        total = sigma**2 + sigma_data**2
        return cls(
            sigma_data**2 / total, sigma * sigma_data / total.sqrt(), total.rsqrt(), (sigma / sigma_data).log() / 4
        )


def denoised(network: Network, noisy: Tensor, sigma: Tensor, sigma_data: Tensor) -> Tensor:
    """Compute D(x; sigma) = c_skip x + c_out F(c_in x; c_noise), eq (7) of EDM.

    Args:
        network: F, a function of inputs [N, ...] and c_noise [N].
        noisy: x, [N, ...].
        sigma: [N], noise levels.
        sigma_data: [], standard deviation of the data.
    """
    scales = Preconditioning.at(sigma, sigma_data)
    each = (-1, *[1] * (noisy.ndim - 1))
    return scales.skip.view(each) * noisy + scales.out.view(each) * network(
        scales.into.view(each) * noisy, scales.noise
    )


def weighted_square(error: Tensor, sigma: Tensor, sigma_data: Tensor) -> Tensor:
    """Compute the mean of lambda(sigma) (D - y)^2 with lambda = 1 / c_out^2, for errors D - y [N, ...]."""
    out = Preconditioning.at(sigma, sigma_data).out
    return (error / out.view(-1, *[1] * (error.ndim - 1))).square().mean()


def training_sigma(rng: np.random.Generator, mean: float, sd: float) -> float:
    """Draw a noise level in units of sigma_data; its logarithm has a normal distribution."""
    return math.exp(rng.normal(mean, sd))


def levels(steps: int, lowest: float, highest: float, rho: float = 7.0) -> Tensor:
    """Return decreasing noise levels [steps + 1], of which the last is 0: eq (5) of EDM."""
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    powers = highest ** (1 / rho) + ramp * (lowest ** (1 / rho) - highest ** (1 / rho))
    return torch.cat([powers**rho, powers.new_zeros(1)]).float()


def solve(denoise: Callable[[Tensor, float], Tensor], noise: Tensor, sigmas: Tensor) -> Tensor:
    """Sample by DPM-Solver++(2M): deterministic, second order, one evaluation per step (algorithm 2 of its paper).

    The noise in the sample decreases in proportion to its level, also with large steps. Heun's method (algorithm 1 of
    EDM) leaves up to half of the noise if a level is a small share of the previous one, as with only a few steps.

    Args:
        denoise: D(x; sigma), from a sample and its noise level.
        noise: standard normal noise.
        sigmas: decreasing noise levels, of which the last is 0.

    Returns:
        The sample, with the shape of `noise`.

    Raises:
        ValueError: the last noise level is not 0.
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
    raise ValueError(f"the last noise level is {ladder[-1]:g}; it must be 0")
