"""The stages that write tables: of metrics, and of what models have cost."""

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

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
from cof.tables.table import RENDERINGS, build_table, catalogued, shared_subjects, summarise

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OfEveryModel:
    """A folder, typed, in which the table's models and their batches have their places (`cof.options.Typed`).

    Attributes:
        suffix: of a batch's file.
        needed: it has to be typed.
        more: places beside the models'.
    """

    suffix: str
    needed: bool = True
    more: tuple[str, ...] = ()
    kind: Any = Path

    def default(self, wanted: Any) -> Any:
        """What counts as typed where nothing is."""
        return TO_BE_TYPED if self.needed else None

    def read(self, typed: Path, wanted: Any, given: Mapping[str, Any]) -> dict[str, list[Path]]:
        """Name of every model to the files of its batches."""
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
        typer.Option(help="Folder of the metrics; models and batches have their places in it."),
        Folder(),
        OfEveryModel(".parquet"),
    ],
    out: OutTable,
    evaluation: Annotated[EvaluationSettings, typer.Option(help="Settings of the evaluation."), SettingsText()],
    config_hash: ConfigHash = "",
    card: Annotated[Path | None, typer.Option(help="phantom/card.json of a synthetic cohort."), File()] = None,
    features: Annotated[
        dict[str, list[Path]] | None,
        typer.Option(help="Folder of the features, for Fréchet distances."),
        Folder(),
        OfEveryModel(".safetensors", needed=False, more=(REAL,)),
    ] = None,
    labeller: Annotated[
        Path | None, typer.Option(help="Folder of the nnU-Net on whose labels it rests."), Folder()
    ] = None,
) -> None:
    """Write one table as `.csv` (long form, unrounded), `.md` and `.tex` (booktabs).

    Args:
        subjects: they tell what the cohort's hearts are.
        settings: models in row order, metrics in column order.
        metrics: model name to the metrics of its batches.
        evaluation: the bootstrap.
        out, config_hash: as annotated.
        card: it tells how much of EF can be known.
        features: model name, and `real`, to the features of its batches, for tables with Fréchet distances.
        labeller: a table whose numbers rest on its labels says what it was trained on,
            where that is another cohort.

    Raises:
        UsageError: an unknown metric or paper table, a model without rows, metrics of another version of the
            definitions, or no subject that all models have.
    """
    shown = catalogued(settings.metrics)
    read = progress(metrics.items(), "reading metrics", "model")
    measured = {model: summarise(_rows(model, paths), shown) for model, paths in read}
    provenance = {"config_hash": config_hash, "versions": versions(), "definitions": DEFINITIONS_VERSION}
    attainable = json.loads(card.read_text())["couplings"] if card else None
    found = {}
    with Progress(f"table {out.name}", None):
        if settings.with_features:
            made = {model: Features(paths) for model, paths in (features or {}).items()}
            real = made.pop(REAL, Features([]))
            wanted = [metric for metric in shown if metric.extractor]
            found = distances(wanted, made, real, sorted(shared_subjects(measured, settings)), evaluation)
        table = build_table(measured, settings, evaluation, provenance, attainable, found)
        if labeller is not None and any(metric.rests_on_labels for metric in shown):
            table = replace(table, remarks=_labels_remark(labeller, subjects))
    for suffix, render in RENDERINGS.items():
        with whole_file(out.with_name(out.name + suffix)) as aside:
            aside.write_text(render(table), encoding="utf-8")
    log.info("table %s: %d models, %d subjects", out.name, len(table.models), len(table.subjects))


def _labels_remark(labeller: Path, subjects: Path | None) -> tuple[str, ...]:
    """Remarks on numbers that rest on the labels of this labeller."""
    origin = Origin.read(labeller)
    kinds = set() if subjects is None else set(origins(read_table(subjects)))
    if origin is None or not origin.foreign(kinds):
        return ()
    notice = labels_notice(origin)
    return (f"{notice[0].upper()}{notice[1:]}: {origin.counted}.",)


def _rows(model: str, paths: list[Path]) -> Iterator[pd.DataFrame]:
    """The long-form rows of one model, batch by batch."""
    for path in paths:
        rows = read_table(path, ["subject", "structure", "metric", "value", "version"])
        if set(rows["version"]) - {DEFINITIONS_VERSION}:
            raise UsageError(f"metrics of '{model}' follow outdated definitions: evaluate the model again")
        yield rows


@says(lambda _, given: f"what each model has cost, as {given['out']}.csv, .md and .tex. Open {given['out']}.md")
def make_cost(
    *,
    results: Results,
    out: OutTable,
    settings: SettingsOf[TableSettings],
    config_hash: ConfigHash = "",
    trained: Annotated[
        Path | None, typer.Option(help="Results of the run that trained what this one borrows."), Folder()
    ] = None,
) -> None:
    """Write what each model of a table has cost, as `.csv`, `.md` and `.tex`.

    Args:
        results: with models, generated hearts and Snakemake's benchmarks.
        settings: of the table.
        out, config_hash, trained: as annotated.
    """
    rows = costs.costs(results, settings, trained)
    for suffix, render in costs.RENDERINGS.items():
        with whole_file(out.with_name(out.name + suffix)) as aside:
            aside.write_text(render(rows, settings.title, config_hash), encoding="utf-8")
