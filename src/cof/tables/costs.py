"""Costs of each model of a table: examples and time of its training, and the time per generated heart.

Counts come from the settings.json and log.csv that every training writes, times and memory from Snakemake's benchmarks.
"""

import csv
import io
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pandas as pd

from cof.artefacts.markup import DASH, markdown_lines, tabular, tex
from cof.artefacts.provenance import versions
from cof.config.evaluation import TableSettings

COLUMNS = (
    *("row", "model", "family", "training_hearts", "thousand_parameters", "iterations", "thousand_samples", "trials"),
    *("train_loss_change", "validation_loss_change", "device", "processes", "train_hours", "train_cpu_hours"),
    *("train_gpu_hours", "hearts", "seconds_a_heart", "peak_memory_gb"),
)
LATE = 0.2


@dataclass(frozen=True)
class Benchmark:
    """A benchmark by Snakemake: wall time and CPU time (s) and peak memory (GB); NaN where not measured."""

    seconds: float
    cpu_seconds: float
    memory_gb: float

    @classmethod
    def read(cls, path: Path) -> "Benchmark":
        """Read a benchmark file; if the rule ran several times, the last run counts."""
        if not path.is_file():
            return cls(math.nan, math.nan, math.nan)
        last = pd.read_csv(path, sep="\t").apply(pd.to_numeric, errors="coerce").iloc[-1]
        seconds, cpu_seconds, megabytes = (float(last.get(name, math.nan)) for name in ("s", "cpu_time", "max_rss"))
        return cls(seconds, cpu_seconds, megabytes / 1024)


@dataclass(frozen=True)
class Cost:
    """The costs of one model or registration: one row. NaN stands for an unknown value.

    Attributes:
        row: printed name.
        model: name in the configuration; for a registration, its folder.
        family: family of the model.
        training_hearts: number of different training hearts.
        parameters: trained parameters of all its networks.
        iterations: iterations of all its networks together.
        samples: training examples that the iterations used, with repetitions.
        trials: short trainings that chose the learning rates of its networks; their iterations are not counted.
        train_change, validation_change: relative change of the loss over the last fifth of the training
            (`late_change`); for several networks trained one after another, that of the last one, which generates.
        device: cpu or gpu; empty for a model without a network.
        processes: number of processes that trained together.
        hours: wall time of the training job.
        cpu_hours: CPU time of the training job.
        gpu_hours: wall time of the training job, multiplied by its number of GPUs.
        hearts: number of generated hearts.
        seconds_a_heart: wall time of the generating jobs (start, generation, warp, labels and files) per heart.
        memory_gb: peak memory of a generating job.
    """

    row: str
    model: str
    family: str
    training_hearts: float = math.nan
    parameters: float = math.nan
    iterations: float = math.nan
    samples: float = math.nan
    trials: float = math.nan
    train_change: float = math.nan
    validation_change: float = math.nan
    device: str = ""
    processes: float = math.nan
    hours: float = math.nan
    cpu_hours: float = math.nan
    gpu_hours: float = math.nan
    hearts: float = math.nan
    seconds_a_heart: float = math.nan
    memory_gb: float = math.nan


def late_change(log: pd.DataFrame, column: str) -> float:
    """Return the relative change of a loss over the last fifth of the iterations, a measure of convergence.

    It is the mean of the last tenth divided by the mean of the tenth before it, minus one; NaN if either has no value.
    """
    if column not in log:
        return math.nan
    last = log["iteration"].max()
    before, after = (
        log.loc[log["iteration"].between(low * last, high * last, inclusive="right"), column].mean()
        for low, high in ((1 - LATE, 1 - LATE / 2), (1 - LATE / 2, 1))
    )
    return float(after / before - 1) if before else math.nan


