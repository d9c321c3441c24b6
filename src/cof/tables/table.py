"""One table: models by metrics, over the same subjects, with intervals, differences and the paper's numbers."""

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from cof.artefacts.markup import DASH, markdown_lines, tabular, tex
from cof.config.evaluation import EvaluationSettings, TableSettings
from cof.config.metrics import METRICS, Metric
from cof.errors import UsageError
from cof.tables.bootstrap import interval_of, resampled
from cof.tables.distances import Distances
from cof.tables.few import few
from cof.tables.paper import PaperTable, paper_table
from cof.tables.statistics import STATISTICS
from cof.tables.undefined import undefined_remark, undefined_shares

CSV_COLUMNS = (
    *("row", "model", "metric", "unit", "better", "n", "mean", "sd", "ci_low", "ci_high"),
    *("difference", "difference_ci_low", "difference_ci_high", "seed_sd", "paper", "paper_cohort"),
    *("floor", "items_a_subject", "dimensions", "network", "sha256"),
    *("config_hash", "definitions", "versions"),
)

# Metrics of frame 0, which most families copy from the anchor.
_OF_ANCHOR = ("edv_", "lvm_")


@dataclass(frozen=True)
class Cell:
    """The value of one metric for one model.

    Attributes:
        n: number of subjects; the same for every model that has the metric.
        mean: mean over subjects, or another statistic of the metric; NaN if there is no value.
        sd: SD over subjects; NaN for a statistic other than the mean.
        interval: 95 % bootstrap interval of the statistic.
        difference, difference_interval: statistic of this model minus that of the table's first model, and its paired
            interval; NaN in the first row and if either model has no value.
        seed_sd: SD of the statistic over trainings of the model with different seeds; NaN if there is only one.
        paper: the paper's number, from another data set; None if the paper has none.
    """

    n: int
    mean: float
    sd: float
    interval: tuple[float, float]
    difference: float
    difference_interval: tuple[float, float]
    seed_sd: float
    paper: float | None


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
        bootstrap: number of resamples.
        distances: details of the columns with Fréchet distances, by metric key.
        left_out: printed names of the models that are left out because the cohort has no training subjects.
        remarks: further notes for the reader, such as the origin of the labeller.
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
    attainable: Mapping[str, float] | None = None,
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
        attainable: couplings from the synthetic cohort's card, for metrics that are shares of one of them.
        distances: result of `cof.tables.distances`, for every metric with an extractor.

    Raises:
        UsageError: a metric or the paper's table is unknown, a model has no rows, or the models share no subject.
    """
    metrics = catalogued(settings.metrics)
    paper = paper_table(settings.paper) if settings.paper else None
    every = settings.trainings
    common = shared_subjects(measured, settings)
    cells: dict[tuple[str, str], Cell] = {}
    for metric in metrics:
        if metric.extractor:
            found = (distances or {})[metric.key]
            samples = {
                model: _Sample(found.subjects, found.values[model], math.nan, found.draws[model]) for model in every
            }
        else:
            columns = {model: measured[model].values[metric.key] for model in every}
            scale = (attainable or {}).get(metric.attainable, math.nan) if metric.attainable else 1.0
            samples = _samples(columns, common, metric, scale, evaluation)
        first = next(iter(settings.models))
        for model in settings.models:
            cells[model, metric.key] = _cell(
                samples[model],
                samples[first] if model != first else None,
                [samples[name].value for name in (model, *settings.repeats.get(model, ()))],
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
    """A statistic of one model over its n subjects, and in resamples of them [replicates]; empty without a value."""

    n: int
    value: float
    sd: float
    draws: np.ndarray


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
    """Return the metric's statistic of values [n, k], divided by `scale`, and its resamples."""
    statistic = STATISTICS[metric.statistic]
    if not len(values) or math.isnan(scale):
        return _Sample(0, math.nan, math.nan, np.empty(0))
    draws = resampled(values, evaluation.bootstrap, evaluation.seed, statistic) / scale
    spread = metric.statistic == "mean" and len(values) > 1 and np.isfinite(values).all()
    sd = float(values[:, 0].std(ddof=1)) if spread else math.nan
    return _Sample(len(values), float(statistic(values)) / scale, sd, draws)


