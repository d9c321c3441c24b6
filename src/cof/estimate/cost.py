"""The cost of a cohort: for every stage, the number of units and their cost by a calibration, and the sums."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from cof.artefacts.markup import markdown_lines
from cof.config import Config
from cof.config.base import TRUTH
from cof.estimate.calibration import Calibration, Unit

GPU_FACTOR = 40.0
_HOUR = 3600
# Stages that write a table per batch; the others write a folder.
_TABLES = ("ecg", "beats", "hashes", "quality", "metrics")


@dataclass(frozen=True)
class Row:
    """The cost of one stage, or of one variant of a stage.

    Attributes:
        stage: folder under the results.
        count: number of units.
        unit: what is counted, such as subjects or steps.
        core_hours: hours of one core; 0 for a stage that runs on a GPU.
        gpu_hours: hours during which a GPU is occupied.
        bytes, files: in the folder, tables of batches included.
    """

    stage: str
    count: float
    unit: str
    core_hours: float
    gpu_hours: float
    bytes: float
    files: float


def shares(config: Config) -> dict[str, float]:
    """Return the share of the subjects in each split."""
    if config.cohort.sheet:
        return config.cohort.shares
    counts = {split: getattr(config.phantom, split) for split in ("train", "validation", "test")}
    return {split: count / sum(counts.values()) for split, count in counts.items()}


def batch_jobs(config: Config) -> int:
    """Return the number of jobs of one batch.

    There are eight jobs of stages, one more for networks of another run, one per registration and one for exact motion,
    two per model, two more per model with calibrated intervals, and one for every model (and the real hearts) whose
    features a table compares.
    """
    models = 2 * len(config.models) + 2 * len(config.intervals.models) + len(config.featured)
    return 8 + bool(config.trained) + len(config.registrations) + config.exact_motion + models


def estimate(config: Config, subjects: int, calibration: Calibration, gpu_factor: float = GPU_FACTOR) -> list[Row]:
    """Return the cost of every stage of a cohort.

    No subject is assumed to be left out. An artefact that another run has trained costs only the disk space of its
    copy. The tables and the report are not counted: they take minutes, and at most some thousand files
    (docs/reference/files.md).

    Args:
        config: configuration of the run.
        subjects: number of subjects in the cohort.
        calibration: calibration of this machine, at the configuration's scale.
        gpu_factor: number of this machine's cores that do the work of one GPU. This is an assumption; it is not used
            if the calibration ran on a GPU.
    """
    batches, split = config.cohort.batches, shares(config)
    factor = 1.0 if calibration.gpu else gpu_factor

    def row(stage: str, unit: Unit, count: float, what: str, gpu: bool = True) -> Row:
        hours = unit.seconds * count / _HOUR
        cores, held = (0.0, hours / factor) if gpu else (hours, 0.0)
        # A training writes one folder, for any number of steps.
        trained = what in ("iterations", "steps", "training subjects")
        written, outputs = (1.0, 1) if trained else (count, batches)
        # Every output is a table, or a folder with its manifest and a timestamp of Snakemake.
        own = 1 if stage.removeprefix("calibration/").split("/")[0] in _TABLES else 2
        return Row(stage, count, what, cores, held, unit.bytes * written, unit.files * written + own * outputs)

    def rows() -> Iterator[Row]:
        per_subject, hearts = calibration.subject, subjects * split.get("test", 0.0)
        for name in ("ecg", "beats", "cine", "hashes"):
            yield row(name, per_subject[name], subjects, "subjects", gpu=False)
        iterations = 0 if config.trained else config.labels.epochs * config.labels.iterations
        yield row("labeller", calibration.labeller, iterations, "iterations")
        yield row("labels", per_subject["labels"], subjects, "subjects")
        yield row("quality", per_subject["quality"], subjects, "subjects", gpu=False)
        yield row("grid", per_subject["grid"], subjects, "subjects", gpu=False)
        for name, registration in config.registrations.items():
            steps = 0 if config.trained else registration.iterations
            yield row(f"registrations/{name}", calibration.registrations[name], steps, "steps")
            yield row(f"fields/{name}", calibration.fields[name], subjects, "subjects")
        if config.exact_motion:
            yield row(f"fields/{TRUTH}", calibration.fields[TRUTH], hearts, "hearts", gpu=False)
        for name, model in config.models.items():
            learnt, train = calibration.models[name], subjects * split.get("train", 0.0)
            if model.kept_hearts:
                learnt = replace(learnt, bytes=learnt.bytes * min(model.kept_hearts, train))
            if model.training:
                yield row(f"models/{name}", learnt, 0 if config.trained else model.training.all_iterations, "steps")
            else:
                yield row(f"models/{name}", learnt, train, "training subjects")
            yield row(f"twins/{name}", calibration.twins[name], hearts, "hearts")
            yield row(f"metrics/{name}", calibration.metrics[name], hearts, "hearts", gpu=False)
        for name in config.intervals.models:
            known = subjects * split.get("validation", 0.0)
            yield row(f"calibration/twins/{name}", calibration.twins[name], known, "validation hearts")
            yield row(f"calibration/metrics/{name}", calibration.metrics[name], known, "validation hearts", gpu=False)
        jobs = batches * batch_jobs(config)
        start = Unit(calibration.start)
        # Every job writes a log and a benchmark; all but `batch` and `hashes` also write a table of exclusions.
        written = 3 * jobs - 2 * batches
        yield Row("logs, benchmarks, exclusions", jobs, "jobs", start.seconds * jobs / _HOUR, 0, 0, written)

    return list(rows())


def total(rows: list[Row]) -> Row:
    """Return the sum of all rows."""
    sums = [sum(getattr(row, name) for row in rows) for name in ("core_hours", "gpu_hours", "bytes", "files")]
    return Row("in all", 0, "", *sums)


def to_json(rows: list[Row], calibration: Calibration) -> dict[str, Any]:
    """Return the rows, their sum and the units of the calibration as JSON values."""
    return {"rows": [asdict(row) for row in rows], "total": asdict(total(rows)), "calibration": asdict(calibration)}


def to_markdown(rows: list[Row], subjects: int, calibration: Calibration, gpu_factor: float) -> str:
    """Return the estimate as Markdown, with its assumptions."""
    body = [
        [
            row.stage,
            f"{row.count:,.0f} {row.unit}" if row.unit else "",
            *(f"{value:,.2f}" for value in (row.core_hours, row.gpu_hours, row.bytes / 1e9)),
            f"{row.files:,.0f}",
        ]
        for row in [*rows, total(rows)]
    ]
    rests = (
        "GPU-hours were measured on this machine's GPU."
        if calibration.gpu
        else f"GPU-hours assume that one GPU does the work of {gpu_factor:g} of this machine's cores."
    )
    head = f"{subjects:,} subjects, estimated from a calibration with three synthetic subjects on this machine."
    table = markdown_lines(["stage", "units", "core-hours", "GPU-hours", "GB", "files"], body)
    return "\n".join([head, "", *table, "", rests, "Tables and report, and the raw files, are not counted."])
