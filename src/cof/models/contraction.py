"""A trained model whose motion is scaled to an EF that a regression predicts from the anatomy of the anchor."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Kernel, WhiteKernel

from cof.config.flow import ContractedSettings
from cof.errors import UsageError
from cof.heart.shape import shape
from cof.models.base import Example, Generated, Save, Subject, TrainedModel
from cof.models.carried import scale_to_ef
from cof.models.trained import MODEL, load
from cof.models.weights import WEIGHTS
from cof.training.run import Run

# The cost of a Gaussian process grows with the cube of the number of hearts.
MOST_HEARTS = 1000
_KERNEL = ConstantKernel(1.0) * RBF(4.0) + WhiteKernel(0.3)


class AnatomyRegression:
    """Gaussian process regression of the EF (%) on the shape of the anchor (`cof.heart.shape`).

    Its kernel decreases with distance, so for an anatomy unlike those of the training hearts it predicts their mean EF.
    """

    def __init__(self, shapes: np.ndarray, ef_pct: np.ndarray, kernel: Kernel | None = None) -> None:
        """Fit the regression to shapes [N, 8] and EF [N] in %; without a kernel, marginal likelihood chooses it."""
        self.shapes, self.ef_pct = shapes, ef_pct
        self.centre, self.scale = shapes.mean(0), np.maximum(shapes.std(0), 1e-6)
        optimizer = "fmin_l_bfgs_b" if kernel is None else None
        self.process = GaussianProcessRegressor(kernel or _KERNEL, optimizer=optimizer, normalize_y=True)
        self.process.fit((shapes - self.centre) / self.scale, ef_pct)

    def predict(self, found: np.ndarray) -> tuple[float, float]:
        """Predict the EF in % from one shape [8], with its SD in percentage points, noise included."""
        mean, deviation = self.process.predict(((found - self.centre) / self.scale)[None], return_std=True)
        return float(mean[0]), float(deviation[0])

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the tensors for `of_tensors`: shapes and EFs of the training hearts, and parameters of the kernel."""
        return {"shapes": self.shapes, "ef_pct": self.ef_pct, "theta": self.process.kernel_.theta}

    @classmethod
    def of_tensors(cls, tensors: dict[str, np.ndarray]) -> "AnatomyRegression":
        """Make the regression from the result of `tensors`."""
        shapes, ef_pct, theta = (tensors[name].astype(float) for name in ("shapes", "ef_pct", "theta"))
        return cls(shapes, ef_pct, _KERNEL.clone_with_theta(theta))


class ContractedModel:
    """A trained model and the regression of the EF on anatomy."""

    def __init__(self, model: TrainedModel, regression: AnatomyRegression, without_ecg: bool) -> None:
        self.model, self.regression, self.without_ecg = model, regression, without_ecg

    def generate(self, subject: Subject, frames: int, seed: int) -> Generated:
        """Generate the motion by the applied model, and multiply it by one factor for the whole cycle.

        The factor is computed from the motion that the model generates without an ECG, if it can, else from the motion
        with the ECG: with this factor, the warped LV of the anchor has the EF of the regression. The change of the
        motion by the ECG is therefore kept. If a ventricle is missing in the anchor's labels, the motion is not scaled.

        Raises:
            UsageError: the subject has no ECG, and the applied model needs one.
        """
        if not (subject.has_ecg or self.without_ecg):
            raise UsageError(
                "contracted: there is no ECG, but the model that it applies needs one (its field.ecg_dropout is 0): "
                "give an ECG, or apply a model that was trained with field.ecg_dropout"
            )
        made = self.model.generate(subject, frames, seed)
        assert made.displacement is not None
        found = shape(subject.anchor_labels, subject.placement.spacing_mm)
        if not np.isfinite(found).all():
            return made
        wanted, deviation = self.regression.predict(found)
        untold = made.displacement
        if self.without_ecg and subject.has_ecg:
            bare = self.model.generate(subject.without_ecg(), frames, seed).displacement
            assert bare is not None
            untold = bare
        factor = scale_to_ef(subject, untold, wanted)
        measures = {
            **made.measures,
            "ef_of_anatomy_pct": round(wanted, 2),
            "ef_of_anatomy_sd_pct": round(deviation, 2),
            "factor": factor,
        }
        if "closure_mm" in made.measures:
            measures["closure_mm"] = round(factor * float(made.measures["closure_mm"]), 4)  # type: ignore[arg-type]
        return replace(made, displacement=factor * made.displacement, measures=measures)


class ContractedFamily:
    """A trained model whose motion is scaled to an EF predicted from size and shape of the anchor's ventricles.

    A field that was trained on few hearts predicts a motion close to their mean. Volumes and wall thickness show how
    much a heart contracts: a Gaussian process predicts the EF from them, and the motion is multiplied by one factor for
    the whole cycle to reach this EF.
    """

    def fit(
        self, train: Sequence[Example], validation: Sequence[Example], settings: ContractedSettings, seed: int, run: Run
    ) -> Save:
        """Fit the regression to the EF from the labels of the real cines, on at most `MOST_HEARTS` random hearts."""
        chosen = np.arange(len(train))
        if len(chosen) > MOST_HEARTS:
            chosen = np.sort(np.random.default_rng(seed).choice(chosen, MOST_HEARTS, replace=False))
        hearts = [train[int(index)] for index in chosen]
        shapes = np.stack([shape(heart.anchor_labels, heart.placement.spacing_mm) for heart in hearts])
        ef_pct = np.array([heart.ef_pct for heart in hearts], float)
        known = np.isfinite(shapes).all(1) & np.isfinite(ef_pct)
        if known.sum() < 2:
            raise UsageError(
                f"contracted: {known.sum()} training hearts have labels of both ventricles and an EF, but at least 2 "
                "are needed: use a larger cohort"
            )
        tensors = AnatomyRegression(shapes[known], ef_pct[known]).tensors()
        return lambda out: save_file(tensors, out / WEIGHTS)

    def load(self, folder: Path, settings: ContractedSettings) -> ContractedModel:
        """Load the regression and the copy of the applied model in `folder`."""
        applied = load(folder / MODEL)
        regression = AnatomyRegression.of_tensors(load_file(folder / WEIGHTS))
        return ContractedModel(applied.model, regression, applied.settings.takes_absent_ecg)
