"""Real and generated heart of one subject as pictures, and the choice of subjects by their EF error."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from cof.cine.grid import nearest_frame
from cof.cine.volume import Cine, read_cine, read_labels
from cof.config.figures import CINES, LABELS, TWINS
from cof.errors import UsageError
from cof.figures.function import INDICES
from cof.figures.sources import Sources
from cof.heart.function import volume_curve
from cof.heart.structures import STRUCTURES
from cof.viewer.cines import Crop, contours, place_crop

_EF = next(index for index in INDICES if index.key == "ef")
# The colours of real and generated heart, in light tones for dark images.
ON_IMAGE = {"real": "#56b4e9", "generated": "#e69f00"}
DASHES = {"real": "-", "generated": (0, (3, 1.6))}


@dataclass(frozen=True)
class Pair:
    """The real and the generated heart of one subject, by name: `real`, `generated`.

    Attributes:
        cines: native cines; both have the same grid.
        labels: their labels, uint8 [T, Z, Y, X].
        crop: the part that is shown, placed by the anchor.
    """

    cines: dict[str, Cine]
    labels: dict[str, np.ndarray]
    crop: Crop

    @classmethod
    def read(cls, sources: Sources, subject: str) -> "Pair":
        """Read the hearts of a subject.

        Raises:
            UsageError: the run has no such subject, or not both hearts of it.
        """
        if subject not in sources.batches:
            raise UsageError(f"figures: the cohort has no subject '{subject}'")
        cines = {
            "real": read_cine(sources.file(CINES, subject, ".nii")),
            "generated": read_cine(sources.file(TWINS, subject, ".nii")),
        }
        labels = {
            "real": read_labels(sources.file(LABELS, subject, ".nii.gz")),
            "generated": read_labels(sources.file(TWINS, subject, ".labels.nii.gz")),
        }
        real = cines["real"]
        return cls(cines, labels, place_crop(np.asarray(real.frames[0]), labels["real"][0], real.spacing_mm))

    def volumes_ml(self, heart: str, structure: str = "LV") -> np.ndarray:
        """Return the volumes [T] of a structure over the cycle in mL."""
        return volume_curve(self.labels[heart], STRUCTURES[structure], self.cines["real"].spacing_mm)

    @property
    def es_phase(self) -> float:
        """Phase of the frame of the smallest real LV."""
        volumes = self.volumes_ml("real")
        return int(volumes.argmin()) / len(volumes)

    def frame(self, heart: str, phase: float) -> int:
        """Return the frame of a heart at a phase of the cycle."""
        return nearest_frame(phase, len(self.labels[heart]))

    def image(self, heart: str, phase: float, level: int) -> np.ndarray:
        """Return the shown part of a slice in [0, 1]; level 0 is basal, 1 mid-ventricular, 2 apical."""
        low, high = self.crop.window
        return np.clip((self._shown(self.cines[heart].frames, heart, phase, level) - low) / (high - low), 0, 1)

    def mask(self, heart: str, phase: float, level: int) -> np.ndarray:
        """Return the labels of the shown part of a slice."""
        return self._shown(self.labels[heart], heart, phase, level)

    def _shown(self, frames: np.ndarray, heart: str, phase: float, level: int) -> np.ndarray:
        crop = self.crop
        plane = frames[self.frame(heart, phase), crop.slices[level], slice(*crop.y), slice(*crop.x)]
        return np.asarray(plane, np.float32)

    @property
    def aspect(self) -> float:
        """Height of a pixel divided by its width."""
        return self.crop.spacing_mm[0] / self.crop.spacing_mm[1]

    def outline(self, axes: Axes, heart: str, phase: float, level: int) -> None:
        """Draw the contour of a heart's LV cavity onto the image of a slice."""
        frame = self.frame(heart, phase)
        for polygon in contours(self.labels[heart][frame : frame + 1], self.crop)[level][0][0]:
            # An outline counts from the corner of the first pixel, an image from its centre.
            x, y = np.append(polygon, polygon[:2]).reshape(-1, 2).T - 0.5
            axes.plot(x, y, color=ON_IMAGE[heart], linestyle=DASHES[heart], linewidth=1.7 if heart == "real" else 1)


def ef_errors(sources: Sources) -> pd.Series:
    """Return the absolute EF error in percentage points of every subject that has one, smallest first, then by name."""
    pairs = _EF.pairs(sources)
    errors = (pairs["generated"] - pairs["real"]).abs().rename("error").reset_index()
    return errors.sort_values(["error", "subject"]).set_index("subject")["error"]


def median_of(errors: pd.Series) -> str:
    """Return the subject with the median of sorted errors; of two in the middle, the one with the smaller error."""
    return str(errors.index[(len(errors) - 1) // 2])
