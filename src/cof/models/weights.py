"""Files of a trained network in the folder of its model: weights as safetensors, and the log of the training."""

from pathlib import Path
from typing import TypeVar

import pandas as pd
from safetensors.torch import load_file, save_file
from torch import nn

from cof.errors import UsageError
from cof.models.base import Save

WEIGHTS = "weights.safetensors"

Network = TypeVar("Network", bound=nn.Module)


def saving(network: nn.Module, log: pd.DataFrame) -> Save:
    """Return a function that writes a trained network and its log into a folder."""

    def save(out: Path) -> None:
        save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, out / WEIGHTS)
        log.to_csv(out / "log.csv", index=False, float_format="%.6g")

    return save


def restored(network: Network, folder: Path) -> Network:
    """Load the weights that `saving` wrote into `folder` into a network.

    Raises:
        UsageError: the weights belong to a network with other settings.
    """
    try:
        network.load_state_dict(load_file(folder / WEIGHTS))
    except RuntimeError:
        raise UsageError(
            f"{folder / WEIGHTS}: trained with other settings of its network; use those settings, or train again"
        ) from None
    return network
