"""The stages that write tables: of metrics, and of what models have cost."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd

from cof.artefacts.folders import whole_file
from cof.artefacts.origin import Origin, labels_notice, origins
from cof.artefacts.parquet import read_table
from cof.artefacts.provenance import versions
from cof.config.base import REAL
from cof.config.evaluation import EvaluationSettings, TableSettings
from cof.config.metrics import DEFINITIONS_VERSION
from cof.errors import UsageError
from cof.features.artefacts import Features
from cof.progress import Progress, progress
from cof.tables import costs
from cof.tables.distances import distances
from cof.tables.table import RENDERINGS, build_table, catalogued, shared_subjects, summarise

log = logging.getLogger(__name__)


def make_table(
    *,
    metrics: dict[str, list[Path]],
    settings: TableSettings,
    evaluation: EvaluationSettings,
    out: Path,
    config_hash: str,
    card: Path | None = None,
    features: dict[str, list[Path]] | None = None,
    labeller: Path | None = None,
    subjects: Path | None = None,
) -> None:
    """Write one table as `.csv` (long form, unrounded), `.md` and `.tex` (booktabs).

    Args:
        metrics: model name to the metrics of its batches.
        settings: models in row order, metrics in column order.
        evaluation: the bootstrap.
        out: path of the table without a suffix.
        config_hash: hash of the whole configuration.
        card: `phantom/card.json`, which tells how much of EF can be known.
        features: model name, and `real`, to the features of its batches, for tables with Fréchet distances.
        labeller: folder of the trained nnU-Net; a table whose numbers rest on its labels says what it was trained on,
            where that is another cohort.
        subjects: `cohort/subjects.parquet`, which tells what the cohort's hearts are.

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


def make_cost(
    *, results: Path, settings: TableSettings, out: Path, config_hash: str, trained: Path | None = None
) -> None:
    """Write what each model of a table has cost, as `.csv`, `.md` and `.tex`.

    Args:
        results: the results folder, with models, generated hearts and Snakemake's benchmarks.
        settings: of the table.
        out: path without a suffix.
        config_hash: hash of the whole configuration.
        trained: results folder of the run that has trained what this one has not.
    """
    rows = costs.costs(results, settings, trained)
    for suffix, render in costs.RENDERINGS.items():
        with whole_file(out.with_name(out.name + suffix)) as aside:
            aside.write_text(render(rows, settings.title, config_hash), encoding="utf-8")
