"""Registered displacement paths on disk: safetensors with one tensor and its provenance."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

_TENSOR = "displacement"
# One JSON value under one key: the order of several keys in the file would vary from run to run.
_RECORD = "cof"


def save_displacement(path: Path, displacement: Tensor, record: dict[str, Any]) -> None:
    """Write a displacement path.

    Args:
        path: a `.safetensors` file.
        displacement: [T, 3, Z, Y/2, X/2] in mm (z, y, x) on the motion grid; stored as float16, which resolves 0.016 mm
            at 30 mm.
        record: what the file says about itself, as JSON values: provenance and measures of regularity.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    tensor = displacement.detach().cpu().to(torch.float16).contiguous()
    save_file({_TENSOR: tensor}, path, metadata={_RECORD: json.dumps(record, sort_keys=True)})


def load_displacement(path: Path) -> Tensor:
    """The displacement path [T, 3, Z, Y/2, X/2] in mm, float16."""
    with safe_open(path, framework="pt") as file:
        return file.get_tensor(_TENSOR)


def load_record(path: Path) -> dict[str, Any]:
    """What `save_displacement` recorded beside the displacement."""
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()[_RECORD])
