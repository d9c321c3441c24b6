"""Calibration: run all stages on three synthetic subjects at the configuration's scale, and measure each of them.

Every time is that of one thread. The stages are those of a real run and write the same files, so bytes and files are
counted, not modelled. Two things differ from a real run. Trainings take a few steps with batches of one or two
subjects; their time is assumed to be proportional to the batch size. Later stages read the exact labels, because a
labeller that was trained for a few steps finds no heart.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from cof.artefacts.folders import MANIFEST
from cof.artefacts.parquet import read_table
from cof.cine.stage import grid_batch, stack_batch
from cof.cine.volume import read_cine, write_labels
from cof.cohort import build_cohort, select_batch
from cof.config import Config
from cof.config.base import TRUTH
from cof.config.data import CohortSettings, PhantomSettings, QualityLimits
from cof.config.models import ModelSettings
from cof.config.motion import RegistrationSettings
from cof.config.training import TrainingSettings
from cof.ecg.stage import beats_batch, parse_batch
from cof.labels.predict import Labeller
from cof.labels.stage import train as train_labeller
from cof.metrics.stage import evaluate_batch
from cof.models.data import Artefacts
from cof.models.stage import train as train_model
from cof.models.trained import load as load_model
from cof.motion.stage import register_batch
from cof.motion.stage import train as train_registration
from cof.overlap import hash_batch
from cof.phantom.stage import make_cohort
from cof.progress import Progress
from cof.quality.stage import measure_batch
from cof.truth.artefacts import Truth
from cof.truth.stage import write_exact_fields
from cof.twins.artefacts import write_twin
from cof.twins.generation import generate, propagate

# Rows and columns of the synthetic cines for a configuration of real data: those of UK Biobank's short-axis cines.
_MATRIX = 208
_BATCH = "b000"
_SUBJECTS, _TRAINING = 3, 2
# Training steps over which the time per step is averaged, and frames of a cine that are labelled.
_STEPS = 3
_FRAMES = 2
# Largest number of files of a model besides those of the models that it applies.
_OF_EXCHANGE = 4

# Settings that change what a training learns, but not its time.
_FREE = {"registration", "seed", "shuffled_ecg", "heart_weight", "learning_rate", "weight_decay", "schedule", "warmup"}

Variant = TypeVar("Variant", RegistrationSettings, ModelSettings)


@dataclass(frozen=True)
class Unit:
    """The cost of one unit of a stage: of a subject, a held-out heart, or a training step.

    Attributes:
        seconds: time of one thread, or of the GPU if the networks run on one.
        bytes, files: written and kept.
    """

    seconds: float
    bytes: float = 0.0
    files: float = 0.0


@dataclass(frozen=True)
class Calibration:
    """Units of every stage.

    Attributes:
        subject: one subject in `ecg`, `beats`, `cine`, `hashes`, `labels`, `quality`, `grid`.
        labeller: one iteration of nnU-Net; bytes and files are those of the whole folder, as for all trainings below.
        registrations: one training step, by registration.
        fields: one subject, by registration; `truth` if the configuration has exact motion.
        models: one training step, or one training subject for a family without steps, by model.
        twins, metrics: one held-out heart, by model.
        start: seconds that a job needs to start Python and its packages.
        gpu: whether the networks ran on a GPU.
    """

    subject: Mapping[str, Unit]
    labeller: Unit
    registrations: Mapping[str, Unit]
    fields: Mapping[str, Unit]
    models: Mapping[str, Unit]
    twins: Mapping[str, Unit]
    metrics: Mapping[str, Unit]
    start: float
    gpu: bool


def calibrate(config: Config, seed: int = 0) -> Calibration:
    """Run the stages on three synthetic subjects at the scale of a configuration, on one thread.

    Args:
        config: the configuration whose cost is estimated.
        seed: seed of the synthetic subjects and the trainings.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with Progress("calibration", None), tempfile.TemporaryDirectory() as scratch:
            return _Bench(config, seed, Path(scratch)).run()
    finally:
        torch.set_num_threads(threads)


def phantom_settings(config: Config) -> PhantomSettings:
    """Return the settings of three synthetic subjects whose size is that of the configuration's subjects."""
    few = {"train": _TRAINING, "validation": 0, "test": _SUBJECTS - _TRAINING, "annotated": _TRAINING}
    size = {"frames": config.grid.frames, "slices": config.grid.shape[0], "matrix": _MATRIX}
    return config.phantom.model_copy(update=few | (size if config.cohort.sheet else {}))


