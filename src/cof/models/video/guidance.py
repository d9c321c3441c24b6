"""Classifier-free guidance (Ho and Salimans, 2022), for every baseline that drops its condition in training."""

from collections.abc import Callable
from typing import TypeVar

from torch import Tensor

Condition = TypeVar("Condition")


def guided(network: Callable[[Condition], Tensor], told: Condition, untold: Condition, scale: float) -> Tensor:
    """The network's output with a condition, moved by `scale` away from its output without: u + scale (c - u).

    Args:
        network: gives the output for a condition.
        told: the condition.
        untold: the dropped condition; unused at a scale of 1.
        scale: 1 is no guidance.
    """
    with_it = network(told)
    if scale == 1:
        return with_it
    without = network(untold)
    return without + scale * (with_it - without)
