"""Closed surfaces of the ventricles from the labels of one frame."""

from dataclasses import dataclass, field

import numpy as np

# Surfaces, and the structures that each of them encloses.
SURFACES = {"LV endocardium": ("LV",), "LV epicardium": ("LV", "myocardium"), "RV endocardium": ("RV",)}


@dataclass(frozen=True, eq=False)
class Surface:
    """A closed surface with the same triangles in every frame.

    Attributes:
        name: key of `SURFACES`.
        vertices: float64 [T, V, 3] in mm; x, y, z in the coordinates of the patient (RAS).
        faces: int32 [F, 3], anticlockwise seen from outside.
        remarks: what was repaired, in words.
    """

    name: str
    vertices: np.ndarray
    faces: np.ndarray
    remarks: tuple[str, ...] = field(default=())
