"""Surfaces of every frame as VTK XML PolyData, and the series of them as a ParaView collection (.pvd)."""

import base64
import json
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np

from cof.twins.exports.heart import Heart
from cof.twins.exports.record import surface_record

_LPS = np.array([-1.0, -1.0, 1.0])
_TYPES = {"f": "Float", "i": "Int", "u": "UInt"}


def write(heart: Heart, folder: Path) -> list[Path]:
    """Write `{name}_{frame}.vtp` with all surfaces of a frame, and `{name}.pvd` with their times in ms.

    Coordinates are LPS millimetres; the field `SPACE` says so, as 3D Slicer reads it. The cell array `structure` counts
    the surfaces from 1 in the order of the field `structures`; the field `about` holds the record of the surfaces.
    """
    surfaces = list(heart.surfaces.values())
    counts = [surface.vertices.shape[1] for surface in surfaces]
    first = np.cumsum([0, *counts[:-1]])
    faces = np.concatenate([surface.faces + start for surface, start in zip(surfaces, first)]).astype(np.int32)
    structure = np.repeat(np.arange(1, len(surfaces) + 1, dtype=np.uint8), [len(surface.faces) for surface in surfaces])
    strings = {
        "SPACE": ["LPS"],
        "structures": [surface.name for surface in surfaces],
        "about": [json.dumps({"space": "LPS", "unit": "mm"} | surface_record(heart), allow_nan=False)],
    }
    digits = len(str(len(heart.times_ms) - 1))
    written = []
    for frame, time in enumerate(heart.times_ms):
        path = folder / f"{heart.name}_{frame:0{digits}d}.vtp"
        vertices = np.concatenate([surface.vertices[frame] for surface in surfaces]) * _LPS
        path.write_text(_polydata(vertices.astype(np.float32), faces, structure, float(time), strings))
        written.append(path)
    series = folder / f"{heart.name}.pvd"
    series.write_text(_collection(written, heart.times_ms))
    return [series, *written]


def _polydata(
    vertices: np.ndarray, faces: np.ndarray, structure: np.ndarray, time_ms: float, strings: dict[str, list[str]]
) -> str:
    """Return vertices [V, 3], faces [F, 3] and the structure of each face [F] as a VTP document."""
    ends = np.arange(3, 3 * len(faces) + 1, 3, dtype=np.int32)
    fields = "".join(_strings(name, values) for name, values in strings.items())
    time = f'<DataArray type="Float64" Name="TimeValue" NumberOfTuples="1" format="ascii">{time_ms:.6f}</DataArray>\n'
    return (
        f"{_opened('PolyData')}<PolyData>\n<FieldData>\n{time}{fields}</FieldData>\n"
        f'<Piece NumberOfPoints="{len(vertices)}" NumberOfVerts="0" NumberOfLines="0" NumberOfStrips="0" '
        f'NumberOfPolys="{len(faces)}">\n'
        f"<Points>\n{_array('Points', vertices)}</Points>\n"
        f'<CellData Scalars="structure">\n{_array("structure", structure)}</CellData>\n'
        f"<Polys>\n{_array('connectivity', faces.reshape(-1))}{_array('offsets', ends)}</Polys>\n"
        "</Piece>\n</PolyData>\n</VTKFile>\n"
    )


def _opened(kind: str) -> str:
    return (
        f'<?xml version="1.0"?>\n<VTKFile type="{kind}" version="1.0" byte_order="LittleEndian" header_type="UInt32">\n'
    )


def _array(name: str, values: np.ndarray) -> str:
    """Return an array [N] or [N, components] as base64 after its length in bytes."""
    data = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
    code = base64.b64encode(np.uint32(len(data)).tobytes() + data).decode("ascii")
    kind = f"{_TYPES[values.dtype.kind]}{8 * values.dtype.itemsize}"
    components = f' NumberOfComponents="{values.shape[1]}"' if values.ndim > 1 else ""
    return f'<DataArray type="{kind}" Name="{name}"{components} format="binary">{code}</DataArray>\n'


def _strings(name: str, values: list[str]) -> str:
    """Return text as an array of the codes of its bytes, each string with a zero after it."""
    codes = " ".join(str(code) for value in values for code in (*value.encode(), 0))
    return f'<Array type="String" Name="{name}" NumberOfTuples="{len(values)}" format="ascii">{codes}</Array>\n'


def _collection(files: list[Path], times_ms: np.ndarray) -> str:
    """Return the collection of files that lie beside it, each with its time in ms."""
    entries = "".join(
        f'<DataSet timestep="{time:.6f}" group="" part="0" file={quoteattr(file.name)}/>\n'
        for file, time in zip(files, times_ms)
    )
    note = "<!-- SPACE=LPS; millimetres, milliseconds -->\n"
    return f"{_opened('Collection')}{note}<Collection>\n{entries}</Collection>\n</VTKFile>\n"
