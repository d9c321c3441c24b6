"""The native short-axis cine in memory and on disk."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np


@dataclass(frozen=True)
class Cine:
    """A short-axis cine on its native grid, slices from base to apex, frame 0 at ED.

    Attributes:
        frames: int16 [T, Z, Y, X]; may be memory-mapped.
        affine: [4, 4], voxel index (x, y, z, 1) to RAS millimetres.
        frame_times_ms: [T], after frame 0; the cycle lasts `rr_ms`.
        rr_ms: RR interval of the scan.
        series: names of the series that the slices came from.
        repairs: what was mended on the way in, in words.
        rolled_by: frames by which the recorded cycle was rolled so that frame 0 is ED.
    """

    frames: np.ndarray
    affine: np.ndarray
    frame_times_ms: np.ndarray
    rr_ms: float
    series: tuple[str, ...] = ()
    repairs: tuple[str, ...] = ()
    rolled_by: int = 0
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel spacing along z, y, x in mm; z is the distance of slice centres."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(z), float(y), float(x)


def sidecar(path: Path) -> Path:
    """The JSON file beside a NIfTI."""
    return path.with_name(path.name.removesuffix(".gz").removesuffix(".nii") + ".json")


def write_cine(path: Path, cine: Cine) -> None:
    """Write an uncompressed NIfTI (x, y, z, t; int16, unscaled, so that frames can be memory-mapped) and its sidecar."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(np.ascontiguousarray(cine.frames.transpose(3, 2, 1, 0), np.int16), cine.affine)
    image.header.set_xyzt_units("mm", "msec")
    zooms = image.header.get_zooms()[:3]
    image.header.set_zooms((*zooms, cine.rr_ms / len(cine.frames)))
    nib.save(image, path)
    record = {
        "frame_times_ms": [round(float(time), 3) for time in cine.frame_times_ms],
        "rr_ms": float(cine.rr_ms),
        "heart_rate_bpm": 60000.0 / float(cine.rr_ms),
        "series": list(cine.series),
        "repairs": list(cine.repairs),
        "rolled_by": cine.rolled_by,
        "provenance": cine.provenance,
    }
    sidecar(path).write_text(json.dumps(record, indent=1, sort_keys=True))


def read_cine(path: Path) -> Cine:
    """Read what `write_cine` wrote; the frames stay memory-mapped as a [T, Z, Y, X] view."""
    image = nib.load(path)
    record = json.loads(sidecar(path).read_text())
    frames = np.asanyarray(image.dataobj).transpose(3, 2, 1, 0)  # type: ignore[attr-defined]
    return Cine(
        frames,
        np.asarray(image.affine),  # type: ignore[attr-defined]
        np.asarray(record["frame_times_ms"], float),
        record["rr_ms"],
        tuple(record["series"]),
        tuple(record["repairs"]),
        record["rolled_by"],
        record["provenance"],
    )


def write_labels(path: Path, labels: np.ndarray, affine: np.ndarray) -> None:
    """Write uint8 labels [T, Z, Y, X] (0 background, 1 LV, 2 myocardium, 3 RV) as a compressed 4D NIfTI."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.ascontiguousarray(labels.transpose(3, 2, 1, 0), np.uint8), affine), path)


def read_labels(path: Path) -> np.ndarray:
    """Labels [T, Z, Y, X] as uint8."""
    return np.asarray(nib.load(path).dataobj).transpose(3, 2, 1, 0).astype(np.uint8)  # type: ignore[attr-defined]
