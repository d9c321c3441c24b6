"""A cohort of ring hearts with analytic motion, written as the stages before `twins` write it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from cof.artefacts.parquet import write_table
from cof.artefacts.provenance import stamp
from cof.cine.grid import read_placement
from cof.cine.stage import grid_batch
from cof.cine.volume import Cine, uniform_times, write_cine, write_labels
from cof.config.controls import MeanMotionSettings, OracleSettings, RandomSettings, StaticSettings
from cof.config.data import GridSettings
from cof.config.flow import CofSettings
from cof.config.flow import VelocitySettings as Field
from cof.heart.structures import STRUCTURES
from cof.models.stage import train
from cof.motion.fields import save_displacement
from cof.motion.resolution import motion_shape

NATIVE = (6, 64, 60)
SPACING = (10.0, 2.0, 2.0)
FRAMES, GRID_FRAMES, SAMPLES = 10, 8, 64
GRID = GridSettings(shape=(6, 32, 32), spacing_mm=(10.0, 3.5, 3.5), frames=GRID_FRAMES)
BLOOD, MUSCLE, BACKGROUND = 400, 120, 40
SUBJECTS = {"sub-0001-v2": "train", "sub-0002-v2": "train", "sub-0003-v2": "validation", "sub-0004-v2": "test",
            "sub-0005-v2": "test", "sub-0006-v2": "test"}  # fmt: skip
HEARD = {"features": np.full(12, np.nan, np.float32), "sex": "F"}
LONE, EXCLUDED = "sub-0005-v2", "sub-0006-v2"

MODELS = {
    "cof": CofSettings(
        field=Field(channels=(4, 8), embedding=8, ecg_channels=(4, 8), time_harmonics=4),
        iterations=4, batch=2, phases=2, learning_rate=5e-2, warmup=0, checkpoint_every=2,
    ),
    "static": StaticSettings(),
    "random": RandomSettings(),
    "mean_motion": MeanMotionSettings(),
    "oracle": OracleSettings(),
}  # fmt: skip


class Threshold:
    """Labels by brightness, enough for these images; counts the frames it was given."""

    calls = 0

    def label(self, frames: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
        Threshold.calls += len(frames)
        blood, muscle = frames > (BLOOD + MUSCLE) / 2, frames > (MUSCLE + BACKGROUND) / 2
        return np.where(blood, STRUCTURES["LV"], np.where(muscle, STRUCTURES["myocardium"], 0)).astype(np.uint8)

    @classmethod
    def load(cls, folder: Path, mirroring: bool) -> "Threshold":
        return cls()


@pytest.fixture
def threshold() -> type[Threshold]:
    Threshold.calls = 0
    return Threshold


@dataclass(frozen=True)
class Chain:
    """Folders of the finished stages."""

    root: Path

    @property
    def sheet(self) -> Path:
        return self.root / "subjects.parquet"

    @property
    def inputs(self) -> dict[str, Path]:
        """What `generate_batch` reads of the batch."""
        return {"sheet": self.sheet, "beats": self.root / "beats.parquet"} | {
            name: self.root / name for name in ("cine", "labels", "grid")
        }

    @property
    def fields(self) -> Path:
        return self.root / "fields"

    def model(self, name: str) -> Path:
        return self.root / "models" / name


def ring(centre: tuple[float, float], radius: float) -> np.ndarray:
    """Labels [Z, Y, X] of a blood pool in a ring of muscle."""
    y, x = np.meshgrid(*(np.arange(size) * 2.0 for size in NATIVE[1:]), indexing="ij")
    distance = np.hypot(y - centre[0], x - centre[1])
    plane = np.where(distance < radius, 1, np.where(distance < radius + 9, 2, 0)).astype(np.uint8)
    return np.broadcast_to(plane, NATIVE).copy()


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    chain = Chain(tmp_path_factory.mktemp("chain"))
    affine = np.diag([*SPACING[::-1], 1.0])
    sheet, beats = [], []
    for index, (name, split) in enumerate(SUBJECTS.items()):
        rng = np.random.default_rng(index)
        centre, radius = (64 + rng.uniform(-4, 4), 60 + rng.uniform(-4, 4)), 24 + index % 2
        lone = name == LONE
        frames = 1 if lone else FRAMES
        labels = np.stack([ring(centre, radius - 8 * np.sin(np.pi * t / FRAMES)) for t in range(frames)])
        image = np.choose(labels, [BACKGROUND, BLOOD, MUSCLE]) + rng.normal(0, 5, labels.shape)
        rr_ms = float("nan") if lone else 800.0 + index
        cine = Cine(image.astype(np.int16), affine, uniform_times(frames, rr_ms), rr_ms)
        write_cine(chain.root / "cine" / f"{name}.nii", cine)
        if name != EXCLUDED:
            write_labels(chain.root / "labels" / f"{name}.nii.gz", labels, affine)
        sheet.append({"subject": name, "participant": name[:-3], "visit": 2, "split": split, "batch": "b000",
                      "annotated": False})  # fmt: skip
        beat = rng.normal(0, 0.3, (12, SAMPLES)).astype(np.float32)
        beats.append({"subject": name, "beat": beat.ravel(), "rr_ms": 900.0 + index, **HEARD})
    write_table(chain.sheet, pd.DataFrame(sheet), stamp({}))
    write_table(chain.inputs["beats"], pd.DataFrame(beats), stamp({}))
    grid = chain.inputs["grid"]
    grid_batch(
        cine=chain.root / "cine", labels=chain.root / "labels", out=grid, exclusions=chain.root / "x", settings=GRID
    )
    for path in grid.glob("*.nii"):
        if path.stem != LONE:
            save_displacement(chain.fields / f"{path.stem}.safetensors", pull(read_placement(path).shape), {})
    for name, settings in MODELS.items():
        needed = [chain.fields] if getattr(settings, "registration", None) else []
        train(
            subjects=chain.sheet, beats=[chain.inputs["beats"]], grid=[grid], labels=[chain.inputs["labels"]],
            fields=needed, out=chain.model(name), work=chain.root / "work", settings=settings, seed=0,
        )  # fmt: skip
    return chain


def pull(shape: tuple[int, int, int]) -> torch.Tensor:
    """A contraction that is largest in mid-cycle: [T, 3, Z, Y/2, X/2] mm, pointing outwards."""
    axes = [torch.arange(size) - (size - 1) / 2 for size in motion_shape(shape)]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    distance = torch.hypot(y, x) * 7.0
    outward = torch.stack([0 * z, y, x]) * 7.0 / distance.clamp(min=1) * torch.exp(-(((distance - 24) / 16) ** 2))
    over_time = torch.sin(torch.pi * torch.arange(GRID_FRAMES) / GRID_FRAMES)
    return 8.0 * over_time.view(-1, 1, 1, 1, 1) * outward
