"""The stages that write tables: of metrics, and of the cost of each model."""

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from cof.artefacts.contents import overlap_notice
from cof.artefacts.folders import whole_file
from cof.artefacts.origin import Origin, labels_notice, origins
from cof.artefacts.parquet import read_table
from cof.artefacts.provenance import versions
from cof.cohort import batches_of
from cof.config.base import REAL
from cof.config.evaluation import EvaluationSettings, TableSettings
from cof.config.metrics import DEFINITIONS_VERSION
from cof.errors import UsageError
from cof.features.artefacts import Features
from cof.inputs import File, Folder
from cof.options import TO_BE_TYPED, ConfigHash, OutTable, Results, SettingsOf, SettingsText, Subjects, says
from cof.progress import Progress, progress
from cof.tables import costs
from cof.tables.distances import distances
from cof.tables.renderings import RENDERINGS
from cof.tables.table import build_table, catalogued, shared_subjects, summarise

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OfEveryModel:
    """An option that takes a folder and becomes the files of every model and batch in it (`cof.options.Typed`).

    Attributes:
        suffix: suffix of a batch's file.
        needed: whether the option is required.
        more: subfolders to read besides those of the models.
    """

    suffix: str
    needed: bool = True
    more: tuple[str, ...] = ()
    kind: Any = Path

    def default(self, wanted: Any) -> Any:
        """Return the value of the option if it is not given."""
        return TO_BE_TYPED if self.needed else None

    def read(self, typed: Path, wanted: Any, given: Mapping[str, Any]) -> dict[str, list[Path]]:
        """Return the files of every model's batches, by the name of the model."""
        batches = batches_of(given["subjects"])
        models = (*self.more, *given["settings"].trainings)
        return {model: [typed / model / f"{batch}{self.suffix}" for batch in batches] for model in models}


@says(
    lambda _, given: (
        f"{len(given['settings'].models)} models, as {given['out']}.csv, .md and .tex. Open {given['out']}.md"
    )
)
def make_table(
    *,
    subjects: Subjects,
    settings: SettingsOf[TableSettings],
    metrics: Annotated[
        dict[str, list[Path]],
        typer.Option(help="Folder of the metrics, with a folder per model and a file per batch."),
        Folder(),
        OfEveryModel(".parquet"),
    ],
    out: OutTable,
    evaluation: Annotated[EvaluationSettings, typer.Option(help="Settings of the evaluation."), SettingsText()],
    config_hash: ConfigHash = "",
    attainable: Annotated[Path | None, typer.Option(help="attainable.json: what a regression reaches."), File()] = None,
    features: Annotated[
        dict[str, list[Path]] | None,
        typer.Option(help="Folder of the features, for Fréchet distances."),
        Folder(),
        OfEveryModel(".safetensors", needed=False, more=(REAL,)),
    ] = None,
    labeller: Annotated[
        Path | None, typer.Option(help="Folder of the nnU-Net whose labels the metrics use."), Folder()
    ] = None,
) -> None:
    """Write one table as `.csv` (long form, unrounded), `.md` and `.tex` (booktabs).

    Args:
        subjects: table of the cohort, for the origin of its hearts.
        settings: models in row order, metrics in column order.
        metrics: files of the metrics' batches, by model.
        evaluation: settings of the bootstrap.
        out, config_hash: as annotated.
        attainable: result of `cof.tables.attainable`, for metrics that are compared with it.
        features: files of the features' batches, by model and for `real`, for tables with Fréchet distances.
        labeller: folder of the labeller. If it was trained on another cohort, a table whose numbers depend on its
            labels gets a remark, and another one if it may have learnt from the subjects of the table.

    Raises:
        UsageError: a metric or paper table is unknown, a model has no rows, metrics follow another version of the
            definitions, or no subject is common to all models.
    """
    shown = catalogued(settings.metrics)
    read = progress(metrics.items(), "reading metrics", "model")
    measured = {model: summarise(_rows(model, paths), shown) for model, paths in read}
    provenance = {"config_hash": config_hash, "versions": versions(), "definitions": DEFINITIONS_VERSION}
    regressed = json.loads(attainable.read_text()) if attainable else None
    found = {}
    with Progress(f"table {out.name}", None):
        if settings.with_features:
            made = {model: Features(paths) for model, paths in (features or {}).items()}
            real = made.pop(REAL, Features([]))
            wanted = [metric for metric in shown if metric.extractor]
            found = distances(wanted, made, real, sorted(shared_subjects(measured, settings)), evaluation)
        table = build_table(measured, settings, evaluation, provenance, regressed, found)
        if labeller is not None and any(metric.rests_on_labels for metric in shown):
            table = replace(table, remarks=(*_labels_remark(labeller, subjects), *table.remarks))
    for suffix, render in RENDERINGS.items():
        with whole_file(out.with_name(out.name + suffix)) as aside:
            aside.write_text(render(table), encoding="utf-8")
    log.info("table %s: %d models, %d subjects", out.name, len(table.models), len(table.subjects))


def _labels_remark(labeller: Path, subjects: Path | None) -> tuple[str, ...]:
    """Return the remarks on numbers that depend on the labels of this labeller."""
    origin = Origin.read(labeller)
    kinds = set() if subjects is None else set(origins(read_table(subjects)))
    if origin is None or not origin.foreign(kinds):
        return ()
    notice = labels_notice(origin)
    return (*filter(None, (f"{notice[0].upper()}{notice[1:]}: {origin.counted}.", overlap_notice(labeller))),)


def _rows(model: str, paths: list[Path]) -> Iterator[pd.DataFrame]:
    """Yield the long-form rows of one model, batch by batch.

    Raises:
        UsageError: the metrics follow another version of the definitions.
    """
    for path in paths:
        rows = read_table(path, ["subject", "structure", "metric", "value", "version"])
        if set(rows["version"]) - {DEFINITIONS_VERSION}:
            raise UsageError(
                f"{path}: the metrics of '{model}' follow outdated definitions (now {DEFINITIONS_VERSION}); evaluate "
                "the model again"
            )
        yield rows


@says(lambda _, given: f"cost of each model, as {given['out']}.csv, .md and .tex. Open {given['out']}.md")
def make_cost(
    *,
    results: Results,
    out: OutTable,
    settings: SettingsOf[TableSettings],
    config_hash: ConfigHash = "",
    trained: Annotated[
        Path | None, typer.Option(help="Results folder of the run whose trained artefacts this run borrows."), Folder()
    ] = None,
) -> None:
    """Write the cost of each model of a table as `.csv`, `.md` and `.tex`.

    Args:
        results: results folder with models, generated hearts and Snakemake's benchmarks.
        settings: settings of the table.
        out, config_hash, trained: as annotated.
    """
    rows = costs.costs(results, settings, trained)
    for suffix, render in costs.RENDERINGS.items():
        with whole_file(out.with_name(out.name + suffix)) as aside:
            aside.write_text(render(rows, settings.title, config_hash), encoding="utf-8")
