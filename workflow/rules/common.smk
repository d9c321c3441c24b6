# The validated configuration, and what every rule needs from it.
import hashlib
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

import cof.config
from cof.config import dump
from cof.errors import UsageError
from cof.provenance import digest, source

try:
    CONFIG = cof.config.parse(config, "configuration")
except UsageError as error:
    raise WorkflowError(str(error)) from None

# `cof` lies beside the Python that runs Snakemake; last, so that a rule's own environment comes first.
shell.prefix(f"export PATH=$PATH:{shlex.quote(str(Path(sys.executable).parent))}; ")

R = CONFIG.results
SYNTHETIC = CONFIG.cohort.sheet is None
CONFIG_HASH = digest(CONFIG.model_dump(mode="json"))
BATCHES = [f"b{index:03d}" for index in range(CONFIG.cohort.batches)]
ONLY = sorted(CONFIG.subjects)
# Chosen subjects form a batch of their own and run through the trained models; nothing else changes.
RUN_BATCHES = (
    ["only-" + hashlib.sha256(" ".join(ONLY).encode()).hexdigest()[:8]]
    if ONLY
    else BATCHES
)
SPLITS = ["train", "validation", "test"] if ONLY else ["test"]


wildcard_constraints:
    batch=r"b\d{3}|only-[0-9a-f]{8}",
    registration="|".join(CONFIG.registrations),
    model="|".join(CONFIG.models),
    table="|".join(CONFIG.tables) or "none",


def batches(pattern):
    """The artefact of every batch of the cohort, for steps that learn from all of them."""
    return expand(pattern, batch=BATCHES, allow_missing=True)


def options(name, values):
    """`--name value` for each value, quoted for the shell."""
    return " ".join(f"--{name} {shlex.quote(str(value))}" for value in values)


def model_fields(wildcards):
    """The registered motion that a model learns from, where its family learns from any."""
    registration = getattr(CONFIG.models[wildcards.model], "registration", None)
    if registration is None:
        return []
    return expand(f"{R}/fields/{registration}/{{batch}}", batch=BATCHES)


def base_model(wildcards):
    """The trained model that a model applies, where its family has one."""
    base = getattr(CONFIG.models[wildcards.model], "model", None)
    return [] if base is None else f"{R}/models/{base}"


def own_fields(wildcards):
    """The subjects' own registered motion, which only the oracle may see."""
    model = CONFIG.models[wildcards.model]
    return (
        [f"{R}/fields/{model.registration}/{wildcards.batch}"]
        if model.family == "oracle"
        else []
    )


def model_metrics(model):
    """The metrics of one model over the whole cohort."""
    return expand(f"{R}/metrics/{model}/{{batch}}.parquet", batch=BATCHES)


def table_models(wildcards):
    """The models of a table, and their trainings with other seeds."""
    table = CONFIG.tables[wildcards.table]
    repeats = [name for names in table.repeats.values() for name in names]
    return [*table.models, *repeats]


def table_metrics(wildcards):
    """The metrics of every model of a table."""
    return [path for model in table_models(wildcards) for path in model_metrics(model)]


def table_options(wildcards):
    """`--metrics MODEL=FILE` for every model and batch of a table."""
    return options(
        "metrics",
        [
            f"{model}={path}"
            for model in table_models(wildcards)
            for path in model_metrics(model)
        ],
    )
