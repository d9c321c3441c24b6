"""Input channels of the labeller: the slice alone, or the slice and its two neighbours.

One slice does not always tell whether it still shows a ventricle: at the base and at the apex, the next one does.
"""

from typing import TypeVar

import numpy as np
import torch

Stack = TypeVar("Stack", np.ndarray, torch.Tensor)

ALONE = ("cine",)
BETWEEN_NEIGHBOURS = ("cine", "slice towards the base", "slice towards the apex")


def channel_names(neighbours: bool) -> tuple[str, ...]:
    """Names of the network's input channels, as nnU-Net's `dataset.json` lists them."""
    return BETWEEN_NEIGHBOURS if neighbours else ALONE


def channels(stack: Stack, count: int) -> list[Stack]:
    """Return the input channels of a stack.

    Args:
        stack: [Z, ...], slices from base to apex.
        count: 1, or 3 with neighbours.

    Returns:
        `count` stacks [Z, ...]: the stack, then for every slice the one before it and the one after it. An end slice
        stands in for its missing neighbour.
    """
    if count == len(ALONE):
        return [stack]
    index = np.arange(len(stack))
    return [stack, stack[np.maximum(index - 1, 0)], stack[np.minimum(index + 1, len(stack) - 1)]]
