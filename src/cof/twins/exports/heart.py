"""One generated heart as the writers of all formats see it."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from cof.cine.grid import Placement
from cof.cine.volume import Cine, read_cine, read_labels
from cof.errors import UsageError
from cof.heart.structures import STRUCTURES
from cof.heart.surfaces import Surface
from cof.twins.artefacts import BEAT, FILES, NAME, SCAN, notices, read_beat, read_canonical, read_placement
from cof.twins.surfaces import moving_surfaces

# In the name of whatever is written, so that it stays with what is copied out of a file.
SYNTHETIC = "synthetic, not for diagnosis"


@dataclass(frozen=True, eq=False)
class Recorded:
    """The cine that a heart was made from, on the grid of the heart.

    Attributes:
        cine: the native 4D cine, frame 0 at ED.
        labels: uint8 [T, Z, Y, X], as those of the heart.
    """

    cine: Cine
    labels: np.ndarray


@dataclass(frozen=True, eq=False)
class Heart:
    """One generated heart.

    Attributes:
        name: name of its files.
        cine: the native 4D cine, slices from base to apex, frame 0 at ED: `frames` int16 [T, Z, Y, X], `affine`,
            `spacing_mm` (z, y, x), `frame_times_ms` [T], `rr_ms`, `oriented`, `provenance`.
        labels: uint8 [T, Z, Y, X]: 0 background, 1 LV, 2 myocardium, 3 RV.
        displacement: float16 [T', 3, Z', Y'/2, X'/2] in mm (z, y, x) at phases k / T' on the motion grid; it pulls
            frame k back to ED, and frame 0 is zero. None for a family that generates images.
        placement: where the canonical grid lies in the native stack; None if the file lacks it.
        timed: True if the duration of the cycle is known. If it is not, `frame_times_ms` and `rr_ms` are those of a
            nominal cycle of one second.
        summary: content of `summary.json`.
        recorded: the cine that it was made from; None if it was made from an anchor alone, or the folder lacks it.
        beat_mv: [12, N] in mV, the cycle of the ECG from R peak to R peak; None without an ECG, or if the folder
            lacks it.
    """

    name: str
    cine: Cine
    labels: np.ndarray
    displacement: Tensor | None
    placement: Placement | None
    timed: bool
    summary: dict[str, Any]
    recorded: Recorded | None = None
    beat_mv: np.ndarray | None = None

    @classmethod
    def read(cls, folder: Path) -> "Heart":
        """Read the heart in a folder that `cof twin` has written.

        Raises:
            UsageError: a file of the heart is missing.
            CofError: the cine cannot be read.
        """
        missing = [name for name in FILES if not (folder / name).is_file()]
        if missing:
            raise UsageError(f"{folder} holds no heart made by `cof twin`: missing {', '.join(missing)}")
        tensors = folder / f"{NAME}.safetensors"
        return cls(
            name=NAME,
            cine=read_cine(folder / f"{NAME}.nii"),
            labels=read_labels(folder / f"{NAME}.labels.nii.gz"),
            displacement=read_canonical(tensors)[1],
            placement=read_placement(tensors),
            timed=json.loads((folder / f"{NAME}.json").read_text()).get("timed", True),
            summary=json.loads((folder / "summary.json").read_text()),
            recorded=_recorded(folder),
            beat_mv=read_beat(folder / BEAT) if (folder / BEAT).is_file() else None,
        )

    @property
    def affine(self) -> np.ndarray:
        """float64 [4, 4], from voxel index (x, y, z, 1) to RAS coordinates in mm.

        If the scan states no orientation, its images are taken for views from the apex, as in regional function: from
        base to apex the slices then come towards the observer, and an affine of positive determinant would make a
        mirror image of the heart.
        """
        affine = self.cine.affine
        if self.cine.oriented or np.linalg.det(affine[:3, :3]) < 0:
            return affine
        return affine @ np.diag([1.0, 1.0, -1.0, 1.0])

    @property
    def times_ms(self) -> np.ndarray:
        """[T], time of each frame after frame 0 in ms."""
        return self.cine.frame_times_ms

    @property
    def notices(self) -> list[str]:
        """Notices to repeat wherever this heart is shown."""
        return notices(self.summary)

    @property
    def doubtful_slices(self) -> list[int]:
        """Numbers of the slices of the scan with doubtful labels, from 1 at the base."""
        return list(self.summary.get("labels", {}).get("doubtful_slices", []))

    @property
    def doubt_message(self) -> str:
        """Doubt about the labels of the scan in words, such as "labels doubtful, slices 1 and 9"; "" without any."""
        return str(self.summary.get("labels", {}).get("message", ""))

    @property
    def es_frame(self) -> int:
        """Frame in which the labels of the LV are smallest."""
        return int((self.labels == STRUCTURES["LV"]).sum(axis=(1, 2, 3)).argmin())

    @cached_property
    def surfaces(self) -> dict[str, Surface]:
        """The moving surfaces by name (`cof.heart.structures.SURFACES`), vertices in RAS coordinates in mm.

        Raises:
            UsageError: the heart has no displacement, or its file does not tell where it lies.
            CofError: a structure is missing in the labels of ED.
        """
        if self.displacement is None:
            raise UsageError(
                f"the model {self.summary['model']} generates images and no motion: this heart has no surfaces"
            )
        if self.placement is None:
            raise UsageError(
                f"{NAME}.safetensors does not tell where its grid lies in the scan (placement): make the heart again"
            )
        return moving_surfaces(self.labels[0], self.displacement, self.placement, self.affine, len(self.labels))


def _recorded(folder: Path) -> Recorded | None:
    scan = folder / f"{SCAN}.nii"
    if not scan.is_file():
        return None
    return Recorded(read_cine(scan), read_labels(scan.with_name(f"{SCAN}.labels.nii.gz")))
