"""Schedule and decoding of masked token modelling, without the network (MaskGIT, Chang et al., CVPR 2022)."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


def masked_count(progress: float, tokens: int) -> int:
    """Count the tokens that are still masked at a progress from 0 to 1: floor(tokens cos(pi progress / 2))."""
    return math.floor(tokens * math.cos(math.pi * progress / 2) + 1e-9)


def hide(tokens: int, rng: np.random.Generator) -> np.ndarray:
    """Choose the tokens that a training example hides, bool [tokens].

    Their number is that of masked tokens at a uniformly random progress, at least one.
    """
    count = max(1, masked_count(rng.random(), tokens))
    return rng.permutation(tokens) < count


@torch.no_grad()
def fill_in(
    logits: Callable[[Tensor], Tensor],
    masked: Tensor,
    mask: int,
    steps: int,
    temperature: float,
    rng: np.random.Generator,
) -> Tensor:
    """Fill in tokens step by step until none is masked, the most confident first.

    Every step draws all masked tokens from softmax(logits / heat); the heat falls from `temperature` towards zero. The
    drawn tokens with the lowest probability are masked again, as many as the cosine schedule says. The noise of the
    draws is the same for all sequences, so slices of a stack differ only where their logits differ.

    Args:
        logits: computes the logits of the codes [B, ..., codes] from tokens [B, ...], of which some are `mask`.
        masked: [B, ...], all of them `mask`.
        mask: number of the mask token.
        steps: number of calls of `logits`.
        temperature: heat of the first draw; 0 always takes the most probable code.
        rng: random generator of the noise.

    Returns:
        Tokens [B, ...], none of them masked.
    """
    found = masked.flatten(1)
    for step in range(steps):
        scores = logits(found.view_as(masked)).float().flatten(1, -2)
        gumbel = torch.from_numpy(rng.gumbel(size=tuple(scores.shape[1:])))
        heat = temperature * (1 - step / steps)
        drawn = (scores + heat * gumbel.to(scores)).argmax(-1)
        hidden = found == mask
        found = torch.where(hidden, drawn, found)
        confidence = scores.softmax(-1).gather(-1, drawn[..., None])[..., 0].masked_fill(~hidden, torch.inf)
        left = masked_count((step + 1) / steps, found.shape[1])
        found = found.scatter(1, confidence.topk(left, largest=False).indices, mask)
    return found.view_as(masked)
