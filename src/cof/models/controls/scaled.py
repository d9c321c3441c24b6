"""Control: the population's mean motion, made as strong as an ejection fraction that a regression predicts."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from scipy.optimize import brentq
from sklearn.linear_model import RidgeCV
from torch import Tensor

from cof.cine.grid import Placement
from cof.config.controls import MeanMotionSettings, ScaledMotionSettings
from cof.heart.structures import STRUCTURES
from cof.models.base import Example, Generated, Save, Subject
from cof.models.controls.motion import WEIGHTS, MeanMotionFamily, MeanMotionModel, mean_motion_tensors
from cof.motion.resolution import to_canonical
from cof.motion.warp import fill_invalid, warp
from cof.training.run import Run

# The mean motion is scaled by a factor between these.
FACTORS = (0.0, 3.0)
PENALTIES = np.logspace(-2, 4, 25)
_REGRESSION = ("centre", "scale", "coefficients", "intercept")


def predictors(subject: Subject, which: str) -> np.ndarray:
    """What the ejection fraction is predicted from, [P]: the ECG's features, the anchor's EDV in mL, or nothing."""
    if which == "ecg":
        return np.asarray(subject.features, float)
    if which == "edv":
        voxel_ml = float(np.prod(subject.placement.spacing_mm)) / 1000
        return np.array([voxel_ml * np.count_nonzero(subject.anchor_labels == STRUCTURES["LV"])])
    return np.empty(0)


class EfRegression:
    """Ridge regression of EF (%) on standardised predictors; what could not be measured counts as the mean."""

    def __init__(self, centre: np.ndarray, scale: np.ndarray, coefficients: np.ndarray, intercept: float) -> None:
        self.centre, self.scale, self.coefficients, self.intercept = centre, scale, coefficients, intercept

    @classmethod
    def of(cls, values: np.ndarray, ef_pct: np.ndarray) -> "EfRegression":
        """Fit predictors [N, P] to EF [N]; leave-one-out error chooses the penalty."""
        columns = values.shape[1]
        measured = np.isfinite(values)
        count = np.maximum(measured.sum(0), 1)
        centre = np.where(measured, values, 0).sum(0) / count
        spread = np.sqrt((np.where(measured, values - centre, 0) ** 2).sum(0) / count)
        scale = np.where(spread > 0, spread, np.inf)
        if not columns:
            return cls(centre, scale, np.empty(0), float(ef_pct.mean()))
        fitted = RidgeCV(alphas=PENALTIES).fit(np.nan_to_num((values - centre) / scale), ef_pct)
        return cls(centre, scale, fitted.coef_, float(fitted.intercept_))

    def predict(self, values: np.ndarray) -> float:
        """The EF in % of one subject's predictors [P]."""
        return float(np.nan_to_num((values - self.centre) / self.scale) @ self.coefficients + self.intercept)


def carried_ef(labels: np.ndarray, displacement: Tensor, placement: Placement) -> float:
    """The EF in % of the anchor's LV, carried to one frame by a displacement.

    Args:
        labels: [Z, Y, X] of the anchor on the canonical grid.
        displacement: [3, Z, Y/2, X/2] in mm, of the frame.
        placement: the canonical grid.

    Returns:
        From the sum of the shares of LV in the voxels, which changes continuously with the displacement.
    """
    cavity = torch.from_numpy((labels == STRUCTURES["LV"]).astype(np.float32))
    filled = fill_invalid(cavity, placement.valid)[None, None]
    moved = warp(filled, to_canonical(displacement[None]), placement.spacing_mm)[0, 0]
    valid = torch.tensor(placement.valid)
    return 100 * (1 - float(moved[valid].sum()) / float(cavity[valid].sum()))


class ScaledMotionModel:
    """The mean motion, scaled to a predicted ejection fraction."""

    def __init__(self, mean: MeanMotionModel, regression: EfRegression, which: str) -> None:
        self.mean, self.regression, self.which = mean, regression, which

    def generate(self, subject: Subject, frames: int, seed: int) -> Generated:
        """The mean motion times the factor that carries the anchor's LV to the predicted EF at end systole."""
        wanted = self.regression.predict(predictors(subject, self.which))
        made = self.mean.generate(subject, frames, seed).displacement
        assert made is not None
        factor = scale_to_ef(subject, made, wanted)
        return Generated(displacement=factor * made, measures={"ef_wanted_pct": round(wanted, 3), "factor": factor})


def scale_to_ef(subject: Subject, displacement: Tensor, wanted_pct: float) -> float:
    """The factor in `FACTORS` by which a displacement [T, 3, Z, Y/2, X/2] must be scaled for an EF.

    End systole is the frame at which the displacement, as it is, leaves the smallest LV. An EF that no factor reaches
    gets the nearer end of the range.
    """
    labels, placement = subject.anchor_labels, subject.placement
    systole = max(displacement, key=lambda frame: carried_ef(labels, frame, placement))

    def excess(factor: float) -> float:
        return carried_ef(labels, factor * systole, placement) - wanted_pct

    low, high = FACTORS
    if excess(low) >= 0:
        return low
    if excess(high) <= 0:
        return high
    return round(float(brentq(excess, low, high, xtol=1e-4)), 6)


class ScaledMotionFamily:
    """What can be had without a model of motion: an ejection fraction from a regression, times the mean motion.

    The regression sees the twelve features of the ECG; or, for two nulls, the anchor's EDV alone (an EDV-only predictor
    of ESV), or nothing (everyone's mean EF, so that stroke volume and cardiac output follow from EDV and heart rate).
    """

    def fit(
        self,
        train: Sequence[Example],
        validation: Sequence[Example],
        settings: ScaledMotionSettings,
        seed: int,
        run: Run,
    ) -> Save:
        """Average the motion and fit the regression on the EF of the real cines' labels."""
        told = [(predictors(example, settings.predictors), example.ef_pct) for example in train]
        values, ef_pct = np.stack([each for each, _ in told]), np.array([ef for _, ef in told], float)
        fitted = EfRegression.of(values, ef_pct)
        tensors = {name: torch.as_tensor(getattr(fitted, name), dtype=torch.float64) for name in _REGRESSION}
        tensors |= mean_motion_tensors(train)
        return lambda out: save_file(tensors, out / WEIGHTS)

    def load(self, folder: Path, settings: ScaledMotionSettings) -> ScaledMotionModel:
        """Mean motion and regression in `folder`."""
        tensors = load_file(folder / WEIGHTS)
        centre, scale, coefficients, intercept = (tensors[name].numpy() for name in _REGRESSION)
        return ScaledMotionModel(
            MeanMotionFamily().load(folder, MeanMotionSettings(registration=settings.registration)),
            EfRegression(centre, scale, coefficients, float(intercept)),
            settings.predictors,
        )
