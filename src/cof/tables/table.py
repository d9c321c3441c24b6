"""One table: models by metrics, over the same subjects, with intervals, differences and the paper's numbers."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from cof.config.evaluation import EvaluationSettings, TableSettings
from cof.config.metrics import METRICS, Metric
from cof.errors import UsageError
from cof.tables.bootstrap import Estimate
from cof.tables.comparison import exchange_p, holm
from cof.tables.distances import Distances
from cof.tables.paper import PaperTable, paper_table
from cof.tables.statistics import STATISTICS
from cof.tables.undefined import undefined_remark, undefined_shares


@dataclass(frozen=True)
class Cell:
    """The value of one metric for one model.

    Attributes:
        n: number of subjects; the same for every model that has the metric.
        mean: mean over subjects, or another statistic of the metric; NaN if there is no value.
        sd: SD over subjects; NaN for a statistic other than the mean.
        interval: 95 % interval of the statistic (`cof.tables.bootstrap.Estimate`).
        difference, difference_interval: statistic of this model minus that of the table's first model, and its paired
            interval; NaN in the first row, if either model has no value, and between two distances at the floor.
        p: p of the difference, by exchanges of both models' values within subjects; NaN where there is no test.
        p_holm: the same, corrected for the other rows of this metric.
        seed_sd: SD of the statistic over trainings of the model with different seeds; NaN if there is only one.
        paper: the paper's number, from another data set; None if the paper has none.
        at_floor: whether a distance is no larger than the one between halves of the real subjects.
    """

    n: int
    mean: float
    sd: float
    interval: tuple[float, float]
    difference: float
    difference_interval: tuple[float, float]
    p: float
    p_holm: float
    seed_sd: float
    paper: float | None
    at_floor: bool = False


@dataclass(frozen=True)
class Table:
    """A finished table.

    Attributes:
        title: title from the configuration.
        subjects: all subjects that every model has.
        models: printed names by model name, in row order.
        metrics: columns in order.
        cells: cells by model name and metric key.
        paper_cohort: data set of the paper's numbers; None if the table shows none of them.
        provenance: configuration hash, package versions and version of the metric definitions.
        bootstrap: number of resamples, and largest number of exchanges of a test.
        distances: details of the columns with Fréchet distances, by metric key.
        left_out: printed names of the models that are left out because the cohort has no training subjects.
        remarks: further notes for the reader, such as the origin of the labeller.
        attainable: result of `cof.tables.attainable`; None if the table has no metric that is compared with it.
    """

    title: str
    subjects: tuple[str, ...]
    models: Mapping[str, str]
    metrics: tuple[Metric, ...]
    cells: Mapping[tuple[str, str], Cell]
    paper_cohort: str | None
    provenance: Mapping[str, Any]
    bootstrap: int
    distances: Mapping[str, Distances] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    attainable: Mapping[str, Any] | None = None

    @property
    def empty(self) -> bool:
        """Whether no model has a value of any metric."""
        return all(cell.n == 0 for cell in self.cells.values())


def per_subject(rows: pd.DataFrame, metric: Metric) -> pd.Series:
    """Return one value per subject of long-form `rows`: the mean over frames and slices, NaN left out.

    For a metric marked `absolute`, it is the mean of the absolute values.
    """
    chosen = rows[(rows["metric"] == metric.metric) & (rows["structure"] == metric.structure)]
    values = chosen["value"].abs() if metric.absolute else chosen["value"]
    return values.groupby(chosen["subject"]).mean().dropna().sort_index()


def columns_of(rows: pd.DataFrame, metric: Metric) -> pd.DataFrame:
    """Return the columns [n, k] that the metric's statistic needs, for the subjects that have all of them."""
    first = per_subject(rows, metric)
    others = [per_subject(rows, replace(metric, metric=name, structure=part)) for name, part in metric.beside]
    return pd.concat([first, *others], axis=1, join="inner", ignore_index=True).sort_index()


def catalogued(keys: tuple[str, ...]) -> tuple[Metric, ...]:
    """Return the metrics with these keys.

    Raises:
        UsageError: a key is not in the catalogue.
    """
    unknown = [key for key in keys if key not in METRICS]
    if unknown:
        raise UsageError(f"tables: no metric is called '{unknown[0]}'; known: {', '.join(METRICS)}")
    return tuple(METRICS[key] for key in keys)


