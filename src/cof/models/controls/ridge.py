"""The linear baseline: ridge regression of the motion on the anchor's anatomy, the RR interval and the sex.

It has no network and no waves of the ECG. What a network predicts better than this is neither size and shape of the
anchor nor heart rate, and not linear in them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from cof.config.controls import RidgeSettings
from cof.heart.structures import STRUCTURES
from cof.models.alignment import HeartPose
from cof.models.base import Example, Generated, Save, Subject
from cof.models.controls.motion import see_through
from cof.models.controls.standard import Standard
from cof.models.flow.matching import reference_path
from cof.models.weights import WEIGHTS
from cof.motion.path import DisplacementPath
from cof.motion.resolution import motion_spacing
from cof.training.run import Run

PENALTIES = np.logspace(-1, 5, 25)
# The principal components of the anatomy are computed in memory: 2.6 MB per heart on a grid of 12 x 96 x 96.
MOST_HEARTS = 500


@dataclass(frozen=True)
class Anatomy:
    """Description of an anchor by numbers.

    Attributes:
        pose: pose of the mean heart, with which hearts are aligned.
        mean: [V], mean of the structures' aligned masks, flattened.
        directions: [C, V], their principal components.
    """

    pose: HeartPose
    mean: np.ndarray
    directions: np.ndarray

    @classmethod
    def of(cls, hearts: Sequence[Subject], pose: HeartPose, components: int) -> "Anatomy":
        """Compute at most `components` principal components of the masks of hearts; they are fewer than the hearts.

        They are computed from the products of the hearts with one another, since the singular value decomposition of
        the masks takes nine times their memory. A component without variance is zero.
        """
        masks = np.stack([_aligned_masks(heart, pose) for heart in hearts])
        mean = masks.mean(0)
        masks -= mean
        variances, vectors = np.linalg.eigh((masks @ masks.T).astype(float))
        order = np.argsort(-variances)[: min(components, len(masks) - 1)]
        directions = vectors[:, order].T.astype(masks.dtype) @ masks
        varies = variances[order] > 1e-6 * max(variances.max(), 1.0)
        directions[~varies] = 0
        directions[varies] /= np.linalg.norm(directions[varies], axis=1, keepdims=True)
        return cls(pose, mean, directions)

    def describe(self, subject: Subject) -> np.ndarray:
        """Return volumes of the structures in mL, size of the left ventricle (z, in-plane) in mm, and components."""
        spacing = subject.placement.spacing_mm
        voxel_ml = float(np.prod(spacing)) / 1000
        volumes = [voxel_ml * np.count_nonzero(subject.anchor_labels == code) for code in STRUCTURES.values()]
        size_z, size_y, _ = HeartPose.of(subject.anchor_labels, spacing).size_mm
        shape = self.directions @ (_aligned_masks(subject, self.pose) - self.mean)
        return np.array([*volumes, size_z, size_y, *shape], float)


def _aligned_masks(subject: Subject, pose: HeartPose) -> np.ndarray:
    """Return the masks of the anchor's structures, aligned with a heart of the pose `pose`: float32 [3 * Z * Y * X]."""
    spacing = subject.placement.spacing_mm
    masks = np.stack([subject.anchor_labels == code for code in STRUCTURES.values()]).astype(np.float32)
    maps = pose.onto(HeartPose.of(subject.anchor_labels, spacing))
    return maps.map_images(torch.from_numpy(masks)[None], spacing)[0].numpy().ravel()


def regressors(subject: Subject, anatomy: Anatomy) -> np.ndarray:
    """Return all regressors of a subject; NaN for a sex that is not stated."""
    sex = {"M": 1.0, "F": 0.0}.get(subject.sex, np.nan)
    return np.array([*anatomy.describe(subject), subject.rr_ms, np.log(subject.rr_ms), sex])


def choose_penalty(singular: np.ndarray, explained: np.ndarray, total: float, hearts: int) -> float:
    """Choose the penalty of a ridge regression by generalised cross-validation (Golub, Heath and Wahba, 1979).

    With the singular value decomposition X = U S V' of the centred regressors, the fit shrinks U'Y by the factors
    s^2 / (s^2 + penalty). All outputs share the penalty, so nothing is needed of them but the sums of squares of Y and
    U'Y, and hearts need not be in memory together.

    Args:
        singular: [R], singular values of the regressors.
        explained: [R], sums of squares of the rows of U'Y.
        total: sum of squares of the centred outputs Y.
        hearts: number of training hearts.
    """
    shrunk = singular**2 / (singular**2 + PENALTIES[:, None])
    residual = total - ((1 - (1 - shrunk) ** 2) * explained).sum(1)
    freedom = hearts - 1 - shrunk.sum(1)
    score = np.where(freedom > 0, residual / np.maximum(freedom, 1e-9) ** 2, np.inf)
    return float(PENALTIES[np.argmin(score)])


