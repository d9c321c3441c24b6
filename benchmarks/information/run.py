"""Measure the share of the motion that a linear model without any network predicts from anchor and ECG.

Run with `--help`; README.md explains the comparison.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from cof.artefacts.parquet import read_table
from cof.heart.structures import STRUCTURES
from cof.models.alignment import HeartPose
from cof.models.base import Example
from cof.models.controls.motion import mean_motion, see_through
from cof.models.data import Artefacts
from cof.models.flow.matching import heart_mask
from cof.models.trained import load
from cof.motion.resolution import motion_spacing

COMPONENTS = 40
SHAPES = 10
ALPHAS = np.logspace(-1, 5, 25)


def hearts(results: Path, registration: str, split: str) -> list[Example]:
    """Return the subjects of a split that have registered motion."""
    cohort = read_table(results / "cohort/subjects.parquet")
    places = [sorted((results / stage).glob("b*")) for stage in ("grid", "labels", f"fields/{registration}")]
    artefacts = Artefacts.of(sorted((results / "beats").glob("*.parquet")), *places)
    opened = (
        artefacts.open(name, with_displacement=True, with_cine=False)
        for name in sorted(cohort.loc[cohort["split"] == split, "subject"])
    )
    return [example for example in opened if example is not None]


def end_point_error(heart: Example, displacement: torch.Tensor) -> float:
    """Return the mean distance in mm to the registered displacement inside the anchor's heart, over other frames."""
    mask = heart_mask(heart.anchor_labels).bool()
    return float((displacement - torch.from_numpy(heart.displacement).float()).norm(dim=1)[1:, mask].mean())


class Frame:
    """The mean heart; hearts are compared in its pose."""

    def __init__(self, train: list[Example]) -> None:
        self.mean, self.pose = mean_motion(train)
        self.canonical = train[0].placement.spacing_mm

    def motion(self, heart: Example) -> np.ndarray:
        """Return a heart's motion in the pose of the mean heart, flattened."""
        own = HeartPose.of(heart.anchor_labels, self.canonical)
        motion = torch.from_numpy(heart.displacement).float()
        return see_through(self.pose, own, motion, motion_spacing(self.canonical)).numpy().ravel()

    def error(self, heart: Example, motion: np.ndarray) -> float:
        """Return the end-point error of a motion given in the pose of the mean heart."""
        own = HeartPose.of(heart.anchor_labels, self.canonical)
        made = torch.from_numpy(motion.reshape(self.mean.shape)).float()
        return end_point_error(heart, see_through(own, self.pose, made, motion_spacing(self.canonical)))

    def masks(self, heart: Example) -> np.ndarray:
        """Return the anchor's structures in the pose of the mean heart, flattened."""
        own = HeartPose.of(heart.anchor_labels, self.canonical)
        masks = np.stack([heart.anchor_labels == value for value in STRUCTURES.values()]).astype(np.float32)
        return self.pose.onto(own).map_images(torch.from_numpy(masks)[None], self.canonical)[0].numpy().ravel()


