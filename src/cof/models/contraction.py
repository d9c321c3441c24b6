"""A trained model whose motion is made as strong as the anchor's anatomy tells."""

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
from cof.models.controls.scaled import scale_to_ef
from cof.models.trained import MODEL, load
from cof.models.weights import WEIGHTS
from cof.training.run import Run

# A Gaussian process costs the cube of the hearts that it keeps.
MOST_HEARTS = 1000
_KERNEL = ConstantKernel(1.0) * RBF(4.0) + WhiteKernel(0.3)


class AnatomyRegression:
    """Gaussian process of the EF (%) given the shape of the anchor (`cof.heart.shape`).

    Its kernel falls off with distance, so that it tells the mean of the training hearts of an anatomy unlike theirs.
    """

    def __init__(self, shapes: np.ndarray, ef_pct: np.ndarray, kernel: Kernel | None = None) -> None:
        """Fit shapes [N, 8] and EF [N]; the kernel is learnt by marginal likelihood, or given."""
        self.shapes, self.ef_pct = shapes, ef_pct
        self.centre, self.scale = shapes.mean(0), np.maximum(shapes.std(0), 1e-6)
        optimizer = "fmin_l_bfgs_b" if kernel is None else None
        self.process = GaussianProcessRegressor(kernel or _KERNEL, optimizer=optimizer, normalize_y=True)
        self.process.fit((shapes - self.centre) / self.scale, ef_pct)

    def predict(self, found: np.ndarray) -> tuple[float, float]:
        """EF in % of one shape [8] and its SD in points, noise included."""
        mean, deviation = self.process.predict(((found - self.centre) / self.scale)[None], return_std=True)
        return float(mean[0]), float(deviation[0])

    def tensors(self) -> dict[str, np.ndarray]:
        """What `of_tensors` makes the regression from: the training hearts and the kernel's parameters."""
        return {"shapes": self.shapes, "ef_pct": self.ef_pct, "theta": self.process.kernel_.theta}

    @classmethod
    def of_tensors(cls, tensors: dict[str, np.ndarray]) -> "AnatomyRegression":
        """The regression that `tensors` describes."""
        return cls(tensors["shapes"], tensors["ef_pct"], _KERNEL.clone_with_theta(tensors["theta"]))


class ContractedModel:
    """A trained model and the regression of the EF on anatomy."""

    def __init__(self, model: TrainedModel, regression: AnatomyRegression, without_ecg: bool) -> None:
        self.model, self.regression, self.without_ecg = model, regression, without_ecg

    def generate(self, subject: Subject, frames: int, seed: int) -> Generated:
        """The applied model's motion, times one factor for the whole cycle.

        The factor is what the motion that the anatomy alone tells (without the ECG, where the model knows that) needs
        to carry the anchor's LV to the EF of the regression: what the ECG adds to the motion stays. Where the anchor's
        labels lack a ventricle, the motion is left as it is.
        """
        if not (subject.has_ecg or self.without_ecg):
            raise UsageError(
                "contracted: the model that it applies needs an ECG (field.ecg_dropout of that model is 0)"
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
    """A trained model of motion, made as strong as the size and shape of the anchor's ventricles tell.

    A field that was trained on few hearts shrinks towards their mean, while volumes and wall thickness tell how far a
    heart contracts: a Gaussian process learns the EF from them, and one factor for the whole cycle makes the motion
    reach it.
    """

    def fit(
        self, train: Sequence[Example], validation: Sequence[Example], settings: ContractedSettings, seed: int, run: Run
    ) -> Save:
        """Fit the regression on the EF of the real cines' labels; of more than `MOST_HEARTS`, on a draw of them."""
        chosen = np.arange(len(train))
        if len(chosen) > MOST_HEARTS:
            chosen = np.sort(np.random.default_rng(seed).choice(chosen, MOST_HEARTS, replace=False))
        hearts = [train[int(index)] for index in chosen]
        shapes = np.stack([shape(heart.anchor_labels, heart.placement.spacing_mm) for heart in hearts])
        ef_pct = np.array([heart.ef_pct for heart in hearts], float)
        known = np.isfinite(shapes).all(1) & np.isfinite(ef_pct)
        if known.sum() < 2:
            raise UsageError(f"contracted: {known.sum()} training hearts have both ventricles and an EF; 2 are needed")
        tensors = AnatomyRegression(shapes[known], ef_pct[known]).tensors()
        return lambda out: save_file(tensors, out / WEIGHTS)

    def load(self, folder: Path, settings: ContractedSettings) -> ContractedModel:
        """The regression in `folder` and the model that lies in it."""
        applied = load(folder / MODEL)
        regression = AnatomyRegression.of_tensors(load_file(folder / WEIGHTS))
        return ContractedModel(applied.model, regression, applied.settings.takes_absent_ecg)
