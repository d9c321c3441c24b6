"""Files of registered displacement paths: safetensors with one tensor and its provenance."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

_TENSOR = "displacement"
# All metadata is one JSON value under one key, because the order of several keys would vary from run to run.
_RECORD = "cof"


def save_displacement(path: Path, displacement: Tensor, record: dict[str, Any]) -> None:
    """Write a displacement path.

    Args:
        path: a `.safetensors` file.
        displacement: [T, 3, Z, Y/2, X/2] in mm (z, y, x) on the motion grid; stored as float16, whose step is 0.016 mm
            at 30 mm.
        record: metadata as JSON values: provenance and measures of regularity.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    tensor = displacement.detach().cpu().to(torch.float16).contiguous()
    save_file({_TENSOR: tensor}, path, metadata={_RECORD: json.dumps(record, sort_keys=True)})


def load_displacement(path: Path) -> Tensor:
    """Read a displacement path: float16 [T, 3, Z, Y/2, X/2] in mm (z, y, x)."""
    with safe_open(path, framework="pt") as file:
        return file.get_tensor(_TENSOR)


def load_record(path: Path) -> dict[str, Any]:
    """Read the metadata that `save_displacement` wrote with the displacement."""
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()[_RECORD])