@dataclass(frozen=True)
class Measured:
    """The metrics of one model, summarised per subject: all that a table needs of it.

    Attributes:
        subjects: all subjects with a row.
        values: columns of `columns_of` by metric key, one row per subject.
        undefined: share of each subject's values that are NaN, by metric key.
    """

    subjects: frozenset[str]
    values: Mapping[str, pd.DataFrame]
    undefined: Mapping[str, pd.Series] = field(default_factory=dict)


def summarise(batches: Iterable[pd.DataFrame], metrics: tuple[Metric, ...]) -> Measured:
    """Summarise the long-form rows of one model, with one batch in memory at a time.

    Args:
        batches: long-form rows; all rows of a subject are in one batch.
        metrics: metrics to summarise; distances between features are skipped.
    """
    metrics = tuple(metric for metric in metrics if not metric.extractor)
    subjects: set[str] = set()
    parts: dict[str, list[pd.DataFrame]] = {metric.key: [] for metric in metrics}
    shares: dict[str, list[pd.Series]] = {metric.key: [] for metric in metrics}
    for rows in batches:
        subjects.update(rows["subject"])
        rows = rows.astype({"metric": "category", "structure": "category"})  # compared for every metric
        for metric in metrics:
            parts[metric.key].append(columns_of(rows, metric))
            shares[metric.key].append(undefined_shares(rows, metric))
    values = {key: pd.concat(found).sort_index() if found else pd.DataFrame() for key, found in parts.items()}
    undefined = {key: pd.concat(found) for key, found in shares.items() if found}
    return Measured(frozenset(subjects), values, undefined)


def build_table(
    measured: Mapping[str, Measured],
    settings: TableSettings,
    evaluation: EvaluationSettings,
    provenance: Mapping[str, Any],
    attainable: Mapping[str, Any] | None = None,
    distances: Mapping[str, Distances] | None = None,
) -> Table:
    """Build one table of several models.

    All models are compared on the subjects that all of them have. If a model has no value of a metric for any subject
    (a cine without displacement has no end-point error), its cell is empty. If it has values for some subjects only,
    the column is restricted to those subjects in every row, and n gives their number.

    Args:
        measured: result of `summarise` by model name.
        settings: models in row order, metrics in column order.
        evaluation: number of resamples and their seed.
        provenance: provenance that the table records.
        attainable: result of `cof.tables.attainable`, for metrics that are compared with it.
        distances: result of `cof.tables.distances`, for every metric with an extractor.

    Raises:
        UsageError: a metric or the paper's table is unknown, a model has no rows, or the models share no subject.
    """
    metrics = catalogued(settings.metrics)
    paper = paper_table(settings.paper) if settings.paper else None
    every = settings.trainings
    common = shared_subjects(measured, settings)
    cells: dict[tuple[str, str], Cell] = {}
    answers = (attainable or {}).get("answers", {})
    first, *others = settings.models
    for metric in metrics:
        floor = math.nan
        if metric.extractor:
            found = (distances or {})[metric.key]
            samples = {model: _Sample(found.estimates[model], math.nan, np.empty((0, 1))) for model in every}
            floor = found.floor
        else:
            columns = {model: measured[model].values[metric.key] for model in every}
            reached = answers.get(metric.attainable) or {"value": math.nan}
            scale = reached["value"] if metric.attainable else 1.0
            samples = _samples(columns, common, metric, scale, evaluation)
        p = {model: _p(samples[model], samples[first], metric, evaluation) for model in others}
        corrected = holm(p)
        for model in settings.models:
            cells[model, metric.key] = _cell(
                samples[model],
                samples[first] if model != first else None,
                floor,
                (p.get(model, math.nan), corrected.get(model, math.nan)),
                [samples[name].estimate.value for name in (model, *settings.repeats.get(model, ()))],
                paper.value(settings.models[model], metric.key) if paper else None,
            )
    return Table(
        settings.title,
        tuple(sorted(common)),
        dict(settings.models),
        metrics,
        cells,
        _cohort_shown(paper, cells),
        provenance,
        evaluation.bootstrap,
        dict(distances or {}),
        settings.left_out,
        remarks=undefined_remark(
            {(model, key): shares for model in settings.models for key, shares in measured[model].undefined.items()},
            settings.models,
            metrics,
            common,
        ),
        attainable=attainable,
    )


