"""The exact truth of a synthetic cohort, in the frame order of the stacked cine."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open

from cof.cine.grid import Placement
from cof.cine.volume import Cine, read_labels
from cof.errors import CofError, Reason
from cof.motion.path import DisplacementPath
from cof.truth.sampling import frames_at_phases, labels_on_motion_grid, motion_voxels


@dataclass(frozen=True)
class Truth:
    """The exact labels, motion and timing of one synthetic cine.

    Attributes:
        labels: uint8 [T, Z, Y, X], native.
        displacement: float16 or float32 [T, 3, z, y, x] in mm (z, y, x), which pulls frame t back to frame 0, at the
            native voxels from `origin` on; None where it is not known relative to frame 0 of this cine.
        origin: native index (z, y, x) of the first voxel that `displacement` covers.
        t_es_ms: time of the smallest LV volume, in ms after frame 0 of the cine.
        infarct_share: scar share of each AHA segment 1 to 16; empty where it is not recorded.
    """

    labels: np.ndarray
    displacement: np.ndarray | None
    origin: tuple[int, int, int]
    t_es_ms: float
    infarct_share: tuple[float, ...] = ()

    @classmethod
    def read(cls, folder: Path, name: str, cine: Cine) -> "Truth":
        """Read the truth of one scan.

        Args:
            folder: `phantom/truth`.
            name: `{participant}_{visit}`.
            cine: the stacked cine; the truth is rolled like it. The displacement refers to the recorded frame 0, so
                that a rolled cine has none. Only held-out subjects of the cohort have it.

        Raises:
            CofError: the truth is on another grid.
        """
        labels = read_labels(folder / f"{name}.labels.nii.gz")
        if labels.shape[1:] != cine.frames.shape[1:]:
            raise CofError(Reason.ANNOTATION_MISMATCH, "the exact labels do not lie on the cine's grid")
        later_ms = cine.rolled_by / len(labels) * cine.rr_ms
        known = json.loads((folder / f"{name}.json").read_text())
        t_es_ms = (known["t_es_ms"] - later_ms) % cine.rr_ms
        scar = tuple(known.get("segments", {}).get("infarct_share", ()))
        labels = np.roll(labels, -cine.rolled_by, axis=0)
        path = folder / f"{name}.safetensors"
        if cine.rolled_by or not path.is_file():
            return cls(labels, None, (0, 0, 0), t_es_ms, scar)
        with safe_open(path, "numpy") as file:
            z, y, x = json.loads(file.metadata()["geometry"])["origin"]
            return cls(labels, file.get_tensor("displacement"), (z, y, x), t_es_ms, scar)

    def on_motion_grid(self, placement: Placement, frames: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the exact displacement at the voxels of the motion grid, and a mask of the heart; None if not known.

        It is interpolated linearly in space, and by a periodic cubic spline over the phases.

        Returns:
            float32 [frames, 3, Z, Y/2, X/2] in mm, and bool [frames, Z, Y/2, X/2]: inside the exact heart.
        """
        if self.displacement is None:
            return None
        knots = torch.from_numpy(self.displacement).float()
        knots[0] = 0  # exactly, not only up to rounding
        field = DisplacementPath(knots).resample(frames).knots.numpy()
        known = labels_on_motion_grid(self.labels, placement)[frames_at_phases(len(self.labels), frames)] > 0
        for axis, voxels in enumerate(motion_voxels(placement)):
            field, inside = _interpolate(field, voxels - self.origin[axis], axis + 2)
            known &= np.expand_dims(inside, tuple(other for other in range(4) if other != axis + 1))
        return field, known


def _interpolate(field: np.ndarray, index: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Interpolate `field` at fractional indices along one axis; also return which of them lie within it."""
    last = field.shape[axis] - 1
    clipped = np.clip(index, 0, last)
    below = np.minimum(np.floor(clipped).astype(int), max(last - 1, 0))
    share = (clipped - below).astype(field.dtype)
    share = share.reshape([-1 if position == axis else 1 for position in range(field.ndim)])
    values = field.take(below, axis) * (1 - share) + field.take(np.minimum(below + 1, last), axis) * share
    return values, (index > -0.5) & (index < last + 0.5)
