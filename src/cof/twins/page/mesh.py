"""Moving surfaces as the page's script reads them: quantised keyframes of each frame, and the views of the camera.

Display coordinates are mm with x to the patient's left, y up (superior) and z to the front (anterior), as one sees a
patient who stands opposite.
"""

import base64
from typing import Any

import numpy as np

from cof.heart.surfaces import Surface
from cof.twins.exports.heart import Heart

# Colour as that of the contour, and opacity; the wall shows the cavity in it.
LOOKS = {
    "LV endocardium": ("#ff6b6b", 1.0),
    "LV epicardium": ("#4cc97a", 0.3),
    "RV endocardium": ("#6bb3ff", 1.0),
}
_RAS_TO_DISPLAY = np.array([[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]])
# Where the apex and the RV lie, seen from the centre of the LV, in a typical patient; display coordinates.
_TYPICAL_APEX = np.array([0.68, -0.45, 0.58])
_TYPICAL_RV = np.array([-0.55, 0.0, 0.83])
_INT8, _INT16, _UINT16 = 127, 32767, 2**16


def mesh_data(heart: Heart) -> dict[str, Any]:
    """Return the surfaces of a heart as JSON values.

    Returns:
        `frames` T; `centre` and `radius` of all surfaces in mm; `views`, directions from the centre to the camera by
        name, the first of them at the start; `surfaces`, each with its look and its keyframes (`quantised`).

    Raises:
        UsageError, CofError: the heart has no surfaces (`Heart.surfaces`).
    """
    surfaces = list(heart.surfaces.values())
    turn = _display(surfaces, heart.cine.oriented)
    moved = [surface.vertices @ turn.T for surface in surfaces]
    every = np.concatenate([vertices.reshape(-1, 3) for vertices in moved])
    centre = (every.min(0) + every.max(0)) / 2
    apex, _ = _axes(moved[0][0], moved[2][0])
    return {
        "frames": len(moved[0]),
        "centre": centre.round(2).tolist(),
        "radius": round(float(np.linalg.norm(every - centre, axis=1).max()), 2),
        "views": {name: direction.round(4).tolist() for name, direction in _views(apex).items()},
        "surfaces": [
            {"name": surface.name, "colour": LOOKS[surface.name][0], "opacity": LOOKS[surface.name][1]}
            | quantised(vertices, surface.faces)
            for surface, vertices in zip(surfaces, moved)
        ],
    }


def quantised(vertices: np.ndarray, faces: np.ndarray) -> dict[str, Any]:
    """Return keyframes as base64 of little-endian integers.

    ED is int16 in steps of `step` mm from `centre`; every later frame is int8 in steps of `delta_step` mm from the
    decoded frame before, so that errors do not add up: none exceeds half of such a step.

    Args:
        vertices: [T, V, 3] in mm.
        faces: [F, 3]; stored as uint16, or as uint32 (`wide`) if there are more vertices.
    """
    first = vertices[0]
    centre = ((first.min(0) + first.max(0)) / 2).round(3)
    step = float(np.abs(first - centre).max()) / _INT16
    whole = np.rint((first - centre) / step).astype(np.int16)
    decoded = centre + whole * step
    # The decoded frame before may be half a step off, which the next step has to make up for.
    largest = float(np.abs(np.diff(vertices, axis=0)).max()) if len(vertices) > 1 else 0.0
    delta_step = max(largest, 1e-3) / (_INT8 - 1)
    deltas = np.empty((len(vertices) - 1, *first.shape), np.int8)
    for index, frame in enumerate(vertices[1:]):
        deltas[index] = np.rint((frame - decoded) / delta_step)
        decoded = decoded + deltas[index] * delta_step
    wide = len(first) > _UINT16
    return {
        "centre": centre.tolist(),
        "step": step,
        "delta_step": delta_step,
        "wide": wide,
        "first": _packed(whole.astype("<i2")),
        "deltas": _packed(deltas),
        "faces": _packed(faces.astype("<u4" if wide else "<u2")),
    }


def _packed(values: np.ndarray) -> str:
    """Return an array as a data URI; the privacy check knows these to hold no text."""
    return "data:application/octet-stream;base64," + base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def _display(surfaces: list[Surface], oriented: bool) -> np.ndarray:
    """Return the rotation [3, 3] from the coordinates of the surfaces to those of the display.

    Without an orientation, the heart is put as it lies in a typical patient.
    """
    if oriented:
        return _RAS_TO_DISPLAY
    cavity, right = surfaces[0].vertices[0], surfaces[2].vertices[0]
    return _frame(_TYPICAL_APEX, _TYPICAL_RV) @ _frame(*_axes(cavity, right)).T


def _axes(cavity: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the unit vectors from base to apex and from LV to RV, the latter across the former.

    Args:
        cavity: vertices [V, 3] of the LV cavity. Its long axis is the direction of its largest extent, and its base the
            end with the larger cross-section.
        right: vertices [V, 3] of the RV cavity.
    """
    middle = cavity.mean(0)
    _, _, directions = np.linalg.svd(cavity - middle, full_matrices=False)
    along = directions[0]
    height = (cavity - middle) @ along
    across = np.linalg.norm(cavity - middle - height[:, None] * along, axis=1)
    low, high = np.quantile(height, (0.2, 0.8))
    apex = along if across[height > high].mean() < across[height < low].mean() else -along
    aside = right.mean(0) - middle
    aside = aside - (aside @ apex) * apex
    return apex, aside / np.linalg.norm(aside)


def _frame(apex: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the rotation [3, 3] whose columns are the apex's direction, the RV's across it, and their product."""
    apex = apex / np.linalg.norm(apex)
    right = right - (right @ apex) * apex
    right = right / np.linalg.norm(right)
    return np.stack([apex, right, np.cross(apex, right)], axis=1)


def _views(apex: np.ndarray) -> dict[str, np.ndarray]:
    """Return the directions from the heart to the camera, unit vectors in display coordinates."""
    oblique = np.deg2rad(35)
    return {
        "left anterior oblique, 35°": np.array([np.sin(oblique), 0.12, np.cos(oblique)]),
        "anterior": np.array([0.0, 0.0, 1.0]),
        "left lateral": np.array([1.0, 0.0, 0.0]),
        "short axis, from the apex": apex,
    }
