"""A run with constructed metrics, as the stages write them: the truth of every figure is known."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from cof.artefacts.parquet import write_table
from cof.config.evaluation import EvaluationSettings
from cof.config.figures import FigureSettings
from cof.config.metrics import DEFINITIONS_VERSION, LONG_FORM
from cof.figures.sources import Sources

# subject, structure, slice or None, metric, value
Row = tuple[str, str, int | None, str, float]
SETTINGS = FigureSettings(model="cof", population_mean="mean_motion")


def name(number: int) -> str:
    return f"sub-{number:04d}-v2"


def batch(subject: str) -> str:
    return f"b00{int(subject[4:8]) % 2}"


def make_run(
    root: Path, rows: Mapping[str, Iterable[Row]], categories: Mapping[str, list[str]] | None = None
) -> Sources:
    """Write cohort, metrics of every model and ECG categories; return them as the figures read them."""
    listed = {model: list(of) for model, of in rows.items()}
    subjects = sorted({row[0] for of in listed.values() for row in of} | set(categories or ()))
    cohort = pd.DataFrame({"subject": subjects, "split": "test", "batch": [batch(one) for one in subjects]})
    write_table(root / "cohort/subjects.parquet", cohort, {})
    types = {"subject": "string", "structure": "string", "frame": "Int32", "slice": "Int32", "metric": "string"}
    for place in ("b000", "b001"):
        for model, of in listed.items():
            long = [
                (subject, structure, None, rank, metric, value, DEFINITIONS_VERSION)
                for subject, structure, rank, metric, value in of
                if batch(subject) == place
            ]
            table = pd.DataFrame(long, columns=list(LONG_FORM)).astype(types | {"value": "float64"})
            write_table(root / f"metrics/{model}/{place}.parquet", table, {})
        ecgs = [
            {"subject": subject, "categories": (categories or {}).get(subject, ["normal"])}
            for subject in subjects
            if batch(subject) == place
        ]
        write_table(root / f"ecg/{place}.parquet", pd.DataFrame(ecgs, columns=["subject", "categories"]), {})
    return Sources(root, SETTINGS, EvaluationSettings(bootstrap=200))
