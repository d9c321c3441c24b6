"""Classifier-free guidance (Ho and Salimans, 2022), which every rival that drops its condition in training can use."""

from torch import Tensor


def guided(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """unconditional + scale (conditional - unconditional): what a network says, moved away from what it says untold."""
    return unconditional + scale * (conditional - unconditional)