def cost_key(settings: RegistrationSettings | ModelSettings) -> str:
    """Return a key that is the same for variants with the same cost: those that differ in no shape."""
    if isinstance(settings, RegistrationSettings):
        kept = settings.model_dump(mode="json", include={"channels", "batch", "parameterisation", "seg_slices"})
        kept["teacher"] = settings.lambda_seg > 0
    elif settings.training:
        kept = settings.model_dump(mode="json", exclude=_FREE)
    else:
        kept = {"family": settings.family}
    return json.dumps(kept)


def parts(settings: TrainingSettings) -> dict[str, TrainingSettings]:
    """Return the successive trainings of one model by the key of their settings; that of the family itself is ''."""
    nested = {name: value for name, value in settings if isinstance(value, TrainingSettings)}
    return {**nested, "": settings}


def shortened(settings: TrainingSettings, steps: Mapping[str, int]) -> TrainingSettings:
    """Return the trainings with batches of one and one step each, or as many steps as `steps` names."""
    short = {name: {"iterations": steps.get(name, 1), "batch": 1, "trials": None} for name in parts(settings)}
    nested = {name: part.model_copy(update=short[name]) for name, part in parts(settings).items() if name}
    return settings.model_copy(update=short[""] | nested)


class _Bench:
    """One calibration: a results folder of three subjects that is filled stage by stage."""

    def __init__(self, config: Config, seed: int, root: Path) -> None:
        self.config, self.seed, self.root = config, seed, root
        self.gpu = torch.cuda.is_available()
        self.subjects, self.key, self.sheet = (root / f"cohort/{name}.parquet" for name in ("all", "key", "batch"))
        self.frame_seconds = 0.0

    def run(self) -> Calibration:
        subject = self._raw()
        labeller, subject["labels"] = self._labels()
        subject |= self._anatomy()
        registrations, fields = self._variants(self.config.registrations, self._registration)
        if self.config.exact_motion:
            fields[TRUTH] = self._exact_motion()
        models, twins, metrics = self._variants(
            {name: model for name, model in self.config.models.items() if not model.applies},
            self._model,
        )
        for name, model in self.config.models.items():
            if applied := model.applies:  # it keeps copies of other models and generates with them
                copied = [models[other] for other in applied]
                models[name] = Unit(
                    0.0, sum(unit.bytes for unit in copied), sum(unit.files for unit in copied) + _OF_EXCHANGE
                )
                one = twins[applied[0]]
                twins[name] = Unit(sum(twins[other].seconds for other in applied), one.bytes, one.files)
                metrics[name] = metrics[applied[0]]
        return Calibration(subject, labeller, registrations, fields, models, twins, metrics, _start(), self.gpu)

    def _seconds(self, work: Callable[[], object]) -> float:
        """Return the time of one call in s: CPU time if no GPU is used, so that other load has no effect."""
        clock = time.perf_counter if self.gpu else time.process_time
        started = clock()
        work()
        return clock() - started

    def _slope(self, train: Callable[[int], None]) -> float:
        """Return the seconds per training step, without the work before and after the steps."""
        one, more = (self._seconds(lambda: train(count)) for count in (1, 1 + _STEPS))  # noqa: B023 - called at once
        return max(more - one, 0.0) / _STEPS

    def _stage(self, folder: str, work: Callable[..., None], count: int = _SUBJECTS) -> Unit:
        """Run a stage of one batch of `count` subjects and count what it wrote under `folder`."""
        gone = self.root / "exclusions" / folder / f"{_BATCH}.parquet"
        seconds = self._seconds(lambda: work(exclusions=gone))
        for message in read_table(gone)["message"]:
            raise RuntimeError(f"{folder}: the calibration lost a subject: {message}")
        return self._unit(folder, seconds, count)

    def _unit(self, folder: str, seconds: float, count: int = 1) -> Unit:
        paths = [path for path in (self.root / folder).rglob("*") if path.is_file()]
        # Tables and manifests belong to a batch, not to a subject.
        files = [path for path in paths if path.suffix != ".parquet" and path.name != MANIFEST]
        return Unit(seconds / count, sum(path.stat().st_size for path in paths) / count, len(files) / count)

    def _folder(self, stage: str) -> Path:
        return self.root / stage / _BATCH

    def _table(self, stage: str) -> Path:
        return self.root / stage / f"{_BATCH}.parquet"

    def _raw(self) -> dict[str, Unit]:
        """Make raw files and run the stages that read them; return the units of those stages."""
        raw, config = self.root / "phantom", self.config
        make_cohort(out=raw, settings=phantom_settings(config), seed=self.seed, workers=1)
        build_cohort(sheet=raw / "subjects.csv", out=self.subjects, key=self.key, settings=CohortSettings())
        select_batch(subjects=self.subjects, batch=_BATCH, only=(), out=self.sheet)
        ecg, beats = self._table("ecg"), self._table("beats")
        cine, annotations = self._folder("cine"), self._folder("annotations")
        parse = partial(parse_batch, sheet=self.sheet, key=self.key, out=ecg, settings=config.ecg)
        stack = partial(stack_batch, sheet=self.sheet, key=self.key, out=cine, annotations=annotations)
        units = {
            "ecg": self._stage("ecg", parse),
            "beats": self._stage("beats", partial(beats_batch, ecg=ecg, out=beats, settings=config.beats)),
            "cine": self._stage("cine", partial(stack, settings=config.cine)),
        }
        hashing = self._seconds(lambda: hash_batch(ecg=ecg, cine=cine, out=self._table("hashes")))
        return units | {"hashes": self._unit("hashes", hashing, _SUBJECTS)}

    def _labels(self) -> tuple[Unit, Unit]:
        """Return the units of an iteration of nnU-Net and of labelling a cine, and write the exact labels.

        The time of a cine is that of a few frames, multiplied by the number of frames.
        """
        chosen, smallest, out = self.config.labels, 2, self.root / "labeller"

        def train(iterations: int) -> None:
            train_labeller(
                subjects=self.subjects,
                cine=[self._folder("cine")],
                annotations=[self._folder("annotations")],
                hashes=[self._table("hashes")],
                out=out,
                work=self.root / "work",
                settings=chosen.model_copy(update={"epochs": 1, "iterations": iterations, "batch": smallest}),
                seed=self.seed,
            )

        iteration = self._slope(train) * chosen.batch / smallest
        labeller = Labeller.load(out, chosen.mirroring)
        cine = read_cine(min(self._folder("cine").glob("*.nii")))
        labeller.label(cine.frames[:1], cine.spacing_mm)
        few = cine.frames[1 : 1 + _FRAMES]
        self.frame_seconds = self._seconds(lambda: labeller.label(few, cine.spacing_mm)) / _FRAMES
        keys = read_table(self.key).set_index("subject")
        for path in self._folder("cine").glob("*.nii"):
            raw, native = keys.loc[path.stem], read_cine(path)
            truth = Truth.read(self.root / "phantom/truth", f"{raw['participant']}_{raw['visit']}", native)
            write_labels(self._folder("labels") / f"{path.stem}.nii.gz", truth.labels, native.affine)
        labels = self._unit("labels", 0.0, _SUBJECTS)
        return self._unit("labeller", iteration), replace(labels, seconds=self.frame_seconds * len(cine.frames))

    def _anatomy(self) -> dict[str, Unit]:
        """Run the stages that read labels, and return their units."""
        cine, labels = self._folder("cine"), self._folder("labels")
        measure = partial(
            measure_batch,
            ecg=self._table("ecg"),
            beats=self._table("beats"),
            cine=cine,
            labels=labels,
            out=self._table("quality"),
            settings=QualityLimits(),
        )
        grid = partial(grid_batch, cine=cine, labels=labels, out=self._folder("grid"), settings=self.config.grid)
        return {"quality": self._stage("quality", measure), "grid": self._stage("grid", grid)}

    def _variants(
        self, variants: Mapping[str, Variant], measure: Callable[[str, Variant], tuple[Unit, ...]]
    ) -> list[dict[str, Unit]]:
        """Return the units of every variant; variants with the same cost are measured once."""
        known: dict[str, tuple[Unit, ...]] = {}
        for name, settings in variants.items():
            if cost_key(settings) not in known:
                known[cost_key(settings)] = measure(name, settings)
        units = [known[cost_key(settings)] for settings in variants.values()]
        return [dict(zip(variants, column)) for column in zip(*units)]

    def _registration(self, name: str, settings: RegistrationSettings) -> tuple[Unit, Unit]:
        """Return the units of a training step of TOPPR and of the registration of one cycle."""
        out = self.root / "registrations" / name

        def train(iterations: int) -> None:
            train_registration(
                subjects=self.subjects,
                cine=[self._folder("cine")],
                labels=[self._folder("labels")],
                grid=[self._folder("grid")],
                hashes=[self._table("hashes")],
                labeller=self.root / "labeller",
                out=out,
                work=self.root / "work",
                settings=settings.model_copy(update={"iterations": iterations, "batch": 1}),
                seed=self.seed,
            )

        step = self._slope(train) * settings.batch
        register = partial(
            register_batch,
            grid=self._folder("grid"),
            weights=out,
            out=self.root / "fields" / name / _BATCH,
            settings=settings.path,
        )
        fields = self._stage(f"fields/{name}", register)
        return self._unit(f"registrations/{name}", step), fields

    def _exact_motion(self) -> Unit:
        """Return the unit of the exact motion of the held-out subject."""
        write = partial(
            write_exact_fields,
            key=self.key,
            cine=self._folder("cine"),
            grid=self._folder("grid"),
            truth=self.root / "phantom/truth",
            out=self._folder(f"fields/{TRUTH}"),
        )
        return self._stage(f"fields/{TRUTH}", write, count=_SUBJECTS - _TRAINING)

    def _model(self, name: str, settings: ModelSettings) -> tuple[Unit, Unit, Unit]:
        """Return the units of a training step or training subject, of a generated heart and of its evaluation."""
        out = self.root / "models" / name
        fields = self._folder(f"fields/{next(iter(self.config.registrations))}")

        def train(chosen: Any = settings) -> None:
            train_model(
                subjects=self.subjects,
                beats=[self._table("beats")],
                grid=[self._folder("grid")],
                labels=[self._folder("labels")],
                fields=[fields],
                hashes=[self._table("hashes")],
                out=out,
                work=self.root / "work",
                settings=chosen,
                seed=self.seed,
            )

        if settings.training:
            learnt = self._unit(f"models/{name}", self._steps(train, settings.training))
        else:
            learnt = self._unit(f"models/{name}", self._seconds(train) / _TRAINING)
        if settings.kept_hearts:  # bytes per kept heart
            learnt = replace(learnt, bytes=learnt.bytes / min(settings.kept_hearts, _TRAINING))
        twins = self.root / "twins" / name / _BATCH
        heart = self._unit(f"twins/{name}", self._generate(out, fields, twins))
        synthetic = self.config.cohort.sheet is None
        measure = partial(
            evaluate_batch,
            sheet=self.sheet,
            key=self.key,
            beats=self._table("beats"),
            twins=twins,
            cine=self._folder("cine"),
            labels=self._folder("labels"),
            grid=self._folder("grid"),
            fields=fields,
            truth=self.root / "phantom/truth" if synthetic else None,
            out=self.root / "metrics" / name / f"{_BATCH}.parquet",
        )
        return learnt, heart, self._stage(f"metrics/{name}", measure, count=_SUBJECTS - _TRAINING)

    def _steps(self, train: Callable[[Any], None], settings: TrainingSettings) -> float:
        """Return the seconds per step of a training, with those of earlier networks spread over its steps."""
        total = 0.0
        for part, own in parts(settings).items():
            slope = self._slope(lambda steps: train(shortened(settings, {part: steps})))  # noqa: B023 - called at once
            total += slope * own.batch * own.all_iterations
        return total / settings.all_iterations

    def _generate(self, model: Path, fields: Path, out: Path) -> float:
        """Return the seconds to generate, label and write the held-out heart."""
        trained = load_model(model)
        artefacts = Artefacts.of([self._table("beats")], [self._folder("grid")], [self._folder("labels")], [fields])
        cohort = read_table(self.subjects)
        name = cohort.loc[cohort["split"] == "test", "subject"].iloc[0]
        sees = trained.settings.sees
        example = artefacts.open(name, with_displacement="displacement" in sees, with_cine=False, with_ef="ef" in sees)
        if example is None:
            raise RuntimeError("the calibration lost its held-out subject")
        native = read_cine(self._folder("cine") / f"{name}.nii")
        labels = Truth.read(self.root / "phantom/truth", name.replace("-v", "_"), native).labels
        out.mkdir(parents=True)
        twin = generate(trained, example, native, self.seed)
        if self.config.twins.labels == "propagated" and twin.made.displacement is not None:
            labelling = self._seconds(lambda: propagate(twin, labels[0], example.placement))
        else:
            labelling = self.frame_seconds * (len(native.frames) - 1)
        return labelling + self._seconds(
            lambda: write_twin(out, name, generate(trained, example, native, self.seed), labels, trained.provenance)
        )


def _start() -> float:
    """Return the CPU seconds to start Python and import the packages of a stage with networks."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", "import cof.twins.stage, cof.metrics.stage"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
