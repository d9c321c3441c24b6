"""Classifier-free guidance (Ho and Salimans, 2022), for every baseline that drops its condition in training."""

from torch import Tensor


def guided(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """unconditional + scale (conditional - unconditional): what a network says, moved away from what it says untold."""
    return unconditional + scale * (conditional - unconditional)