def principal(rows: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the leading principal directions [count, D] of rows [N, D]."""
    mean = rows.mean(0)
    _, _, directions = np.linalg.svd(rows - mean, full_matrices=False)
    return mean, directions[:count]


def of_anchor(heart: Example, frame: Frame) -> list[float]:
    """Return the sizes that the anchor shows."""
    pose = HeartPose.of(heart.anchor_labels, frame.canonical)
    volumes = [float((heart.anchor_labels == value).sum()) for value in STRUCTURES.values()]
    return [*volumes, *pose.size_mm]


def of_rate(heart: Example) -> list[float]:
    """Return what subjects in the same stratum of sex and heart rate share."""
    return [heart.rr_ms, float(np.log(heart.rr_ms)), float(heart.sex == "M")]


def of_ecg(heart: Example) -> list[float]:
    """Return the features of the ECG's cycle, and the sex stated in its file."""
    return [*map(float, heart.features), *of_rate(heart)]


def of_simulator(heart: Example, truth: Path) -> list[float]:
    """Return all latent values of the simulator for a heart, hidden residuals included."""
    record = json.loads((truth / f"{heart.subject.replace('-v', '_')}.json").read_text())
    latents = record["latents"]
    numbers = [float(latents[name]) for name in sorted(latents) if isinstance(latents[name], bool | int | float)]
    kinds = [
        float(latents[name] == kind)
        for name, known in (("conduction", ("lbbb", "rbbb", "ivcd")), ("infarct", ("lad", "rca", "lcx")))
        for kind in known
    ]
    segments = record["segments"]
    return [*numbers, *kinds, *(float(v) for name in ("delay_ms", "gain", "infarct_share") for v in segments[name])]


def predictor() -> Pipeline:
    """Return a ridge regression whose penalty is chosen by leave-one-out cross-validation."""
    return make_pipeline(StandardScaler(), RidgeCV(ALPHAS, alpha_per_target=True))


def filled(rows: list[list[float]], like: np.ndarray | None = None) -> np.ndarray:
    """Return rows as an array; missing values become the median of the training hearts."""
    array = np.array(rows, float)
    return np.where(np.isfinite(array), array, np.nanmedian(array if like is None else like, axis=0))


def errors_of(results: Path, names: list[str], hearts: list[Example]) -> np.ndarray:
    """Return the end-point errors [N] of a trained model's motion, or of the mean motion of several models."""
    models = [load(results / "models" / name) for name in names]

    def motion(heart: Example) -> torch.Tensor:
        made = [trained.model.generate(heart, trained.frames, seed=0).displacement for trained in models]
        return torch.stack([displacement for displacement in made if displacement is not None]).mean(0)

    return np.array([end_point_error(heart, motion(heart)) for heart in hearts])


def main() -> None:
    """Fit on the training split, measure on another split, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, required=True, help="results of a synthetic run, such as results/bench")
    parser.add_argument("--registration", default="toppr")
    parser.add_argument("--split", default="test")
    parser.add_argument(
        "--model", action="append", default=[], help="a trained model too; NAME+NAME: their mean motion"
    )
    arguments = parser.parse_args()
    train, test = (hearts(arguments.results, arguments.registration, split) for split in ("train", arguments.split))
    frame = Frame(train)
    mean, directions = principal(np.stack([frame.motion(heart) for heart in train]), COMPONENTS)
    known = np.stack([directions @ (frame.motion(heart) - mean) for heart in train])
    shape_mean, shapes = principal(np.stack([frame.masks(heart) for heart in train]), SHAPES)

    def anchor(heart: Example) -> list[float]:
        return of_anchor(heart, frame) + (shapes @ (frame.masks(heart) - shape_mean)).tolist()

    truth = arguments.results / "phantom/truth"
    sets: dict[str, Callable[[Example], list[float]]] = {
        "anchor": anchor,
        "anchor, RR interval and sex": lambda heart: anchor(heart) + of_rate(heart),
        "anchor and ECG": lambda heart: anchor(heart) + of_ecg(heart),
        "anchor and everything the simulator knows": lambda heart: anchor(heart) + of_simulator(heart, truth),
    }
    errors = {"nothing: the mean": np.array([frame.error(heart, mean) for heart in test])}
    for name, seen in sets.items():
        rows = filled([seen(heart) for heart in train])
        model = predictor().fit(rows, known)
        there = filled([seen(heart) for heart in test], rows)
        coefficients = model.predict(there)
        errors[name] = np.array([frame.error(heart, mean + row @ directions) for heart, row in zip(test, coefficients)])
    own = [mean + (directions @ (frame.motion(heart) - mean)) @ directions for heart in test]
    errors[f"its own motion in {COMPONENTS} components"] = np.array(
        [frame.error(heart, motion) for heart, motion in zip(test, own)]
    )
    for names in arguments.model:
        errors[f"the model {names}"] = errors_of(arguments.results, names.split("+"), test)
    base = errors["nothing: the mean"]
    print(f"{len(train)} training hearts, {len(test)} of the split {arguments.split}\n")
    print("| known of a new heart | end-point error, mm | reduction from the mean's, % |\n|---|---:|---:|")
    rng = np.random.default_rng(0)
    for name, values in errors.items():
        gain = 100 * (1 - values.sum() / base.sum())
        draws = rng.integers(len(values), size=(1000, len(values)))
        low, high = np.percentile(100 * (1 - values[draws].sum(1) / base[draws].sum(1)), [2.5, 97.5])
        print(f"| {name} | {values.mean():.3f} | {gain:.1f} [{low:.1f}, {high:.1f}] |")


if __name__ == "__main__":
    main()