def parts(log: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Split a log by its column `part`, which names one of several networks trained one after another.

    Returns:
        The numeric columns of each part in the order of training; a log without that column has one part named ''.
    """
    if "part" not in log:
        return {"": log.select_dtypes("number")}
    return {str(part): rows.select_dtypes("number") for part, rows in log.groupby("part", sort=False)}


def panel(name: str, part: str) -> str:
    """Return the printed name of a part of a model."""
    return f"{name}: {part}" if part else name


def read_logs(folder: Path) -> dict[str, pd.DataFrame]:
    """Return the logs of a training by part, with the loss named `train_loss`; empty if no log is by iterations."""
    path = folder / "log.csv"
    if not path.is_file():
        return {}
    log = pd.read_csv(path).rename(columns={"loss": "train_loss"})
    return parts(log) if "iteration" in log and "train_loss" in log and len(log) else {}


def learnt(folder: Path, row: str, model: str, family: str) -> Cost:
    """Return the costs recorded in the folder of a trained model or registration; the same on every machine."""
    file = folder / "settings.json"
    record: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    applied = folder / "model"
    if (applied / "settings.json").is_file():  # this model applies another trained model
        return learnt(applied, row, model, family)
    trainings = record.get("trainings")
    subjects = record.get("subjects")
    hearts = subjects.get("train", math.nan) if isinstance(subjects, Mapping) else subjects
    log = next(reversed(read_logs(folder).values()), pd.DataFrame())  # the last network generates

    def total(key: str) -> float:
        return math.nan if trainings is None else float(sum(training[key] for training in trainings))

    return Cost(
        row,
        model,
        family,
        training_hearts=math.nan if hearts is None else float(hearts),
        parameters=1000 * total("thousand_parameters"),
        iterations=total("iterations"),
        samples=1000 * total("thousand_samples"),
        trials=float(len(record["trials"])) if "trials" in record else math.nan,
        train_change=late_change(log, "train_loss"),
        validation_change=late_change(log, "validation_loss"),
        device=" and ".join(sorted({training["device"] for training in trainings or ()})),
        processes=float(max((training["processes"] for training in trainings or ()), default=math.nan)),
    )


def costs(root: Path, settings: TableSettings, trained: Path | None = None) -> list[Cost]:
    """Return one row per model of a table, and one per registration whose motion some of them learn from.

    Args:
        root: results folder; values that it does not hold are unknown.
        settings: settings of the table.
        trained: results folder of the run whose trained artefacts this run borrows.
    """

    def training(kind: str, name: str) -> Path:
        own = root / "benchmarks" / kind / f"{name}.tsv"
        return own if own.is_file() or trained is None else trained / "benchmarks" / kind / f"{name}.tsv"

    rows: list[Cost] = []
    shared: dict[str, list[str]] = {}
    for model, name in settings.models.items():
        file = root / "models" / model / "settings.json"
        chosen = json.loads(file.read_text())["settings"] if file.is_file() else {}
        found = learnt(root / "models" / model, name, model, chosen.get("family", ""))
        rows.append(_with_times(root, found, training("train", model)))
        if (registration := chosen.get("registration")) and (root / "registrations" / registration).is_dir():
            shared.setdefault(registration, []).append(name)
    for registration, users in shared.items():
        folder = f"registrations/{registration}"
        found = learnt(root / folder, f"Registration '{registration}', of {', '.join(users)}", folder, "")
        rows.append(_with_times(root, found, training("toppr", registration)))
    return rows


def _with_times(root: Path, cost: Cost, training: Path) -> Cost:
    """Return a row completed with times and memory from the benchmarks."""
    trained = Benchmark.read(training)
    folders = sorted((root / "twins" / cost.model).glob("b*"))
    hearts = [len(list(folder.glob("*.function.json"))) for folder in folders]
    made = [Benchmark.read(root / "benchmarks/twins" / cost.model / f"{folder.name}.tsv") for folder in folders]
    seconds = sum(benchmark.seconds for benchmark in made)
    memory = [benchmark.memory_gb for benchmark in made if not math.isnan(benchmark.memory_gb)]
    gpus = cost.processes if "gpu" in cost.device else 0.0
    if math.isnan(cost.parameters):  # then the device is unknown too
        gpus = math.nan
    return Cost(
        **vars(cost)
        | {
            "hours": trained.seconds / 3600,
            "cpu_hours": trained.cpu_seconds / 3600,
            "gpu_hours": trained.seconds * gpus / 3600,
            "hearts": float(sum(hearts)) if folders else math.nan,
            "seconds_a_heart": seconds / sum(hearts) if sum(hearts) else math.nan,
            "memory_gb": max(memory, default=math.nan),
        }
    )


def _values(cost: Cost) -> tuple[str | float, ...]:
    """Return the values of a row in the order of `COLUMNS`."""
    values = dict(vars(cost))
    thousands = {"parameters": cost.parameters / 1000, "samples": cost.samples / 1000}
    return tuple((values | thousands).values())


def to_csv(rows: list[Cost], title: str, config_hash: str) -> str:
    """Return the table as CSV: numbers unrounded, unknown ones empty, large counts in thousands."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow((*COLUMNS, "config_hash"))
    for cost in rows:
        cells = ["" if isinstance(value, float) and math.isnan(value) else value for value in _values(cost)]
        writer.writerow((*cells, config_hash))
    return out.getvalue()


def read_csv(path: Path) -> list[Cost]:
    """Read the rows that `to_csv` wrote."""
    text = dict.fromkeys(("row", "model", "family", "device"), str)
    table = pd.read_csv(
        path, dtype=text, keep_default_na=False, na_values={name: [""] for name in COLUMNS if name not in text}
    )
    names = [field.name for field in fields(Cost)]
    rows = [Cost(**dict(zip(names, row))) for row in table[list(COLUMNS)].itertuples(index=False)]
    return [replace(row, parameters=1000 * row.parameters, samples=1000 * row.samples) for row in rows]


HEADINGS = (
    *("", "training hearts", "parameters", "iterations", "samples seen", "trials"),
    *("last fifth, training", "last fifth, validation", "trained on"),
    *("training (h)", "CPU (h)", "GPU (h)", "s per heart", "peak memory (GB)"),
)


def cells(cost: Cost) -> list[str]:
    """Return a row as formatted text, in the order of `HEADINGS`."""

    def count(value: float) -> str:
        return DASH if math.isnan(value) else f"{value:,.0f}"

    def number(value: float, form: str) -> str:
        return DASH if math.isnan(value) else f"{value:{form}}"

    on = f"{count(cost.processes)} {cost.device.upper()}" if cost.device else DASH
    return [
        cost.row,
        *map(count, (cost.training_hearts, cost.parameters, cost.iterations, cost.samples, cost.trials)),
        *(number(value, "+.1%") for value in (cost.train_change, cost.validation_change)),
        on,
        *(number(value, ".3g") for value in (cost.hours, cost.cpu_hours, cost.gpu_hours)),
        number(cost.seconds_a_heart, ".1f"),
        number(cost.memory_gb, ".1f"),
    ]


NOTES = (
    "Training hearts counts different hearts; samples seen counts repetitions (for registrations, pairs). Parameters "
    "counts the parameters that were trained: a family without a network has none, even if it keeps data.",
    "Trials are the short trainings that chose the learning rate of each network by the validation loss. Hours include "
    "them; iterations and samples do not.",
    "Last fifth is the relative change of the loss over the last fifth of the iterations: its mean over the last tenth "
    "compared with the tenth before. A loss that still falls has not converged; but where the learning rate falls to "
    "zero, every loss levels off. For several networks trained one after another, it is that of the last one, which "
    "generates.",
    "Training, CPU and GPU hours are those of the last training job as measured by Snakemake, with reading of data and "
    "logging; for a resumed training, only the part after the resumption; for a borrowed model, the hours of the run "
    "that trained it. GPU hours are wall time multiplied by the number of GPUs.",
    "Seconds per heart and peak memory are those of the generating jobs: start of Python, generation, warp, nnU-Net's "
    "labels and files. Times depend on the machine and on its other load.",
    f"{DASH}: not known.",
)


def _made_by(config_hash: str) -> str:
    return f"Configuration {config_hash}; chain-of-flow {versions()['chain-of-flow']}."


def to_markdown(rows: list[Cost], title: str, config_hash: str) -> str:
    """Return the table as Markdown, with notes."""
    parts = [
        f"# {title}: cost of each model",
        "",
        *markdown_lines(list(HEADINGS), [cells(cost) for cost in rows]),
    ]
    return "\n".join([*parts, "", *(f"{note}\n" for note in NOTES), _made_by(config_hash)]) + "\n"


def to_latex(rows: list[Cost], title: str, config_hash: str) -> str:
    """Return the table as LaTeX for a manuscript, which needs the package booktabs."""
    caption = tex(f"{title}: cost of each model. {' '.join(NOTES)}")
    body = tabular(list(HEADINGS), [cells(cost) for cost in rows])
    parts = [f"% {_made_by(config_hash)}", r"\begin{table}", r"\centering", rf"\caption{{{caption}}}", *body]
    return "\n".join([*parts, r"\end{table}"]) + "\n"


RENDERINGS: dict[str, Callable[[list[Cost], str, str], str]] = {".csv": to_csv, ".md": to_markdown, ".tex": to_latex}