def _cell(own: _Sample, first: _Sample | None, seeds: list[float], paper: float | None) -> Cell:
    paired = first is not None and own.n > 0 and first.n == own.n and math.isfinite(own.value - first.value)
    return Cell(
        own.n,
        own.value,
        own.sd,
        interval_of(own.draws),
        own.value - first.value if first is not None and paired else math.nan,
        interval_of(own.draws - first.draws) if first is not None and paired else (math.nan, math.nan),
        float(np.std(seeds, ddof=1)) if len(seeds) > 1 else math.nan,
        paper,
    )


def _cohort_shown(paper: PaperTable | None, cells: Mapping[tuple[str, str], Cell]) -> str | None:
    shown = paper is not None and any(cell.paper is not None for cell in cells.values())
    return paper.cohort if paper is not None and shown else None


def to_csv(table: Table) -> str:
    """Return the long form as CSV: one row per model and metric, numbers unrounded, missing ones empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)

    def number(value: float | None) -> str:
        return "" if value is None or math.isnan(value) else repr(float(value))

    versions = " ".join(f"{name}={version}" for name, version in sorted(table.provenance["versions"].items()))
    for model, name in table.models.items():
        for metric in table.metrics:
            cell = table.cells[model, metric.key]
            exact = (
                cell.mean,
                cell.sd,
                *cell.interval,
                cell.difference,
                *cell.difference_interval,
                cell.seed_sd,
                cell.paper,
            )
            cohort = "" if cell.paper is None else table.paper_cohort
            found = table.distances.get(metric.key)
            seen = ("",) * 5
            if found is not None:
                # A count of millions could be mistaken for a participant's id, so it is given per subject.
                counts = number(found.items / max(found.subjects, 1)), str(found.dimensions)
                seen = (number(found.floor), *counts, found.network, found.sha256)
            made_by = (table.provenance["config_hash"], table.provenance["definitions"], versions)
            named = (name, model, metric.key, metric.unit, metric.better, cell.n)
            writer.writerow((*named, *map(number, exact), cohort, *seen, *made_by))
    return out.getvalue()


def _rounded(value: float, decimals: int, sign: bool = False) -> str:
    return DASH if math.isnan(value) else f"{value:{'+' if sign else ''}.{decimals}f}"


def _spread(value: float, interval: tuple[float, float], decimals: int, sign: bool = False) -> str:
    if math.isnan(value) or math.isnan(interval[0]):
        return _rounded(value, decimals, sign)
    low, high = (_rounded(end, decimals, sign) for end in interval)
    return f"{_rounded(value, decimals, sign)} [{low}, {high}]"


def _heading(metric: Metric) -> str:
    return f"{metric.label}{f' ({metric.unit})' if metric.unit else ''} {metric.arrow}"


def _counts(table: Table, metric: Metric) -> int:
    return max(table.cells[model, metric.key].n for model in table.models)


def _with_paper(table: Table, metric: Metric) -> bool:
    return any(table.cells[model, metric.key].paper is not None for model in table.models)


def _grid(table: Table) -> tuple[list[str], list[list[str]]]:
    """Return headings and body of the printed table: name, one column per metric and one for the paper's number."""
    headings = [""]
    for metric in table.metrics:
        headings.append(_heading(metric))
        if _with_paper(table, metric):
            headings.append(f"paper's {metric.label} †")
    body = []
    for model, name in table.models.items():
        line = [name]
        for metric in table.metrics:
            cell = table.cells[model, metric.key]
            text = _spread(cell.mean, cell.interval, metric.decimals)
            if not math.isnan(cell.sd):
                text = text.replace(" [", f" ± {_rounded(cell.sd, metric.decimals)} [")
            if not math.isnan(cell.seed_sd):
                text += f"; seeds ± {_rounded(cell.seed_sd, metric.decimals)}"
            line.append(text)
            if _with_paper(table, metric):
                line.append(DASH if cell.paper is None else f"{cell.paper:.{metric.decimals}f}")
        body.append(line)
    return headings, body


def _differences(table: Table) -> tuple[list[str], list[list[str]]]:
    """Return headings and body of the paired differences from the first row, without metrics that no other row has."""
    first, *others = table.models
    shown = [m for m in table.metrics if any(not math.isnan(table.cells[model, m.key].difference) for model in others)]
    body = []
    for model in others:
        cells = [table.cells[model, metric.key] for metric in shown]
        body.append(
            [f"{table.models[model]} − {table.models[first]}"]
            + [_spread(c.difference, c.difference_interval, m.decimals, sign=True) for c, m in zip(cells, shown)]
        )
    return ["", *map(_heading, shown)], body if shown else []


