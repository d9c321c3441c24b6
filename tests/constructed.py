"""A run with constructed metrics, as the stages write them: the truth of every figure is known."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from cof.artefacts.parquet import write_table
from cof.cine.volume import Cine, write_cine, write_labels
from cof.config.evaluation import EvaluationSettings
from cof.config.figures import FigureSettings
from cof.config.metrics import DEFINITIONS_VERSION, LONG_FORM
from cof.figures.sources import Sources

# subject, structure, slice or None, metric, value
Row = tuple[str, str, int | None, str, float]
SETTINGS = FigureSettings(model="cof", population_mean="mean_motion")


def name(number: int) -> str:
    return f"sub-{number:04d}-v2"


def batch(subject: str) -> str:
    return f"b00{int(subject[4:8]) % 2}"


def make_run(
    root: Path, rows: Mapping[str, Iterable[Row]], categories: Mapping[str, list[str]] | None = None
) -> Sources:
    """Write cohort, metrics of every model and ECG categories; return them as the figures read them."""
    listed = {model: list(of) for model, of in rows.items()}
    subjects = sorted({row[0] for of in listed.values() for row in of} | set(categories or ()))
    cohort = pd.DataFrame({"subject": subjects, "split": "test", "batch": [batch(one) for one in subjects]})
    write_table(root / "cohort/subjects.parquet", cohort, {})
    types = {"subject": "string", "structure": "string", "frame": "Int32", "slice": "Int32", "metric": "string"}
    for place in ("b000", "b001"):
        for model, of in listed.items():
            long = [
                (subject, structure, None, rank, metric, value, DEFINITIONS_VERSION)
                for subject, structure, rank, metric, value in of
                if batch(subject) == place
            ]
            table = pd.DataFrame(long, columns=list(LONG_FORM)).astype(types | {"value": "float64"})
            write_table(root / f"metrics/{model}/{place}.parquet", table, {})
        ecgs = [
            {"subject": subject, "categories": (categories or {}).get(subject, ["normal"])}
            for subject in subjects
            if batch(subject) == place
        ]
        write_table(root / f"ecg/{place}.parquet", pd.DataFrame(ecgs, columns=["subject", "categories"]), {})
    return Sources(root, SETTINGS, EvaluationSettings(bootstrap=200))


FRAMES, SLICES, SIZE, SPACING = 10, 6, 48, (10.0, 2.0, 2.0)
RR_MS = 1000.0


def disc_heart(smallest: float, es: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames and labels [T, Z, Y, X] of a disc of radius 12 voxels that shrinks to `smallest` at frame `es`."""
    radius = np.full(FRAMES, 11.0)
    radius[0], radius[es] = 12.0, smallest
    rows, columns = np.indices((SIZE, SIZE))
    left, right = np.hypot(rows - 24, columns - 28), np.hypot(rows - 24, columns - 12)
    cavity = np.repeat((left < radius[:, None, None])[:, None], SLICES, axis=1)
    wall = np.broadcast_to(left < 16, cavity.shape) & ~cavity
    labels = (1 * cavity + 2 * wall + 3 * (np.broadcast_to(right < 8, cavity.shape) & ~cavity & ~wall)).astype(np.uint8)
    return np.choose(labels, [100, 1000, 400, 900]).astype(np.int16), labels


def area(radius: float) -> int:
    """Voxels of a disc of this radius."""
    rows, columns = np.indices((SIZE, SIZE))
    return int((np.hypot(rows - 24, columns - 28) < radius).sum())


def add_hearts(root: Path, subject: str, real: tuple[float, int], generated: tuple[float, int]) -> None:
    """Write the real and the generated heart of a subject, each by its smallest radius and its frame of ES."""
    for folder, labels, of in (
        ("cine", f"labels/{batch(subject)}/{subject}.nii.gz", real),
        ("twins/cof", f"twins/cof/{batch(subject)}/{subject}.labels.nii.gz", generated),
    ):
        frames, masks = disc_heart(*of)
        affine = np.diag([SPACING[2], SPACING[1], SPACING[0], 1.0])
        cine = Cine(frames, affine, np.arange(FRAMES) * RR_MS / FRAMES, RR_MS)
        write_cine(root / f"{folder}/{batch(subject)}/{subject}.nii", cine)
        write_labels(root / labels, masks, affine)


def add_beats(root: Path, subjects: Iterable[str], beat: np.ndarray) -> None:
    """Write the same cycle [12, L] mV of 1000 ms for these subjects, and tables without rows for other batches."""
    for place in ("b000", "b001"):
        rows = [
            {"subject": one, "beat": beat.astype(np.float32).ravel(), "rr_ms": RR_MS}
            for one in subjects
            if batch(one) == place
        ]
        write_table(root / f"beats/{place}.parquet", pd.DataFrame(rows, columns=["subject", "beat", "rr_ms"]), {})
