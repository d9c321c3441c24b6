"""The stage that calibrates the conformal intervals of a model on the validation subjects."""

import json
import logging
import math
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from cof.artefacts.folders import whole_file
from cof.artefacts.parquet import read_tables
from cof.artefacts.provenance import stamp
from cof.cohort import batches_of
from cof.config.evaluation import IntervalSettings
from cof.config.metrics import DEFINITIONS_VERSION
from cof.errors import UsageError
from cof.inputs import Folder
from cof.metrics.conformal import QUANTITIES, conformal_quantile, least_subjects
from cof.options import OutFile, SettingsOf, Subjects

log = logging.getLogger(__name__)


def calibrate(
    *,
    subjects: Subjects,
    metrics: Annotated[Path, typer.Option(help="Folder of the validation subjects' metrics, by batch."), Folder()],
    out: OutFile,
    settings: SettingsOf[IntervalSettings],
) -> None:
    """Calibrate the conformal intervals of one model on the validation subjects.

    Args:
        subjects: table of the cohort; `metrics` holds one table per batch.
        metrics: folder of the long-form rows of the validation subjects.
        out: JSON file with the quantiles; null stands for infinity, if there are too few subjects.
        settings: the miscoverage.

    Raises:
        UsageError: the metrics follow another version of the definitions.
    """
    tables = [metrics / f"{batch}.parquet" for batch in batches_of(subjects)]
    rows = read_tables(tables, ["subject", "metric", "value", "version"])
    if set(rows["version"]) - {DEFINITIONS_VERSION}:
        raise UsageError(
            f"{metrics}: the metrics of the validation subjects follow outdated definitions (now "
            f"{DEFINITIONS_VERSION}); evaluate them again"
        )
    alpha = settings.miscoverage
    found = {name: rows.loc[rows["metric"] == f"{name}_score", "value"].to_numpy(float) for name in QUANTITIES}
    quantiles = {name: conformal_quantile(scores, alpha) for name, scores in found.items()}
    count = rows["subject"].nunique()
    if any(map(math.isinf, quantiles.values())):
        log.warning(
            "%d validation subjects are too few for a finite interval; at least %d are needed",
            count,
            least_subjects(alpha),
        )
    record = {
        "miscoverage": alpha,
        "subjects": count,
        "least_subjects": least_subjects(alpha),
        "quantiles": {name: value if np.isfinite(value) else None for name, value in quantiles.items()},
        "provenance": stamp(settings.model_dump(mode="json")),
    }
    with whole_file(out) as aside:
        aside.write_text(json.dumps(record, indent=1, sort_keys=True, allow_nan=False))