def fit_ridge(train: Sequence[Example], anatomy: Anatomy) -> tuple[Standard, Tensor, Tensor]:
    """Fit the aligned motion of training hearts by ridge regression.

    Hearts are read one by one, once for the regressors and once for the motion. In memory are a few motions per
    regressor, whatever the number of hearts: 1.3 GB for 18 regressors, a grid of 12 x 96 x 96 and 50 frames.

    Returns:
        Standardisation of the regressors; mean motion [T, 3, Z, Y/2, X/2] in mm; change of the motion per standard
        deviation of each regressor [P, T, 3, Z, Y/2, X/2] in mm.
    """
    rows = np.stack([regressors(heart, anatomy) for heart in train])
    standard = Standard.of(rows)
    left, singular, right = np.linalg.svd(standard.apply(rows), full_matrices=False)
    varies = singular > 1e-9 * singular.max(initial=1)
    left, singular, right = left[:, varies], singular[varies], right[varies]
    frames, total = len(reference_path(train[0])), 0.0
    shape = _aligned_motion(train[0], anatomy.pose, frames).shape
    weights = torch.from_numpy(np.c_[np.full(len(rows), 1 / len(rows)), left])
    sums = torch.zeros(weights.shape[1], shape.numel(), dtype=torch.float64)  # the mean of Y, and U'Y
    for heart, own in zip(train, weights):
        motion = _aligned_motion(heart, anatomy.pose, frames).double().flatten()
        sums.addr_(own, motion)
        total += float(motion.square().sum())
    mean, explained = sums[0], sums[1:].square().sum(1).numpy()
    penalty = choose_penalty(singular, explained, total - len(rows) * float(mean.square().sum()), len(rows))
    slopes = torch.from_numpy(right.T * (singular / (singular**2 + penalty))) @ sums[1:]
    return standard, mean.float().view(shape), slopes.float().view(-1, *shape)


def _aligned_motion(heart: Example, pose: HeartPose, frames: int) -> Tensor:
    """Return the registered motion [T, 3, Z, Y/2, X/2] of a heart, aligned with a heart of the pose `pose`."""
    spacing = heart.placement.spacing_mm
    motion = reference_path(heart).resample(frames).knots.float()
    return see_through(pose, HeartPose.of(heart.anchor_labels, spacing), motion, motion_spacing(spacing))


class RidgeModel:
    """The fitted regression."""

    def __init__(self, anatomy: Anatomy, standard: Standard, mean: Tensor, slopes: Tensor) -> None:
        self.anatomy, self.standard, self.mean, self.slopes = anatomy, standard, mean, slopes

    def generate(self, subject: Subject, frames: int, seed: int) -> Generated:
        """Predict the motion of one subject. It is deterministic, so the seed has no effect."""
        spacing = subject.placement.spacing_mm
        values = torch.from_numpy(self.standard.apply(regressors(subject, self.anatomy))).float()
        motion = self.mean + torch.tensordot(values, self.slopes, 1)
        motion[0] = 0
        motion = DisplacementPath(motion).resample(frames).knots
        own = HeartPose.of(subject.anchor_labels, spacing)
        moved = see_through(own, self.anatomy.pose, motion, motion_spacing(spacing))
        moved[0] = 0
        return Generated(displacement=moved)


class RidgeFamily:
    """Linear prediction without a network: ridge regression of the motion on anatomy, RR interval and sex.

    The regressors are the volumes of the anchor's structures, the size of its left ventricle, principal components of
    its aligned labels, the RR interval, its logarithm, and the sex. Hearts are aligned by their left ventricles. One
    penalty, chosen by generalised cross-validation on the training hearts, applies to the whole motion.
    """

    def fit(
        self, train: Sequence[Example], validation: Sequence[Example], settings: RidgeSettings, seed: int, run: Run
    ) -> Save:
        """Fit the regression. The components of the anatomy are those of at most `MOST_HEARTS` random hearts."""
        pose = HeartPose.mean([HeartPose.of(heart.anchor_labels, heart.placement.spacing_mm) for heart in train])
        chosen = np.arange(len(train))
        if len(chosen) > MOST_HEARTS:
            chosen = np.sort(np.random.default_rng(seed).choice(chosen, MOST_HEARTS, replace=False))
        anatomy = Anatomy.of([train[int(index)] for index in chosen], pose, settings.components)
        standard, mean, slopes = fit_ridge(train, anatomy)
        tensors = pose.tensors() | {
            "shape_mean": torch.from_numpy(anatomy.mean),
            "shape_directions": torch.from_numpy(anatomy.directions),
            "centre": torch.from_numpy(standard.centre),
            "scale": torch.from_numpy(standard.scale),
            "mean": mean,
            "slopes": slopes.half(),
        }
        return lambda out: save_file({name: value.contiguous() for name, value in tensors.items()}, out / WEIGHTS)

    def load(self, folder: Path, settings: RidgeSettings) -> RidgeModel:
        """Load the regression in `folder`."""
        tensors = load_file(folder / WEIGHTS)
        shape = (tensors[name].float().numpy() for name in ("shape_mean", "shape_directions"))
        anatomy = Anatomy(HeartPose.of_tensors(tensors), *shape)
        standard = Standard(tensors["centre"].double().numpy(), tensors["scale"].double().numpy())
        return RidgeModel(anatomy, standard, tensors["mean"].float(), tensors["slopes"].float())
