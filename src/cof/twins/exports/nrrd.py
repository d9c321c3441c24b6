"""A generated heart as volume sequences of 3D Slicer (`.seq.nrrd`): cine and labels, one item for each frame.

The header is that of https://teem.sourceforge.net/nrrd/format.html with the fields that Slicer's module Sequences adds.
It is written here, because libraries put the time of day into it.
"""

import gzip
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from cof.twins.exports.heart import SYNTHETIC, Heart

_RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])
_TYPES = {np.dtype(np.int16): "int16", np.dtype(np.uint8): "uint8"}


def write(heart: Heart, folder: Path) -> list[Path]:
    """Write `{name}.seq.nrrd` and `{name}.labels.seq.nrrd`.

    The axes of the arrays are t, x, y, z, the first running fastest; space is LPS in mm. Items are indexed by time in
    ms, or by the number of the frame where the duration of the cycle is not known.
    """
    cine, labels = folder / f"{heart.name}.seq.nrrd", folder / f"{heart.name}.labels.seq.nrrd"
    _write(cine, heart, np.asarray(heart.cine.frames), "vtkMRMLScalarVolumeNode")
    _write(labels, heart, heart.labels, "vtkMRMLLabelMapVolumeNode")
    return [cine, labels]


def _write(path: Path, heart: Heart, values: np.ndarray, node: str) -> None:
    """Write values [T, Z, Y, X] as the items of a sequence of Slicer's nodes `node`."""
    axes = heart.affine[:3, :3] * _RAS_TO_LPS[:, None]
    index = [f"{time:.3f}" for time in heart.times_ms] if heart.timed else [str(k) for k in range(len(values))]
    label, unit = ("time", "ms") if heart.timed else ("frame", "")
    header = [
        "NRRD0005",
        f"type: {_TYPES[values.dtype]}",
        "dimension: 4",
        "space: left-posterior-superior",
        f"sizes: {' '.join(str(values.shape[axis]) for axis in (0, 3, 2, 1))}",
        f"space directions: none {' '.join(_vector(axes[:, axis]) for axis in range(3))}",
        "kinds: list domain domain domain",
        f'labels: "{label}" "" "" ""',
        f'units: "{unit}" "" "" ""',
        "endian: little",
        "encoding: gzip",
        f"space origin: {_vector(heart.affine[:3, 3] * _RAS_TO_LPS)}",
        f"content: {SYNTHETIC}",
        "axis 0 index type:=numeric",
        f"axis 0 index values:={' '.join(index)}",
        f"DataNodeClassName:={node}",
        f"notices:={'; '.join(heart.notices)}",
    ]
    stored = np.moveaxis(values, 0, -1).astype(values.dtype.newbyteorder("<")).tobytes()  # z, y, x, t, the last fastest
    path.write_bytes("\n".join([*header, "", ""]).encode() + gzip.compress(stored, 6, mtime=0))


def _vector(numbers: Iterable[float]) -> str:
    return f"({','.join(repr(float(number) + 0.0) for number in numbers)})"
