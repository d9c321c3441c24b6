"""Control: the mean motion of the training hearts, scaled to an ejection fraction that a regression predicts."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from sklearn.linear_model import RidgeCV

from cof.config.controls import MeanMotionSettings, ScaledMotionSettings
from cof.heart.structures import STRUCTURES
from cof.models.base import Example, Generated, Save, Subject
from cof.models.carried import scale_to_ef
from cof.models.controls.motion import WEIGHTS, MeanMotionFamily, MeanMotionModel, mean_motion_tensors
from cof.models.controls.standard import Standard
from cof.training.run import Run

PENALTIES = np.logspace(-2, 4, 25)


def predictors(subject: Subject, which: str) -> np.ndarray:
    """Return the predictors [P] of the EF: the features of the ECG, the EDV of the anchor in mL, or none."""
    if which == "ecg":
        return np.asarray(subject.features, float)
    if which == "edv":
        voxel_ml = float(np.prod(subject.placement.spacing_mm)) / 1000
        return np.array([voxel_ml * np.count_nonzero(subject.anchor_labels == STRUCTURES["LV"])])
    return np.empty(0)


class EfRegression:
    """Ridge regression of EF (%) on standardised predictors; a missing predictor gets its mean."""

    def __init__(self, standard: Standard, coefficients: np.ndarray, intercept: float) -> None:
        self.standard, self.coefficients, self.intercept = standard, coefficients, intercept

    @classmethod
    def of(cls, values: np.ndarray, ef_pct: np.ndarray) -> "EfRegression":
        """Fit the regression to predictors [N, P] and EF [N] in %; the leave-one-out error chooses the penalty."""
        standard = Standard.of(values)
        if not values.shape[1]:
            return cls(standard, np.empty(0), float(ef_pct.mean()))
        fitted = RidgeCV(alphas=PENALTIES).fit(standard.apply(values), ef_pct)
        return cls(standard, fitted.coef_, float(fitted.intercept_))

    def predict(self, values: np.ndarray) -> float:
        """Predict the EF in % from the predictors [P] of one subject."""
        return float(self.standard.apply(values) @ self.coefficients + self.intercept)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the tensors for `of_tensors`."""
        values = vars(self.standard) | {"coefficients": self.coefficients, "intercept": self.intercept}
        return {name: torch.as_tensor(value, dtype=torch.float64) for name, value in values.items()}

    @classmethod
    def of_tensors(cls, tensors: dict[str, torch.Tensor]) -> "EfRegression":
        """Make the regression from the result of `tensors`."""
        standard = Standard(tensors["centre"].numpy(), tensors["scale"].numpy())
        return cls(standard, tensors["coefficients"].numpy(), float(tensors["intercept"]))


class ScaledMotionModel:
    """The mean motion, scaled to a predicted ejection fraction."""

    def __init__(self, mean: MeanMotionModel, regression: EfRegression, which: str) -> None:
        self.mean, self.regression, self.which = mean, regression, which

    def generate(self, subject: Subject, frames: int, seed: int) -> Generated:
        """Return the mean motion times the factor with which the warped LV has the predicted EF at end systole."""
        wanted = self.regression.predict(predictors(subject, self.which))
        made = self.mean.generate(subject, frames, seed).displacement
        assert made is not None
        factor = scale_to_ef(subject, made, wanted)
        return Generated(displacement=factor * made, measures={"ef_wanted_pct": round(wanted, 3), "factor": factor})


class ScaledMotionFamily:
    """Prediction without a model of motion: the mean motion, scaled to an ejection fraction from a regression.

    The regression gets the twelve features of the ECG. Two null models get less: the EDV of the anchor alone, or
    nothing, so that everybody gets the mean EF, and stroke volume and cardiac output follow from EDV and heart rate.
    """

    def fit(
        self,
        train: Sequence[Example],
        validation: Sequence[Example],
        settings: ScaledMotionSettings,
        seed: int,
        run: Run,
    ) -> Save:
        """Average the motion, and fit the regression to the EF from the labels of the real cines."""
        told = [(predictors(example, settings.predictors), example.ef_pct) for example in train]
        values, ef_pct = np.stack([each for each, _ in told]), np.array([ef for _, ef in told], float)
        fitted = EfRegression.of(values, ef_pct)
        tensors = fitted.tensors() | mean_motion_tensors(train)
        return lambda out: save_file(tensors, out / WEIGHTS)

    def load(self, folder: Path, settings: ScaledMotionSettings) -> ScaledMotionModel:
        """Load mean motion and regression in `folder`."""
        return ScaledMotionModel(
            MeanMotionFamily().load(folder, MeanMotionSettings(registration=settings.registration)),
            EfRegression.of_tensors(load_file(folder / WEIGHTS)),
            settings.predictors,
        )
