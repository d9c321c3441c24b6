"""A heart of analytic shape and motion, in a folder as `cof twin` leaves it, oblique in the patient."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from cof.artefacts.folders import write_manifest
from cof.cine.grid import Placement
from cof.cine.volume import Cine, uniform_times, write_cine, write_labels
from cof.models.base import Generated
from cof.motion.labels import warp_native_labels
from cof.motion.resolution import motion_shape
from cof.truth.sampling import motion_voxels
from cof.twins.artefacts import write_beat, write_twin
from cof.twins.function import heart_function
from cof.twins.generation import Twin

SHAPE, SPACING = (10, 84, 96), (9.0, 1.5, 1.6)
GRID, GRID_SPACING = (10, 56, 64), (9.0, 2.0, 2.0)
FRAMES, RR_MS = 6, 840.0
PLACEMENT = Placement(
    (0.0, 6.5, 8.2),
    (1.0, GRID_SPACING[1] / SPACING[1], GRID_SPACING[2] / SPACING[2]),
    GRID,
    GRID_SPACING,
    SHAPE,
    SPACING,
    (0.0, 1.0),
    (True,) * GRID[0],
)
AXIS = np.array([64.0, 86.0])  # of the LV: y and x in mm
TOP, BOTTOM = 9.0, 81.0  # centres of the first and last labelled slice in mm


def affine() -> np.ndarray:
    """An oblique stack: voxel index (x, y, z) to RAS mm."""
    axes, _ = np.linalg.qr(np.array([[0.7, -0.5, -0.6], [-0.3, 0.5, -0.8], [0.6, 0.7, 0.2]]))
    result = np.eye(4)
    result[:3, :3] = axes * SPACING[::-1]
    result[:3, 3] = (-40.0, 25.0, 60.0)
    return result


def pull(at: np.ndarray, frame: int) -> np.ndarray:
    """Displacement [..., 3] in mm at points [..., 3]: contraction with a turn, and a base that descends."""
    stroke = np.sin(np.pi * frame / FRAMES) ** 2
    from_axis = at[..., 1:] - AXIS
    radius = np.linalg.norm(from_axis, axis=-1)[..., None]
    turned = np.stack([-from_axis[..., 1], from_axis[..., 0]], axis=-1)
    across = 0.5 * stroke * np.exp(-((radius / 42) ** 2)) * (from_axis + 0.3 * turned)
    along = -7.0 * stroke * (1 - at[..., :1] / 90) * np.exp(-((radius / 60) ** 2))
    return np.concatenate([along, across], axis=-1)


def labels() -> np.ndarray:
    """Labels [Z, Y, X] of ED."""
    z, y, x = (axis * step for axis, step in zip(np.indices(SHAPE), SPACING))
    there = (z >= TOP - 1) & (z <= BOTTOM + 1)
    taper = np.sqrt(np.clip(1 - ((z - TOP) / 95) ** 2, 0, 1))
    radius = np.hypot(y - AXIS[0], x - AXIS[1])
    result = np.zeros(SHAPE, np.uint8)
    result[(np.hypot(y - AXIS[0], x - AXIS[1] + 30) < 28 * taper) & there & (z < BOTTOM - 10)] = 3
    result[(radius < 23 * taper + 8) & there] = 2
    result[(radius < 23 * taper) & there & (z < BOTTOM - 1)] = 1
    return result


def displacement() -> torch.Tensor:
    """The motion on the motion grid, [T, 3, Z, Y/2, X/2]."""
    axes = [voxels * step for voxels, step in zip(motion_voxels(PLACEMENT), SPACING)]
    at = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    return torch.from_numpy(np.stack([np.moveaxis(pull(at, frame), -1, 0) for frame in range(FRAMES)])).float()


def write_beating_heart(folder: Path, moved: bool = True) -> None:
    """Write the heart; with `moved=False` that of a model that generates images."""
    motion = displacement()
    beating = warp_native_labels(torch.from_numpy(labels()), motion, PLACEMENT).numpy()
    images = np.choose(beating, [40, 400, 120, 380]).astype(np.int16)
    canonical = torch.zeros(FRAMES, *GRID)
    assert motion.shape[2:] == motion_shape(GRID)
    native = Cine(images, affine(), uniform_times(FRAMES, RR_MS), RR_MS)
    made = Generated(motion) if moved else Generated(None, canonical)
    twin = Twin(native, canonical, motion if moved else None, made, PLACEMENT)
    folder.mkdir(parents=True)
    write_twin(folder, "twin", twin, beating, {"version": "x"})
    function = heart_function(native, beating)
    curves = {"lv_ml": function["LV"].pop("volume_ml"), "rv_ml": function["RV"].pop("volume_ml")}
    times = function.pop("frame_times_ms")
    pd.DataFrame({"frame": range(FRAMES), "time_ms": times} | curves).to_csv(folder / "volumes.csv", index=False)
    summary = {
        "notice": "Research software, not for diagnosis.",
        "model": "cof" if moved else "lfdm",
        "function": function,
        "ecg": None,
        "scan": {"repairs": []},
        "trained_on": {"labeller": {"notice": "labels by a network trained on simulated hearts"}},
        "warnings": [],
        "terms": ["for research alone"],
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    write_manifest(folder)


def add_what_it_was_made_from(folder: Path) -> None:
    """Put the scan, a cine whose EF is smaller, and the cycle of an ECG beside the heart, and say so in its summary."""
    motion = 0.7 * displacement()
    beating = warp_native_labels(torch.from_numpy(labels()), motion, PLACEMENT).numpy()
    images = np.choose(beating, [40, 400, 120, 380]).astype(np.int16)
    write_cine(folder / "scan.nii", Cine(images, affine(), uniform_times(FRAMES, RR_MS), RR_MS))
    write_labels(folder / "scan.labels.nii.gz", beating, affine())
    phase = np.arange(400) / 400
    beat = np.exp(-(((phase + 0.5) % 1 - 0.5) ** 2) / 2e-4) + 0.3 * np.exp(-((phase - 0.35) ** 2) / 4e-3)
    write_beat(folder / "beat.csv", np.linspace(0.3, 1.4, 12)[:, None] * beat, 800.0)
    summary = json.loads((folder / "summary.json").read_text())
    summary["ecg"] = {"rr_ms": 800.0, "low_quality": False, "irregular": True, "repairs": ["lead V1 <flat> bridged"]}
    summary["scan"] = {
        "kind": "cine",
        "frames": FRAMES,
        "slices": SHAPE[0],
        "rolled_by": 2,
        "repairs": ["one gap filled"],
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / ".cof-manifest.json").unlink()
    write_manifest(folder)
