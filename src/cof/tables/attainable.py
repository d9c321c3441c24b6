"""The stage that measures what a regression of plain measurements reaches with as many training subjects as the models.

It predicts EF and the time to ES of held-out subjects from the twelve features of the ECG, RR interval and sex, and for
the EF also from the sizes of the anchor. No network sees more subjects; a network that sees more than these numbers may
do better.
"""

import json
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from cof.artefacts.folders import whole_file
from cof.artefacts.parquet import read_table, read_tables
from cof.artefacts.provenance import stamp
from cof.cine.volume import sidecar
from cof.cohort import batches_of
from cof.config.evaluation import EvaluationSettings
from cof.heart.function import time_to_end_systole, ventricular_function
from cof.inputs import File, Folder
from cof.models.controls.scaled import EfRegression
from cof.models.controls.standard import Standard
from cof.options import Key, OutFile, SettingsText, Subjects
from cof.tables.bootstrap import Estimate
from cof.tables.statistics import mean, r2

log = logging.getLogger(__name__)

ANCHOR = ("lv_edv_ml", "lv_mass_g", "rv_edv_ml")
_RATE = ("rr_ms", "male")


@dataclass(frozen=True)
class Question:
    """One regression.

    Attributes:
        key: name of its result.
        target: predicted column of `measured`.
        with_features: whether it gets the twelve features of the ECG, besides RR interval and sex.
        with_anchor: whether it gets the sizes of the anchor.
        statistic: statistic over columns prediction, truth.
    """

    key: str
    target: str
    with_features: bool
    with_anchor: bool
    statistic: Callable[[np.ndarray], np.ndarray]


def absolute_error(values: np.ndarray) -> np.ndarray:
    """Return the mean absolute difference of the columns prediction, truth."""
    return mean(np.abs(values[..., :1] - values[..., 1:]))


QUESTIONS = tuple(
    question
    for suffix in ("", "_exact")
    for question in (
        Question(f"ef{suffix}_r2", f"ef{suffix}_pct", True, True, r2),
        Question(f"t_es{suffix}_error_ms", f"t_es{suffix}_ms", True, False, absolute_error),
        Question(f"t_es{suffix}_error_of_rate_ms", f"t_es{suffix}_ms", False, False, absolute_error),
    )
)


def measure_attainable(
    *,
    subjects: Subjects,
    key: Key,
    beats: Annotated[Path, typer.Option(help="Folder of the beats' tables."), Folder()],
    plausibility: Annotated[Path, typer.Option(help="Folder of the tables of plausibility."), Folder()],
    cine: Annotated[Path, typer.Option(help="Folder of the cines, for their rates and frame orders."), Folder()],
    out: OutFile,
    evaluation: Annotated[EvaluationSettings, typer.Option(help="Settings of the evaluation."), SettingsText()],
    truth: Annotated[Path | None, typer.Option(help="Exact truth of a synthetic cohort."), Folder()] = None,
    trained: Annotated[
        Path | None, typer.Option(help="attainable.json of the run whose training subjects are used."), File()
    ] = None,
) -> None:
    """Measure what a ridge regression predicts of the held-out subjects' EF and time to ES, and write it as JSON.

    Args:
        subjects, key, beats, cine: as annotated.
        plausibility: volumes of the real hearts' labels: sizes of the anchor, EF and time to ES.
        out: JSON file: numbers of subjects; for every question value and 95 % interval over the held-out subjects, null
            if there are too few subjects; and the regressions.
        evaluation: settings of the bootstrap.
        truth: `phantom/truth`; without it, the questions about the exact truth have no answer.
        trained: result of another run. Its regressions are applied, and nothing is learnt from this cohort.
    """
    cohort = read_table(subjects)
    table = measured(cohort, read_table(key), beats, plausibility, cine, truth, batches_of(subjects))
    known = json.loads(trained.read_text()) if trained is not None else None
    train, test = (table[table["split"] == split] for split in ("train", "test"))
    answers: dict[str, Any] = {}
    regressions: dict[str, Any] = {} if known is None else known["regressions"]
    for question in QUESTIONS:
        if known is None and (fitted := fit(question, train)) is not None:
            regressions[question.key] = fitted
        answers[question.key] = answer(question, regressions.get(question.key), test, evaluation)
    record = {
        "train": int(train["rr_ms"].notna().sum()) if known is None else known["train"],
        "test": len(test),
        "answers": answers,
        "regressions": regressions,
        "provenance": stamp({"features": list(_columns(QUESTIONS[0], table))}),
    }
    with whole_file(out) as aside:
        aside.write_text(json.dumps(record, indent=1, sort_keys=True, allow_nan=False))


