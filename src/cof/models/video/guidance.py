"""Classifier-free guidance (Ho and Salimans, 2022), for all baselines that drop their condition in training."""

from collections.abc import Callable
from typing import TypeVar

from torch import Tensor

Condition = TypeVar("Condition")


def guided(network: Callable[[Condition], Tensor], told: Condition, untold: Condition, scale: float) -> Tensor:
    """Apply classifier-free guidance: u + scale (c - u), with c and u the predictions with and without the condition.

    Args:
        network: computes the prediction from a condition.
        told: the condition.
        untold: the null condition; not used at a scale of 1.
        scale: guidance scale; 1 is no guidance.
    """
    with_it = network(told)
    if scale == 1:
        return with_it
    without = network(untold)
    return without + scale * (with_it - without)