def _notes(table: Table) -> list[str]:
    """Return the notes below the table."""
    count = len(table.subjects)
    notes = [
        f"{count} subject{'' if count == 1 else 's'}, the same in every row: mean ± SD over subjects "
        f"[95 % bootstrap interval of the mean, {table.bootstrap} resamples of subjects]."
    ]
    if table.empty:
        notes = ["Left out: none of its metrics is defined for these hearts."]
    elif warning := few(count):
        notes.append(warning)
    notes += table.remarks
    if of_anchor := [metric.label for metric in table.metrics if metric.metric.startswith(_OF_ANCHOR)]:
        notes.append(
            f"{', '.join(of_anchor)}: a heart whose anchor shows end diastole, and is warped, has the anchor as its "
            "frame 0. The error is then that of the anchor's labels by construction (0 against those of the same "
            "labeller), and says nothing about the model."
        )
    if any(metric.statistic != "mean" or metric.extractor for metric in table.metrics):
        notes.append(
            "A value without ± is a statistic of all subjects together, such as R² or a correlation. Its interval and "
            "that of its difference come from the same resamples of subjects."
        )
    for metric in table.metrics:
        if (found := table.distances.get(metric.key)) is not None and found.subjects:
            notes.append(
                f"{metric.label}: {found.network} (SHA-256 {found.sha256[:12]}), {found.items:,} "
                f"{'videos' if metric.video else 'images'} per model in {found.dimensions} dimensions; the distance "
                f"between random halves of the real subjects is {found.floor:.{metric.decimals}f}"
                f"{'' if len(next(iter(found.draws.values()))) else '; no interval is computed'}."
            )
    if any(not math.isnan(cell.seed_sd) for cell in table.cells.values()):
        notes.append("seeds ±: SD over trainings that differ only in their seed; the value is that of the first one.")
    fewer = [f"{m.label} {_counts(table, m)}" for m in table.metrics if 0 < _counts(table, m) < count]
    if fewer:
        notes.append(f"Defined for fewer subjects (n): {', '.join(fewer)}.")
    if any(table.cells[model, metric.key].n == 0 for model in table.models for metric in table.metrics):
        notes.append(f"{DASH}: the model has no such quantity.")
    if any(math.isinf(cell.mean) for (_, key), cell in table.cells.items() if "_interval_width_" in key):
        notes.append("inf: there are too few validation subjects to calibrate a bounded interval.")
    if table.left_out:
        notes.append(
            f"Left out, because this cohort has no training subjects and no other run has trained them: "
            f"{', '.join(table.left_out)}."
        )
    if table.paper_cohort:
        notes.append(
            f"† The paper's numbers, measured on another data set ({table.paper_cohort}) with its own, partly "
            "undocumented definitions. They are printed for orientation, not for comparison."
        )
    versions = ", ".join(f"{name} {version}" for name, version in sorted(table.provenance["versions"].items()))
    notes.append(
        f"Configuration {table.provenance['config_hash']}; metric definitions {table.provenance['definitions']}; "
        f"{versions}."
    )
    return notes


def to_markdown(table: Table) -> str:
    """Return the table as Markdown: values, paired differences from the first row, notes and definitions."""
    parts = [f"# {table.title}", ""]
    if not table.empty:
        parts += [*markdown_lines(*_grid(table)), ""]
    headings, body = _differences(table)
    if body:
        first = next(iter(table.models.values()))
        parts += [f"Paired differences from {first}, mean over subjects [95 % interval]:", ""]
        parts += [*markdown_lines(headings, body), ""]
    for note in _notes(table):
        parts += [note, ""]
    parts += [f"- **{metric.label}** ({metric.arrow}): {metric.definition}" for metric in table.metrics]
    return "\n".join(parts) + "\n"


def to_latex(table: Table) -> str:
    """Return the table as LaTeX for a manuscript: values, then paired differences; it needs the package booktabs."""
    headings, body = _grid(table)
    parts = [
        "% " + " ".join(_notes(table)[-1].split()),
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{tex(table.title)}. {tex(' '.join(_notes(table)[:-1]))}}}",
        *([] if table.empty else tabular(headings, body)),
    ]
    headings, body = _differences(table)
    if body:
        parts += [r"\par\medskip", *tabular(headings, body)]
    return "\n".join([*parts, r"\end{table}"]) + "\n"


RENDERINGS: dict[str, Callable[[Table], str]] = {".csv": to_csv, ".md": to_markdown, ".tex": to_latex}
