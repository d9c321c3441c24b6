"""A small heart with known voxels, for the tests of its exports."""

import math
from dataclasses import replace

import numpy as np
import torch

from cof.cine.grid import Placement
from cof.cine.volume import Cine, uniform_times
from cof.twins.exports.heart import Heart

FRAMES, SLICES, ROWS, COLUMNS = 4, 5, 18, 14
SPACING_MM = (9.0, 1.5, 1.25)
RR_MS = 901.0
# Columns run left, back and up, rows back and down, slices left, forwards and down: from base to apex, as scanners lie.
_ALONG_X = np.array([-0.72, -0.60, 0.34])


def affine() -> np.ndarray:
    """An oblique affine, from voxel index (x, y, z, 1) to RAS coordinates in mm."""
    z = np.array([-0.55, 0.6, -0.58])
    z /= np.linalg.norm(z)
    x = np.cross(np.cross(z, _ALONG_X), z)
    x /= np.linalg.norm(x)
    made = np.eye(4)
    made[:3, :3] = np.array([x, np.cross(z, x), z]).T * SPACING_MM[::-1]
    made[:3, 3] = (31.0, -42.5, 77.25)
    return made


def small_heart(lowest: int = 0) -> Heart:
    """A heart whose voxels all differ from `lowest` on; two rings that shrink, and in frame 2 no RV."""
    shape = (FRAMES, SLICES, ROWS, COLUMNS)
    frames = (np.arange(math.prod(shape)).reshape(shape) + lowest).astype(np.int16)
    y, x = np.meshgrid(np.arange(ROWS) - 9, np.arange(COLUMNS) - 8, indexing="ij")
    distance = np.hypot(y, x)
    labels = np.zeros(shape, np.uint8)
    for frame, radius in enumerate((3.2, 2.6, 2.1, 2.8)):
        for plane in range(1, SLICES - 1):  # the outer slices lie beyond the heart
            labels[frame, plane][distance < radius + 2] = 2
            labels[frame, plane][distance < radius] = 1
            if frame != 2:
                labels[frame, plane][(x < -5) & (np.abs(y) < 4) & (labels[frame, plane] == 0)] = 3
    cine = Cine(frames, affine(), uniform_times(FRAMES, RR_MS), RR_MS)
    even = (SLICES, ROWS, COLUMNS)
    placement = Placement(
        (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), even, SPACING_MM, even, SPACING_MM, (0.0, 1000.0), (True,) * SLICES
    )
    still = torch.zeros(FRAMES, 3, SLICES, ROWS // 2, COLUMNS // 2, dtype=torch.float16)
    summary = {"model": "cof", "ecg": None, "trained_on": {}, "terms": ["under the licence of “others”"]}
    return Heart("twin", cine, labels, still, placement, True, summary)


def untimed(heart: Heart) -> Heart:
    """The same heart with a cycle of unknown duration, which then is that of a nominal one."""
    return replace(
        heart, timed=False, cine=replace(heart.cine, rr_ms=1000.0, frame_times_ms=uniform_times(FRAMES, 1000.0))
    )
