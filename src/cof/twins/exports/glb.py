"""All surfaces as one animated file of glTF 2.0 (binary), which browsers, headsets and slides show.

The surfaces of ED are the meshes, those of the other frames their morph targets, and the animation goes from each to
the next and back to ED. Coordinates are metres with y up: x, y, z are the patient's left, superior and anterior.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from cof.heart.surfaces import Surface
from cof.twins.exports.heart import SYNTHETIC, Heart
from cof.twins.exports.record import surface_record

# RAS to left, superior, anterior: a rotation, so that triangles keep their sense.
_TURN = np.array([[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]])
# Red, green, blue, opacity; the wall shows the cavity in it.
_COLOURS = {
    "LV endocardium": (0.72, 0.1, 0.1, 1.0),
    "LV epicardium": (0.85, 0.55, 0.45, 0.35),
    "RV endocardium": (0.15, 0.3, 0.7, 1.0),
}
_FLOAT, _UNSIGNED = 5126, 5125
_VERTICES, _INDICES = 34962, 34963


class _Buffer:
    """The binary part of a file, and the lists of its views and accessors."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def add(self, values: np.ndarray, target: int | None = None, bounded: bool = False) -> int:
        """Append float32 or uint32 values [N] or [N, 3] and return the index of their accessor."""
        values = np.ascontiguousarray(values)
        view: dict[str, Any] = {"buffer": 0, "byteOffset": len(self.data), "byteLength": values.nbytes}
        if target is not None:
            view["target"] = target
        accessor: dict[str, Any] = {
            "bufferView": len(self.views),
            "componentType": _UNSIGNED if values.dtype == np.uint32 else _FLOAT,
            "count": len(values),
            "type": "SCALAR" if values.ndim == 1 else "VEC3",
        }
        if bounded:
            accessor["min"], accessor["max"] = (np.atleast_1d(edge).tolist() for edge in (values.min(0), values.max(0)))
        self.data += values.tobytes()
        self.views.append(view)
        self.accessors.append(accessor)
        return len(self.accessors) - 1


def write(heart: Heart, folder: Path) -> list[Path]:
    """Write `{name}.glb`."""
    buffer = _Buffer()
    surfaces = list(heart.surfaces.values())
    meshes = [_mesh(buffer, surface, index) for index, surface in enumerate(surfaces)]
    sampler = _sampler(buffer, heart.times_ms, heart.cine.rr_ms)
    names = [f"{surface.name} ({SYNTHETIC})" for surface in surfaces]
    scene = {
        "asset": {
            "version": "2.0",
            "generator": "chain-of-flow",
            "extras": {"space": "LSA", "unit": "m"} | surface_record(heart),
        },
        "scene": 0,
        "scenes": [{"name": f"Generated heart ({SYNTHETIC})", "nodes": list(range(len(surfaces)))}],
        "nodes": [{"name": name, "mesh": index} for index, name in enumerate(names)],
        "meshes": [{"name": name} | mesh for name, mesh in zip(names, meshes)],
        "materials": [_material(surface.name) for surface in surfaces],
        "animations": [
            {
                "name": f"One cycle ({SYNTHETIC})",
                "samplers": [sampler],
                "channels": [
                    {"sampler": 0, "target": {"node": node, "path": "weights"}} for node in range(len(surfaces))
                ],
            }
        ],
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
        "buffers": [{"byteLength": len(buffer.data)}],
    }
    path = folder / f"{heart.name}.glb"
    path.write_bytes(_container(json.dumps(scene, allow_nan=False).encode(), bytes(buffer.data)))
    return [path]


def _mesh(buffer: _Buffer, surface: Surface, material: int) -> dict[str, Any]:
    """Add a surface, its frames after the first as morph targets."""
    vertices = (surface.vertices @ _TURN.T / 1000).astype(np.float32)
    normals = _normals(vertices, surface.faces)
    places = buffer.add(vertices[0], _VERTICES, bounded=True)
    directions = buffer.add(normals[0], _VERTICES)
    targets = [
        {
            "POSITION": buffer.add(moved - vertices[0], _VERTICES, bounded=True),
            "NORMAL": buffer.add(turned - normals[0], _VERTICES),
        }
        for moved, turned in zip(vertices[1:], normals[1:])
    ]
    primitive = {
        "attributes": {"POSITION": places, "NORMAL": directions},
        "indices": buffer.add(surface.faces.astype(np.uint32).reshape(-1), _INDICES),
        "material": material,
        "targets": targets,
    }
    names = [f"frame {frame}" for frame in range(1, len(vertices))]
    return {"primitives": [primitive], "weights": [0.0] * len(targets), "extras": {"targetNames": names}}


def _normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Return unit normals [T, V, 3], float32, of vertices [T, V, 3]: means over their faces, weighted by area."""
    a, b, c = (vertices[:, corner].astype(np.float64) for corner in faces.T)
    across = np.cross(b - a, c - a)
    summed = np.zeros(vertices.shape)
    for corner in faces.T:
        for frame in range(len(vertices)):
            np.add.at(summed[frame], corner, across[frame])
    return (summed / np.maximum(np.linalg.norm(summed, axis=-1, keepdims=True), 1e-30)).astype(np.float32)


def _sampler(buffer: _Buffer, times_ms: np.ndarray, rr_ms: float) -> dict[str, Any]:
    """Add the keys of the animation: each frame at its time, and ED again at the end of the cycle."""
    frames = len(times_ms)
    weights = np.zeros((frames + 1, frames - 1), np.float32)
    weights[1:frames] = np.eye(frames - 1)
    keys = buffer.add((np.append(times_ms, rr_ms) / 1000).astype(np.float32), bounded=True)
    return {"input": keys, "output": buffer.add(weights.reshape(-1)), "interpolation": "LINEAR"}


def _material(name: str) -> dict[str, Any]:
    """Return the material of a surface."""
    colour = _COLOURS[name]
    material: dict[str, Any] = {
        "name": name,
        "pbrMetallicRoughness": {"baseColorFactor": list(colour), "metallicFactor": 0.0, "roughnessFactor": 0.6},
    }
    return material | ({"alphaMode": "BLEND"} if colour[3] < 1 else {})


def _container(scene: bytes, data: bytes) -> bytes:
    """Join JSON and binary data as a GLB container, both padded to four bytes."""
    scene += b" " * (-len(scene) % 4)
    data += b"\0" * (-len(data) % 4)
    chunks = ((scene, b"JSON"), (data, b"BIN\0"))
    body = b"".join(np.uint32(len(chunk)).tobytes() + kind + chunk for chunk, kind in chunks)
    return b"glTF" + np.array([2, 12 + len(body)], np.uint32).tobytes() + body
