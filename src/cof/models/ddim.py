"""Noise schedule and sampler of the diffusion models of motion: cosine schedule and DDIM, both from MONAI."""

from collections.abc import Callable

import torch
from monai.networks.schedulers import DDIMScheduler, DDPMScheduler
from torch import Tensor

LEVELS = 1000


def noising() -> DDPMScheduler:
    """Return the scheduler that adds noise: `LEVELS` noise levels, cosine schedule (Nichol and Dhariwal, ICML 2021)."""
    return DDPMScheduler(LEVELS, schedule="cosine", prediction_type="sample", clip_sample=False)


@torch.no_grad()
def ddim(denoise: Callable[[Tensor, int], Tensor], noise: Tensor, steps: int) -> Tensor:
    """Sample by DDIM with eta 0 (Song et al., ICLR 2021).

    Args:
        denoise: predicts the clean sample from a noisy sample and its noise level, 0 to `LEVELS` - 1.
        noise: standard normal noise, of any shape.
        steps: number of calls of `denoise`.

    Returns:
        The sample, with the shape of `noise`.
    """
    scheduler = DDIMScheduler(LEVELS, schedule="cosine", prediction_type="sample", clip_sample=False)
    scheduler.set_timesteps(steps)
    # MONAI's own list of levels has a wider spacing than the stride that its `step` assumes, so each call of `denoise`
    # would get the wrong noise level. These levels have that stride.
    sample = clean = noise
    for level in range(LEVELS - 1, -1, -(LEVELS // steps))[:steps]:
        sample, clean = scheduler.step(denoise(sample, level), level, sample)
    return clean
