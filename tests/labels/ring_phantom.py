"""A small annotated cohort of ring-shaped hearts: LV disc, myocardial ring, RV crescent; pose and contrast vary."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage

from cof.artefacts.parquet import write_table
from cof.artefacts.provenance import stamp
from cof.cine.volume import Cine, write_cine, write_labels


def ring_heart(
    rng: np.random.Generator, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], contraction: float
) -> np.ndarray:
    """Labels [Z, Y, X] of one frame; `contraction` in [0, 1) shrinks the LV and thickens its wall.

    The pose comes from `rng`: two calls with generators of the same state give the same heart.
    """
    slices, rows, columns = shape
    centre_y = rows * spacing_mm[1] / 2 + rng.uniform(-6, 6)
    centre_x = columns * spacing_mm[2] / 2 + rng.uniform(-6, 6)
    radius, wall = rng.uniform(18, 26), rng.uniform(7, 10)
    z, y, x = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    distance = np.hypot(y * spacing_mm[1] - centre_y, x * spacing_mm[2] - centre_x)
    right = np.hypot(y * spacing_mm[1] - centre_y, x * spacing_mm[2] - centre_x + radius + wall)
    taper = np.sqrt(1 - (z / (slices + 1)) ** 2)
    outer = (radius + wall) * taper
    inner = np.sqrt(np.maximum(outer**2 - (2 * radius * wall + wall**2) * taper * (1 + contraction), 0))
    labels = np.zeros(shape, np.uint8)
    labels[right < 0.9 * radius * taper * (1 - 0.3 * contraction)] = 3
    labels[distance < outer] = 2
    labels[distance < inner] = 1
    return labels


def image_of(labels: np.ndarray, rng: np.random.Generator, noise: float = 18.0) -> np.ndarray:
    """A cine-like int16 image: bright blood, dark myocardium, textured surroundings, coil shading and noise."""
    blood, muscle = rng.uniform(300, 380), rng.uniform(90, 130)
    surroundings = 190 + 60 * ndimage.gaussian_filter(rng.standard_normal(labels.shape), (0.5, 5, 5)) * 8
    image = np.choose(labels, [surroundings, np.float64(blood), np.float64(muscle), np.float64(0.95 * blood)])
    shading = np.linspace(rng.uniform(0.8, 1.2), rng.uniform(0.8, 1.2), labels.shape[2])
    noisy = ndimage.gaussian_filter(image, (0, 0.6, 0.6)) * shading + noise * rng.standard_normal(labels.shape)
    return np.clip(noisy, 1, 4000).astype(np.int16)


@dataclass(frozen=True)
class Cohort:
    """Where the pieces of a small cohort lie."""

    root: Path

    @property
    def subjects(self) -> Path:
        return self.root / "cohort/subjects.parquet"

    @property
    def cine(self) -> Path:
        return self.root / "cine/b000"

    @property
    def annotations(self) -> Path:
        return self.root / "annotations/b000"


def make_cohort(
    root: Path,
    training: int = 5,
    test: int = 1,
    shape: tuple[int, int, int] = (5, 64, 64),
    spacings_mm: tuple[tuple[float, float, float], ...] = ((10.0, 1.8, 1.8), (10.0, 1.8, 1.8), (10.0, 2.1, 2.1)),
    frames: int = 3,
) -> Cohort:
    """Write a cohort: ED is frame 0, ES the middle frame, and the cine of every subject has `frames` frames."""
    cohort = Cohort(root)
    rows = []
    for index in range(training + test):
        subject = f"sub-{index:04d}-v2"
        spacing = spacings_mm[index % len(spacings_mm)]
        phases = 0.45 * np.sin(np.pi * np.arange(frames) / frames)
        truth = np.stack([ring_heart(np.random.default_rng(index), shape, spacing, phase) for phase in phases])
        # The same generator for every frame: contrast, texture and shading belong to the subject.
        image = np.stack([image_of(labels, np.random.default_rng([7, index])) for labels in truth])
        affine = np.diag([*spacing[::-1], 1.0])
        times = np.arange(frames) * 900.0 / frames
        write_cine(cohort.cine / f"{subject}.nii", Cine(image, affine, times, 900.0))
        annotated = index < training
        if annotated:
            marked = truth.copy()
            for frame in set(range(frames)) - {0, int(np.argmax(phases))}:
                marked[frame] = 0
            write_labels(cohort.annotations / f"{subject}.nii.gz", marked, affine)
        rows.append(
            {
                "subject": subject,
                "participant": subject.rsplit("-v", 1)[0],
                "visit": 2,
                "split": "train" if annotated else "test",
                "batch": "b000",
                "annotated": annotated,
            }
        )
    write_table(cohort.subjects, pd.DataFrame(rows), stamp({}))
    return cohort
