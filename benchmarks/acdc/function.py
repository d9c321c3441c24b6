"""EF from the ED frame alone: models that move the expert's ED labels, and regressions on their shape."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hearts import Heart
from registration import Canonical
from sklearn.model_selection import StratifiedKFold
from torch import Tensor

from cof.cine.grid import labels_to_canonical
from cof.config import Config
from cof.ecg.cycle import representative_cycle
from cof.ecg.features import ecg_features
from cof.ecg.reader import read_ecg
from cof.heart.shape import shape
from cof.heart.structures import STRUCTURES
from cof.metrics.overlap import about_structures, dice
from cof.models.alignment import HeartPose
from cof.models.base import Example, SubjectEcg, TrainedModel
from cof.models.carried import carried_ef
from cof.models.contraction import AnatomyRegression, ContractedModel
from cof.models.controls.motion import MeanMotionModel, mean_motion
from cof.models.trained import Trained
from cof.motion.labels import warp_labels
from cof.motion.native import native_displacement
from cof.motion.resolution import motion_shape
from cof.phantom.cardiosoft import write_ecg
from cof.phantom.population import sample

STATIC = "static anchor"
MEAN = "mean motion of the training pairs"
MEAN_CONTRACTED = "mean motion, contracted"
AS_IT_IS = "{}, as it is"
WITH_ECG = "{}, with the ECG of a simulated heart"
CONTRACTED = "{}, contracted"
REGRESSION = "regression on the expert's ED labels"
REGRESSION_LABELLER = "regression on the labeller's ED labels"
SIMULATED = "sub-0001"


@dataclass(frozen=True)
class Case:
    """One patient, as models see it, and what is known of its ES.

    Attributes:
        heart: the patient.
        example: ED on the canonical grid about the expert's labels, with those labels and without an ECG; the
            registered motion of ED and ES, and the expert's EF.
        found: uint8 [Z, Y, X], the labeller's ED labels on the canonical grid.
        registered: displacement [3, Z, Y/2, X/2] of ES in mm, by the name of each registration of both frames.
    """

    heart: Heart
    example: Example
    found: np.ndarray
    registered: dict[str, Tensor]

    @classmethod
    def of(
        cls, heart: Heart, seen: Canonical, found: np.ndarray, samples: int, registered: dict[str, Tensor]
    ) -> "Case":
        """Make the case of a patient.

        Args:
            heart: the patient.
            seen: ED and ES on the canonical grid of the model.
            found: uint8 [2, Z, Y, X], the labeller's native labels.
            samples: of an ECG cycle.
            registered: of both frames, [3, Z, Y/2, X/2] in mm; the mean motion is that of the last one.
        """
        u = list(registered.values())[-1]
        example = Example(
            **vars(SubjectEcg.absent(heart.name, samples)),
            anchor=seen.frames[0],
            anchor_labels=labels_to_canonical(heart.labels[0], seen.placement),
            placement=seen.placement,
            displacement=torch.stack([torch.zeros_like(u), u]).numpy(),
            ef_pct=heart.ef_pct,
        )
        return cls(heart, example, labels_to_canonical(found[0], seen.placement), registered)

    @property
    def shape_of_expert(self) -> np.ndarray:
        """Return the shape [8] of the ventricles by the expert's ED labels."""
        return shape(self.example.anchor_labels, self.example.placement.spacing_mm)

    @property
    def shape_of_labeller(self) -> np.ndarray:
        """Return the shape [8] of the ventricles by the labeller's ED labels."""
        return shape(self.found, self.example.placement.spacing_mm)


@dataclass(frozen=True)
class Fitted:
    """Mean motion of the training patients, and regressions of their EF on the shape at ED."""

    mean: MeanMotionModel
    by_expert: AnatomyRegression
    by_labeller: AnatomyRegression

    @classmethod
    def of(cls, cases: Sequence[Case]) -> "Fitted":
        """Fit to some patients, who are all a pair of ED and ES."""
        displacement, pose = mean_motion([case.example for case in cases])
        by_expert = _regression([case.shape_of_expert for case in cases], cases)
        by_labeller = _regression([case.shape_of_labeller for case in cases], cases)
        return cls(MeanMotionModel(displacement, HeartPose(pose.centre_mm, pose.size_mm)), by_expert, by_labeller)


def _regression(shapes: Sequence[np.ndarray], cases: Sequence[Case]) -> AnatomyRegression:
    """Fit the EF by the expert's labels to shapes; patients without both ventricles are left out."""
    found, ef_pct = np.stack(shapes), np.array([case.heart.ef_pct for case in cases])
    known = np.isfinite(found).all(1) & np.isfinite(ef_pct)
    return AnatomyRegression(found[known], ef_pct[known])


