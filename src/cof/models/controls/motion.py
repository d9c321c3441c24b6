"""Controls: models without an ECG, with which a generated heart must be compared before a gain is due to the ECG."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from cof.cine.grid import INTENSITY_UNIT, resample_phase
from cof.config.base import Triple
from cof.config.controls import MeanMotionSettings, OracleSettings, RandomSettings, StaticSettings
from cof.models.alignment import HeartPose, map_displacement
from cof.models.base import Example, Generated, Save, Subject
from cof.models.data import ecgs_of
from cof.models.exchange import participant, rank
from cof.models.flow.matching import reference_path
from cof.motion.augmentation import AffineMaps
from cof.motion.path import DisplacementPath
from cof.motion.resolution import motion_shape, motion_spacing
from cof.training.run import Run

WEIGHTS = "weights.safetensors"


class StaticFamily:
    """The static anchor, without any motion."""

    def fit(
        self,
        train: Sequence[Example],
        validation: Sequence[Example],
        settings: StaticSettings,
        seed: int,
        run: Run,
    ) -> Save:
        """Return a function that writes nothing; there is nothing to learn."""
        return lambda out: None

    def load(self, folder: Path, settings: StaticSettings) -> "StaticFamily":
        """Return the family itself; there is nothing to load."""
        return self

    def generate(self, subject: Subject, frames: int, seed: int) -> Generated:
        """Return a displacement of zero."""
        return Generated(displacement=torch.zeros(frames, 3, *motion_shape(subject.placement.shape)))


class OracleFamily:
    """The ceiling of all models that warp the anchor: the registered motion of the subject's own real cine."""

    def fit(
        self,
        train: Sequence[Example],
        validation: Sequence[Example],
        settings: OracleSettings,
        seed: int,
        run: Run,
    ) -> Save:
        """Return a function that writes nothing; there is nothing to learn."""
        return lambda out: None

    def load(self, folder: Path, settings: OracleSettings) -> "OracleFamily":
        """Return the family itself; there is nothing to load."""
        return self

    def generate(self, subject: Subject, frames: int, seed: int) -> Generated:
        """Return the registered displacement of the subject at `frames` phases."""
        if not isinstance(subject, Example):
            raise TypeError("the oracle needs an Example with the subject's own displacement, and got a Subject")
        return Generated(displacement=reference_path(subject).resample(frames).knots.float())


class RandomModel:
    """Real cines of training subjects."""

    def __init__(self, file: Path) -> None:
        self.file = file
        with safe_open(file, framework="pt") as donors:
            self.donors = sorted(donors.keys())

    def generate(self, subject: Subject, frames: int, seed: int) -> Generated:
        """Return the cine of a donor, chosen by seed and subject; never one of the same participant."""
        others = [name for name in self.donors if participant(name) != participant(subject.subject)]
        if not others:
            raise ValueError(f"{self.file.name} holds no cine of another participant than {subject.subject}")
        donor = min(others, key=lambda name: rank(seed, subject.subject, name))
        with safe_open(self.file, framework="pt") as donors:
            cine = donors.get_tensor(donor).float().numpy()
        return Generated(cine=torch.from_numpy(resample_phase(cine, frames)), measures={"donor": donor})


class RandomFamily:
    """The paper's Random Sample: the real cine of another subject."""

    def fit(
        self,
        train: Sequence[Example],
        validation: Sequence[Example],
        settings: RandomSettings,
        seed: int,
        run: Run,
    ) -> Save:
        """Keep the cines of up to `donors` training subjects, chosen by the seed."""
        ranks = [rank(seed, ecg.subject) for ecg in ecgs_of(train)]
        cines = {}
        for index in sorted(range(len(train)), key=ranks.__getitem__)[: settings.donors]:
            example = train[index]
            if example.cine is None:
                raise ValueError(f"{example.subject} has no cine")
            cine = np.asarray(example.cine)
            unit = INTENSITY_UNIT if np.issubdtype(cine.dtype, np.integer) else 1.0
            cines[example.subject] = torch.from_numpy((cine * np.float32(unit)).astype(np.float16))
        return lambda out: save_file(cines, out / WEIGHTS)

    def load(self, folder: Path, settings: RandomSettings) -> RandomModel:
        """Open the cines in `folder`; each is read when it is needed."""
        return RandomModel(folder / WEIGHTS)


