"""Input channels of the labeller: the slice alone, or the slice and its two neighbours.

At the base and at the apex, a single slice does not always show whether it still contains a ventricle; together with
its neighbours it does.
"""

from typing import TypeVar

import numpy as np
import torch

Stack = TypeVar("Stack", np.ndarray, torch.Tensor)

ALONE = ("cine",)
BETWEEN_NEIGHBOURS = ("cine", "slice towards the base", "slice towards the apex")


def channel_names(neighbours: bool) -> tuple[str, ...]:
    """Return the names of the network's input channels for nnU-Net's `dataset.json`."""
    return BETWEEN_NEIGHBOURS if neighbours else ALONE


def channels(stack: Stack, count: int) -> list[Stack]:
    """Return the input channels of a stack.

    Args:
        stack: [Z, ...], slices from base to apex.
        count: 1, or 3 with neighbours.

    Returns:
        `count` stacks [Z, ...]: the stack itself; with neighbours also the previous and the next slice of every slice.
        At the ends of the stack, the slice itself replaces its missing neighbour.
    """
    if count == len(ALONE):
        return [stack]
    index = np.arange(len(stack))
    return [stack, stack[np.maximum(index - 1, 0)], stack[np.minimum(index + 1, len(stack) - 1)]]