@dataclass(frozen=True)
class Shipped:
    """The model of the weights, and an ECG for it.

    Attributes:
        name: of the model.
        trained: it generates without an ECG.
        ecg: of a simulated heart.
    """

    name: str
    trained: Trained
    ecg: SubjectEcg


def simulated_ecg(settings: Config) -> SubjectEcg:
    """Simulate the ECG of one phantom, and read it as the workflow does."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "ecg.xml"
        write_ecg(path, sample(SIMULATED, 0), 0)
        cycle = representative_cycle(read_ecg(path, settings.ecg), settings.beats)
    return SubjectEcg(SIMULATED, cycle.beat, cycle.rr_ms, features=ecg_features(cycle.beat, cycle.rr_ms))


def function_rows(case: Case, fitted: Fitted, shipped: Shipped) -> list[dict[str, Any]]:
    """Return a row per method: EF of the moved ED labels, and their Dice with the expert's at ES."""
    frames, name, model = shipped.trained.frames, shipped.name, shipped.trained.model

    def generated(by: TrainedModel, count: int, subject: Example = case.example) -> Tensor:
        made = by.generate(subject, count, 0).displacement
        assert made is not None, "the family generates a displacement"
        return made

    # A pair has two frames, ED and ES: so has the mean motion.
    motions: dict[str, Tensor] = {
        STATIC: torch.zeros(1, 3, *motion_shape(case.example.placement.shape)),
        MEAN: generated(fitted.mean, 2),
        MEAN_CONTRACTED: generated(ContractedModel(fitted.mean, fitted.by_expert, without_ecg=True), 2),
        AS_IT_IS.format(name): generated(model, frames),
        WITH_ECG.format(name): generated(model, frames, case.example.with_ecg_of(shipped.ecg)),
        CONTRACTED.format(name): generated(ContractedModel(model, fitted.by_expert, without_ecg=True), frames),
        **{label: u[None] for label, u in case.registered.items()},
    }
    told = {
        REGRESSION: _told(fitted.by_expert, case.shape_of_expert),
        REGRESSION_LABELLER: _told(fitted.by_labeller, case.shape_of_labeller),
    }
    who = case.heart.who | {"ef_expert_pct": case.heart.ef_pct}
    rows = [who | {"method": method} | carried(case, motion) for method, motion in motions.items()]
    return rows + [who | {"method": method, "ef_soft_pct": ef, "ef_hard_pct": ef} for method, ef in told.items()]


def _told(regression: AnatomyRegression, found: np.ndarray) -> float:
    """Predict the EF in % of a shape; NaN where the labels lack a ventricle."""
    return regression.predict(found)[0] if np.isfinite(found).all() else float("nan")


def carried(case: Case, motion: Tensor) -> dict[str, float]:
    """Move the expert's ED labels to the frame of a motion that has the smallest LV, and compare them with ES.

    Args:
        case: the patient.
        motion: [T, 3, Z, Y/2, X/2] in mm on the motion grid.

    Returns:
        `ef_soft_pct` by the sum of the voxels' shares of LV (canonical grid), `ef_hard_pct` by the voxels whose largest
        share is that of the LV (native grid), and Dice with the expert's ES labels, `dice_lv`, `dice_myo`, `dice_rv`.
    """
    example, heart = case.example, case.heart
    soft = [carried_ef(example.anchor_labels, frame, example.placement) for frame in motion]
    es = int(np.argmax(soft))
    native = native_displacement(motion[es : es + 1].float(), example.placement)
    moved = warp_labels(torch.from_numpy(heart.labels[0]), native, heart.spacing_mm).numpy()
    ed_voxels = int((heart.labels[0] == STRUCTURES["LV"]).sum())
    hard = 100 * (1 - int((moved == STRUCTURES["LV"]).sum()) / ed_voxels)
    made, drawn = about_structures(moved, heart.labels[1:])
    names = {"dice_lv": "LV", "dice_myo": "myocardium", "dice_rv": "RV"}
    overlap = {column: float(dice(made, drawn, STRUCTURES[name])[0]) for column, name in names.items()}
    return {"ef_soft_pct": soft[es], "ef_hard_pct": hard, **overlap}


def in_folds(cases: Sequence[Case], shipped: Shipped, folds: int, seed: int = 0) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of every patient by what was fitted to the other folds; groups are spread evenly."""
    split = StratifiedKFold(folds, shuffle=True, random_state=seed)
    for fold, (train, test) in enumerate(split.split(np.zeros(len(cases)), [case.heart.group for case in cases])):
        fitted = Fitted.of([cases[index] for index in train])
        for index in test:
            who = {"fold": fold, "split": cases[index].heart.split}
            yield [who | row for row in function_rows(cases[index], fitted, shipped)]
