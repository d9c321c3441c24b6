"""One table as CSV (long form, unrounded), Markdown and LaTeX (booktabs)."""

import csv
import io
import math
from collections.abc import Callable

from cof.artefacts.markup import DASH, markdown_lines, tabular, tex
from cof.config.metrics import Metric
from cof.tables.few import few
from cof.tables.table import Cell, Table

CSV_COLUMNS = (
    *("row", "model", "metric", "unit", "better", "n", "mean", "sd", "ci_low", "ci_high"),
    *("difference", "difference_ci_low", "difference_ci_high", "p", "p_holm", "seed_sd", "paper", "paper_cohort"),
    *("floor", "items_a_subject", "dimensions", "network", "sha256"),
    *("config_hash", "definitions", "versions"),
)

UNLIKELY = "*"  # beside a difference that chance does not explain
LEVEL_OF_TEST = 0.05
AT_FLOOR = "‡"  # beside a distance that does not tell generated hearts from real ones

# Metrics of frame 0, which most families copy from the anchor.
_OF_ANCHOR = ("edv_", "lvm_")


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
                cell.p,
                cell.p_holm,
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
            if cell.at_floor:
                text += f" {AT_FLOOR}"
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
            + [_difference(cell, metric) for cell, metric in zip(cells, shown)]
        )
    return ["", *map(_heading, shown)], body if shown else []


def _difference(cell: Cell, metric: Metric) -> str:
    text = _spread(cell.difference, cell.difference_interval, metric.decimals, sign=True)
    return f"{text} {UNLIKELY}" if cell.p_holm < LEVEL_OF_TEST else text


def _notes(table: Table) -> list[str]:
    """Return the notes below the table."""
    count = len(table.subjects)
    notes = [
        f"{count} subject{'' if count == 1 else 's'}, the same in every row: mean ± SD over subjects "
        f"[95 % bootstrap interval of the mean: BCa, widened for few subjects, {table.bootstrap} resamples]."
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
    if any(_of_one_value(table.cells[model, m.key], m) for model in table.models for m in table.metrics):
        notes.append(
            "An interval of no width: all subjects here have the same value, which does not show that others have it."
        )
    if any(not math.isnan(cell.p) for cell in table.cells.values()):
        notes.append(
            f"{UNLIKELY}: p < .05 that exchanging both rows within subjects makes so large a difference (two-sided "
            f"paired permutation test, at most {table.bootstrap} exchanges), corrected by Holm for all rows of the "
            "column, but not for the number of columns."
        )
    for metric in table.metrics:
        if (found := table.distances.get(metric.key)) is not None and found.subjects:
            notes.append(
                f"{metric.label}: {found.network} (SHA-256 {found.sha256[:12]}), {found.items:,} "
                f"{'videos' if metric.video else 'images'} per model in {found.dimensions} dimensions; the distance "
                f"between random halves of the real subjects is {found.floor:.{metric.decimals}f}; "
                + (
                    "the interval is that of a jackknife over subjects, and the difference has no test."
                    if any(len(of.left_out) for of in found.estimates.values())
                    else "no interval is computed."
                )
            )
    notes += _attainable(table)
    if any(cell.at_floor for cell in table.cells.values()):
        notes.append(
            f"{AT_FLOOR}: not distinguishable from real: at or below the distance between halves of the real subjects. "
            "Such values have no order, and no difference between them is printed."
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


def _of_one_value(cell: Cell, metric: Metric) -> bool:
    """Tell whether the interval has no width, and not because the metric is of the anchor alone."""
    return cell.interval[0] == cell.interval[1] and not metric.metric.startswith(_OF_ANCHOR)


def _attainable(table: Table) -> list[str]:
    """Return what a regression reaches, for the metrics that are compared with it."""
    if table.attainable is None:
        return []
    answers = table.attainable["answers"]
    learnt = f"a ridge regression, learnt from {table.attainable['train']} training subjects,"
    tested = table.attainable["test"]

    def told(name: str, decimals: int) -> str:
        found = answers.get(name)
        return DASH if found is None else _spread(found["value"], (found["low"], found["high"]), decimals)

    notes = []
    for metric in table.metrics:
        if metric.attainable:
            reached = answers.get(metric.attainable)
            without = reached is not None and not reached["value"] > 0
            notes.append(
                f"{metric.label}: from the measured features of ECG and anchor, {learnt} attains an R² of "
                f"{told(metric.attainable, 3)} on {tested} held-out subjects. "
                + ("A share of it is not defined." if without else "The interval of the share takes it for exact.")
            )
        elif metric.regression:
            of_rate = metric.regression.replace("_error_ms", "_error_of_rate_ms")
            notes.append(
                f"{metric.label}: from the features of the ECG alone, {learnt} has an error of "
                f"{told(metric.regression, metric.decimals)} {metric.unit}; from RR interval and sex, "
                f"{told(of_rate, metric.decimals)} {metric.unit}; on {tested} held-out subjects."
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
