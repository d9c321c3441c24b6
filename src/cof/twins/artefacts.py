"""Files of generated hearts: write and read them."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from cof.cine.grid import Placement
from cof.cine.volume import write_cine, write_labels
from cof.ecg.record import LEADS
from cof.twins.function import heart_function
from cof.twins.generation import Twin

NAME = "twin"
FILES = (
    *(f"{NAME}.{end}" for end in ("nii", "json", "labels.nii.gz", "safetensors", "function.json")),
    "volumes.csv",
    "summary.json",
)

# What the heart was made from, beside it: the scan if it is a whole cine, and the cycle of the ECG if there is one.
SCAN = "scan"
BEAT = "beat.csv"
BESIDE = (*(f"{SCAN}.{end}" for end in ("nii", "json", "labels.nii.gz")), BEAT)

# All metadata is one JSON value under one key, because the order of several keys would vary from run to run.
_RECORD = "cof"


def write_twin(folder: Path, name: str, twin: Twin, labels: np.ndarray, provenance: dict[str, Any]) -> None:
    """Write the files of one generated heart.

    Args:
        folder: gets `{name}.nii` with its sidecar, `{name}.labels.nii.gz`, `{name}.safetensors` (canonical `cine` and,
            if the twin has one, `displacement`, both float16; `placement` in the metadata) and `{name}.function.json`.
        name: name of the subject.
        twin: the generated heart.
        labels: uint8 [T, Z, Y, X], labels of its native cine.
        provenance: provenance for the sidecar and the tensors.
    """
    native = replace(twin.native, provenance=provenance)
    record = {"measures": dict(twin.made.measures), "anchor_phase": twin.anchor_phase}
    if not twin.timed:
        record["timed"] = False
    write_cine(folder / f"{name}.nii", native, record)
    write_labels(folder / f"{name}.labels.nii.gz", labels, native.affine)
    tensors = {"cine": twin.canonical}
    if twin.displacement is not None:
        tensors["displacement"] = twin.displacement
    halved = {key: tensor.to(torch.float16).contiguous() for key, tensor in tensors.items()}
    told = provenance | {"placement": twin.placement.to_dict()}
    save_file(halved, folder / f"{name}.safetensors", metadata={_RECORD: json.dumps(told, sort_keys=True)})
    if not twin.timed:
        native = replace(native, rr_ms=math.nan, frame_times_ms=np.full(len(native.frames), np.nan))
    text = json.dumps(heart_function(native, labels), indent=1, sort_keys=True, allow_nan=False)
    (folder / f"{name}.function.json").write_text(text)


def read_canonical(path: Path) -> tuple[Tensor, Tensor | None]:
    """Read `{name}.safetensors`: the canonical cine [T, Z, Y, X] and the displacement [T, 3, Z, Y/2, X/2] or None."""
    with safe_open(path, framework="pt") as file:
        displacement = file.get_tensor("displacement") if "displacement" in file.keys() else None  # noqa: SIM118
        return file.get_tensor("cine"), displacement


def read_placement(path: Path) -> Placement | None:
    """Read where the canonical grid of `{name}.safetensors` lies in the native stack; None if the file lacks it."""
    with safe_open(path, framework="pt") as file:
        record = json.loads(file.metadata()[_RECORD]).get("placement")
    return None if record is None else Placement.from_dict(record)


def write_beat(path: Path, beat_mv: np.ndarray, rr_ms: float) -> None:
    """Write a cycle of the ECG, [12, N] in mV, as CSV: `time_ms`, and a column for each of `cof.ecg.record.LEADS`."""
    times = np.arange(beat_mv.shape[1]) * rr_ms / beat_mv.shape[1]
    table = pd.DataFrame(np.round(beat_mv.T, 4), columns=list(LEADS))
    table.insert(0, "time_ms", np.round(times, 2))
    table.to_csv(path, index=False)


def read_beat(path: Path) -> np.ndarray:
    """Read a cycle of the ECG, float64 [12, N] in mV."""
    return pd.read_csv(path)[list(LEADS)].to_numpy(float).T


def notices(summary: Mapping[str, Any]) -> list[str]:
    """Return the notices to repeat wherever a heart is shown, from the content of its `summary.json`."""
    learnt = summary["trained_on"].get("labeller", {}).get("notice")
    unheard = ["made without an ECG"] if summary["ecg"] is None else []
    terms = summary.get("terms", [])
    return ["research software, not for diagnosis", *unheard, *([learnt] if learnt else []), *terms]