def measured(
    cohort: pd.DataFrame,
    key: pd.DataFrame,
    beats: Path,
    plausibility: Path,
    cine: Path,
    truth: Path | None,
    batches: list[str],
) -> pd.DataFrame:
    """Return one row per subject with an ECG and a labelled cycle: split, predictors and targets.

    Columns: split, rr_ms, male (.5 if unknown), feature_0 to feature_11, `ANCHOR`, ef_pct and t_es_ms from the labels,
    ef_exact_pct and t_es_exact_ms (NaN without `truth`).
    """
    heard = read_tables([beats / f"{batch}.parquet" for batch in batches]).set_index("subject")
    seen = read_tables([plausibility / f"{batch}.parquet" for batch in batches]).set_index("subject")
    features = np.stack(list(heard["features"])) if len(heard) else np.empty((0, 12))
    table = pd.DataFrame(features.astype(float), heard.index).add_prefix("feature_")
    table["rr_ms"] = heard["rr_ms"]
    table["male"] = heard["sex"].map({"M": 1.0, "F": 0.0}).fillna(0.5)
    table = table.join(seen[[*ANCHOR, "lv_ef_pct", "lv_t_es_ms"]], how="inner")
    table = table.rename(columns={"lv_ef_pct": "ef_pct", "lv_t_es_ms": "t_es_ms"})
    table = table.join(cohort.set_index("subject")[["split", "batch"]], how="inner").dropna(
        subset=["ef_pct", "t_es_ms"]
    )
    scans = key.set_index("subject")
    raw = dict(zip(scans.index, scans["participant"].astype(str) + "_" + scans["visit"].astype(str)))
    exact = [
        _exact(truth / f"{raw[str(name)]}.json", cine / batch / f"{name}.nii")
        if truth is not None
        else (math.nan, math.nan)
        for name, batch in table["batch"].items()
    ]
    table[["ef_exact_pct", "t_es_exact_ms"]] = np.array(exact, float).reshape(-1, 2)
    return table.drop(columns="batch").sort_index()


def _exact(truth: Path, cine: Path) -> tuple[float, float]:
    """Return EF (%) and time to ES (ms) from the exact labels' volumes, in the frame order and rate of the cine."""
    of_cine = json.loads(sidecar(cine).read_text())
    volumes = np.roll(json.loads(truth.read_text())["label_lv_ml"], -int(of_cine["rolled_by"]))
    rr_ms = float(of_cine["rr_ms"])
    return ventricular_function(volumes, rr_ms).ef_pct, time_to_end_systole(volumes, rr_ms)


def _columns(question: Question, table: pd.DataFrame) -> list[str]:
    features = [name for name in table.columns if str(name).startswith("feature_")] if question.with_features else []
    return [*_RATE, *features, *(ANCHOR if question.with_anchor else ())]


def fit(question: Question, train: pd.DataFrame) -> dict[str, Any] | None:
    """Fit the regression of one question; None with fewer than three subjects."""
    known = train.dropna(subset=[question.target])
    if len(known) < 3:
        return None
    fitted = EfRegression.of(known[_columns(question, train)].to_numpy(float), known[question.target].to_numpy(float))
    return {
        "centre": fitted.standard.centre.tolist(),
        "scale": [value if math.isfinite(value) else None for value in fitted.standard.scale],
        "coefficients": fitted.coefficients.tolist(),
        "intercept": fitted.intercept,
    }


def answer(
    question: Question, regression: Mapping[str, Any] | None, test: pd.DataFrame, evaluation: EvaluationSettings
) -> dict[str, float] | None:
    """Return value and 95 % interval of one question over the held-out subjects; None if it is not defined."""
    known = test.dropna(subset=[question.target])
    if regression is None or len(known) < 3:
        return None
    scale = np.array([math.inf if value is None else value for value in regression["scale"]])
    centre, coefficients = (np.array(regression[name]) for name in ("centre", "coefficients"))
    ridge = EfRegression(Standard(centre, scale), coefficients, regression["intercept"])
    predicted = [ridge.predict(row) for row in known[_columns(question, test)].to_numpy(float)]
    pairs = np.column_stack([predicted, known[question.target]])
    estimate = Estimate.of(pairs, evaluation.bootstrap, evaluation.seed, question.statistic)
    low, high = estimate.interval()
    found = {"value": estimate.value, "low": low, "high": high}
    return found if all(map(math.isfinite, found.values())) else None
