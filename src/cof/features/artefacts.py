"""Features on disk: one file per batch, from which a single subject can be read without the others."""

import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from cof.artefacts.folders import whole_file
from cof.errors import UsageError

if TYPE_CHECKING:  # the report reads features without torch
    from torch import Tensor

# Only one key with one JSON value: the order of several keys in the file would vary between runs.
_RECORD = "cof"


def write_features(path: Path, features: "Mapping[str, Mapping[str, Tensor]]", record: dict[str, Any]) -> None:
    """Write the features of a batch, by subject and network, as float16."""
    named = {
        f"{subject}/{name}": value.half().numpy() for subject, of in features.items() for name, value in of.items()
    }
    with whole_file(path) as aside:
        save_file(named, aside, metadata={_RECORD: json.dumps(record, sort_keys=True)})


class Features:
    """The features of all batches of real hearts, or of those of one model.

    Args:
        paths: `features/{model}/{batch}.safetensors`.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self.paths = list(paths)

    @cached_property
    def _places(self) -> dict[str, Path]:
        places = {}
        for path in self.paths:
            with safe_open(path, framework="np") as file:
                places.update(dict.fromkeys(file.keys(), path))
        return places

    @cached_property
    def networks(self) -> dict[str, dict[str, str]]:
        """Name and SHA-256 of every network.

        Raises:
            UsageError: the networks differ between batches.
        """
        found = []
        for path in self.paths:
            with safe_open(path, framework="np") as file:
                found.append(json.loads(file.metadata()[_RECORD])["networks"])
        if any(one != found[0] for one in found):
            raise UsageError(
                "features: the batches were computed by different networks; run `cof features` again for all of them"
            )
        return found[0] if found else {}

    def subjects(self, network: str) -> set[str]:
        """Return the subjects with features of a network."""
        return {name.split("/")[0] for name in self._places if name.endswith(f"/{network}")}

    def of(self, subject: str, network: str) -> np.ndarray:
        """Read a subject's features: float32 [T, Z, d], or [Z, d] for a network that takes videos."""
        name = f"{subject}/{network}"
        with safe_open(self._places[name], framework="np") as file:
            return file.get_tensor(name).astype(np.float32)