class MeanMotionModel:
    """The mean motion of the training hearts, around a mean heart."""

    def __init__(self, displacement: Tensor, pose: HeartPose) -> None:
        self.path = DisplacementPath(displacement)
        self.pose = pose

    def generate(self, subject: Subject, frames: int, seed: int) -> Generated:
        """Return the mean motion, moved and scaled to the subject's left ventricle."""
        spacing = subject.placement.spacing_mm
        own = HeartPose.of(subject.anchor_labels, spacing)
        mean = self.path.resample(frames).knots
        moved = see_through(own, self.pose, mean, motion_spacing(spacing))
        moved[0] = 0
        return Generated(displacement=moved)


class MeanMotionFamily:
    """Prediction without an ECG: every heart moves by the mean motion of the training hearts.

    The integral is linear, so the mean velocity integrates to the mean displacement. The mean is therefore taken over
    displacements, after the affine map of each left ventricle to the mean one.
    """

    def fit(
        self,
        train: Sequence[Example],
        validation: Sequence[Example],
        settings: MeanMotionSettings,
        seed: int,
        run: Run,
    ) -> Save:
        """Average the aligned displacements over the valid slices of the training subjects."""
        tensors = mean_motion_tensors(train)
        return lambda out: save_file(tensors, out / WEIGHTS)

    def load(self, folder: Path, settings: MeanMotionSettings) -> MeanMotionModel:
        """Load the mean motion in `folder`."""
        tensors = load_file(folder / WEIGHTS)
        return MeanMotionModel(tensors["displacement"], HeartPose.of_tensors(tensors))


def mean_motion_tensors(examples: Sequence[Example]) -> dict[str, Tensor]:
    """Return the tensors that a model stores: the mean motion and its pose."""
    displacement, pose = mean_motion(examples)
    return {"displacement": displacement} | pose.tensors()


def mean_motion(examples: Sequence[Example]) -> tuple[Tensor, HeartPose]:
    """Compute the mean displacement [T, 3, Z, Y/2, X/2] in mm around a mean left ventricle, and its pose."""
    canonical = examples[0].placement.spacing_mm
    spacing = motion_spacing(canonical)
    poses = [HeartPose.of(example.anchor_labels, canonical) for example in examples]
    mean_pose = HeartPose.mean(poses)
    frames = len(reference_path(examples[0]))
    shape = motion_shape(examples[0].placement.shape)
    total = torch.zeros(frames, 3, *shape, dtype=torch.float64)
    weight = torch.zeros(shape, dtype=torch.float64)
    for example, pose in zip(examples, poses):
        motion = reference_path(example).resample(frames).knots.float()
        valid = torch.tensor(example.placement.valid, dtype=torch.float32)[:, None, None].expand(shape)
        maps = mean_pose.onto(pose)
        there = maps.map_images(valid[None, None], spacing)[0, 0].double()
        total += see_through(mean_pose, pose, motion, spacing).double() * there
        weight += there
    mean = (total / weight.clamp(min=1e-6)).float()
    mean[0] = 0
    return mean, mean_pose


def see_through(here: HeartPose, there: HeartPose, displacement: Tensor, spacing_mm: Triple) -> Tensor:
    """Map the motion [T, 3, Z, Y, X] of a heart with the pose `there` to a heart with the pose `here`."""
    maps = here.onto(there)
    each = AffineMaps(maps.matrices.expand(len(displacement), -1, -1), maps.shifts.expand(len(displacement), -1))
    return map_displacement(each, displacement.float(), spacing_mm)
