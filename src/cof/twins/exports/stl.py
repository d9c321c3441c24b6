"""Surfaces of ED and ES as binary STL, one file for each surface and phase."""

import json
from pathlib import Path

import numpy as np

from cof.twins.exports.heart import SYNTHETIC, Heart
from cof.twins.exports.record import surface_record

_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_HEADER_BYTES = 80


def write(heart: Heart, folder: Path) -> list[Path]:
    """Write `{name}_{surface}_{ED|ES}.stl` and `{name}.json`.

    Coordinates are RAS millimetres. STL has no place for that but its header, where 3D Slicer looks for `SPACE=RAS`.
    """
    written = []
    for name, surface in heart.surfaces.items():
        for phase, frame in (("ED", 0), ("ES", heart.es_frame)):
            path = folder / f"{heart.name}_{name.replace(' ', '_')}_{phase}.stl"
            path.write_bytes(_stl(surface.vertices[frame], surface.faces, f"SPACE=RAS mm; {name} {phase}; {SYNTHETIC}"))
            written.append(path)
    record = folder / f"{heart.name}.json"
    record.write_text(json.dumps({"space": "RAS", "unit": "mm"} | surface_record(heart), indent=1, allow_nan=False))
    return [*written, record]


def _stl(vertices: np.ndarray, faces: np.ndarray, said: str) -> bytes:
    """Return vertices [V, 3] and faces [F, 3] as the bytes of a binary STL, whose header says `said`."""
    triangles = np.zeros(len(faces), _TRIANGLE)
    corners = vertices[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    triangles["corners"] = corners
    triangles["normal"] = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    return (
        said.encode("ascii")[:_HEADER_BYTES].ljust(_HEADER_BYTES)
        + np.uint32(len(faces)).tobytes()
        + triangles.tobytes()
    )
