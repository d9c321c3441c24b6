"""A trained network in its model's folder: weights as safetensors, and the log of the training."""

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
    """What writes a trained network and its log into a folder."""

    def save(out: Path) -> None:
        save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, out / WEIGHTS)
        log.to_csv(out / "log.csv", index=False, float_format="%.6g")

    return save


def restored(network: Network, folder: Path) -> Network:
    """A network with the weights that `saving` wrote into `folder`.

    Raises:
        UsageError: they are of a network of other settings.
    """
    try:
        network.load_state_dict(load_file(folder / WEIGHTS))
    except RuntimeError:
        raise UsageError("the weights of this model were trained with other settings of its network") from None
    return network