def shared_subjects(measured: Mapping[str, Measured], settings: TableSettings) -> frozenset[str]:
    """Return the subjects that every model of a table has.

    Raises:
        UsageError: a model has no subject, or the models share no subject.
    """
    for model in settings.trainings:
        if model not in measured or not measured[model].subjects:
            raise UsageError(f"table '{settings.title}': model '{model}' was evaluated on no subject")
    common = frozenset.intersection(*(measured[model].subjects for model in settings.trainings))
    if not common:
        raise UsageError(f"table '{settings.title}': its models have no subject in common")
    return common


@dataclass(frozen=True)
class _Sample:
    """One metric of one model.

    Attributes:
        estimate: the statistic over the subjects.
        sd: SD over subjects; NaN for a statistic other than the mean.
        values: values [n, k] of the subjects; empty for a Fréchet distance, which has none.
    """

    estimate: Estimate
    sd: float
    values: np.ndarray


def _samples(
    columns: Mapping[str, pd.DataFrame],
    common: frozenset[str],
    metric: Metric,
    scale: float,
    evaluation: EvaluationSettings,
) -> dict[str, _Sample]:
    """Return a metric's samples by model, all over the same subjects."""
    columns = {model: column[column.index.isin(common)] for model, column in columns.items()}
    present = [set(column.index) for column in columns.values() if len(column)]
    subjects = sorted(set.intersection(*present)) if present else []
    return {
        model: _sample(column.reindex(subjects if len(column) else []).to_numpy(float), metric, scale, evaluation)
        for model, column in columns.items()
    }


def _sample(values: np.ndarray, metric: Metric, scale: float, evaluation: EvaluationSettings) -> _Sample:
    """Return the metric's statistic of values [n, k], divided by `scale`; no value without a scale above zero."""
    if not len(values) or not scale > 0:
        return _Sample(Estimate.none(), math.nan, values[:0])
    estimate = Estimate.of(values, evaluation.bootstrap, evaluation.seed, STATISTICS[metric.statistic]) / scale
    spread = metric.statistic == "mean" and len(values) > 1 and np.isfinite(values).all()
    return _Sample(estimate, float(values[:, 0].std(ddof=1)) if spread else math.nan, values)


def _p(own: _Sample, first: _Sample, metric: Metric, evaluation: EvaluationSettings) -> float:
    """Return the p of the difference between two models; NaN if it has no test."""
    if not len(own.values) or own.values.shape != first.values.shape:
        return math.nan
    return exchange_p(own.values, first.values, evaluation.bootstrap, evaluation.seed, STATISTICS[metric.statistic])


def _cell(
    own: _Sample,
    first: _Sample | None,
    floor: float,
    p: tuple[float, float],
    seeds: list[float],
    paper: float | None,
) -> Cell:
    """Return the cell of a model; `first` is None in the first row, `floor` NaN unless the metric is a distance."""
    at_floor = own.estimate.value <= floor
    difference = Estimate.none()
    # Distances at the floor have no order: what separates them does not separate real hearts from each other.
    if first is not None and not (at_floor and first.estimate.value <= floor):
        difference = own.estimate - first.estimate
    low, high = own.estimate.interval()
    return Cell(
        own.estimate.n,
        own.estimate.value,
        own.sd,
        (max(low, 0.0), high) if not math.isnan(floor) else (low, high),
        difference.value,
        difference.interval(),
        *p,
        float(np.std(seeds, ddof=1)) if len(seeds) > 1 else math.nan,
        paper,
        at_floor,
    )


def _cohort_shown(paper: PaperTable | None, cells: Mapping[tuple[str, str], Cell]) -> str | None:
    shown = paper is not None and any(cell.paper is not None for cell in cells.values())
    return paper.cohort if paper is not None and shown else None
