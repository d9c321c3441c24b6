"""Noise along a cosine, which diffusion models of motion learn to remove, and DDIM, which removes it; both MONAI's."""

from collections.abc import Callable

import torch
from monai.networks.schedulers import DDIMScheduler, DDPMScheduler
from torch import Tensor

LEVELS = 1000


def noising() -> DDPMScheduler:
    """What adds noise: `LEVELS` levels along a cosine (Nichol and Dhariwal, ICML 2021)."""
    return DDPMScheduler(LEVELS, schedule="cosine", prediction_type="sample", clip_sample=False)


@torch.no_grad()
def ddim(denoise: Callable[[Tensor, int], Tensor], noise: Tensor, steps: int) -> Tensor:
    """DDIM with eta 0 (Song et al., ICLR 2021): from noise to what a denoiser finds behind it.

    Args:
        denoise: the clean sample that a noisy one hides, from the sample and its level, 0 to `LEVELS` - 1.
        noise: standard normal.
        steps: calls of `denoise`.

    Returns:
        The sample, shaped as `noise`.
    """
    scheduler = DDIMScheduler(LEVELS, schedule="cosine", prediction_type="sample", clip_sample=False)
    scheduler.set_timesteps(steps)
    # MONAI spreads its levels wider than the stride by which its steps go down: each would see the noise of another.
    sample = clean = noise
    for level in range(LEVELS - 1, -1, -(LEVELS // steps))[:steps]:
        sample, clean = scheduler.step(denoise(sample, level), level, sample)
    return clean
