# The validated configuration, and what every rule needs from it.
import csv
import hashlib
import json
import math
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

import cof.config
from cof.config import dump
from cof.config.base import REAL, TRUTH
from cof.config.borrowed import borrow
from cof.config.data import PHANTOM_VISIT
from cof.config.untrained import without_untrained
from cof.errors import UsageError
from cof import renamed
from cof.config.families import package
from cof.artefacts.origin import BORROWED as BORROWED_NOTE
from cof.artefacts.provenance import digest
from cof.artefacts.sources import source_of


def may_train():
    """Whether the cohort may have training subjects, by the phantom's size or by the sheet's column `split`."""
    if CONFIG.cohort.sheet is None:
        return CONFIG.phantom.train > 0
    sheet = Path(CONFIG.cohort.sheet)
    if not sheet.is_file():  # the step that reads it says so
        return True
    drawn = "train" if CONFIG.cohort.shares.get("train") else "test"
    with sheet.open(newline="", encoding="utf-8-sig", errors="replace") as rows:
        return any(
            (row.get("split") or drawn).strip() == "train"
            for row in csv.DictReader(rows)
        )


try:
    CONFIG, BORROWED, AS_TRAINED = borrow(cof.config.parse(config, "configuration"))
    LEFT_OUT = []
    if not may_train():
        CONFIG, LEFT_OUT = without_untrained(CONFIG, BORROWED)
except UsageError as error:
    raise WorkflowError(str(error)) from None

# Rules `exec` their command, but for trainings, which a launcher may start: a killed job then leaves no process behind
# that still writes.
# `cof` lies beside the Python that runs Snakemake; last, so that a rule's own environment comes first.
shell.prefix(f"export PATH=$PATH:{shlex.quote(str(Path(sys.executable).parent))}; ")

if workflow.is_main_process:
    for remark in renamed.remarks([Path(file) for file in workflow.configfiles]):
        logger.warning(remark)

R = CONFIG.results
SYNTHETIC = CONFIG.cohort.sheet is None
CONFIG_HASH = digest(CONFIG.model_dump(mode="json"))
BATCHES = CONFIG.cohort.batch_names
ONLY = sorted(CONFIG.subjects)
# Chosen subjects form a batch of their own and run through the trained models; nothing else changes.
RUN_BATCHES = (
    ["only-" + hashlib.sha256(" ".join(ONLY).encode()).hexdigest()[:8]]
    if ONLY
    else BATCHES
)
# A rule asks for them once a job.
MODEL_SETTINGS = {name: dump(model) for name, model in CONFIG.models.items()}
# What every generation is told, whatever subjects it is of.
TWINS = dict(
    settings=lambda wildcards: MODEL_SETTINGS[wildcards.model],
    labels_settings=dump(CONFIG.labels),
    labelling=CONFIG.twins.labels,
    seed=CONFIG.seed,
)
SPLITS = ["train", "validation", "test"] if ONLY else ["test"]


wildcard_constraints:
    batch=r"b\d\d\d+|only-[0-9a-f]{8}",
    registration="|".join(CONFIG.registrations),
    model="|".join(CONFIG.models),
    table="|".join(CONFIG.tables) or "none",


def known_subjects():
    """Names that `subjects` may have: those of the sheet or of the synthetic cohort or, where the sheet has gone, of the
    cohort that was made of it."""
    from cof.cohort import known_names, names_of_sheet
    from cof.artefacts.parquet import read_table

    if SYNTHETIC:
        names = CONFIG.phantom.participants
        return known_names(names, [PHANTOM_VISIT] * len(names), CONFIG.cohort)
    if Path(CONFIG.cohort.sheet).is_file():
        return names_of_sheet(Path(CONFIG.cohort.sheet), CONFIG.cohort)
    made = read_table(Path(f"{R}/cohort/subjects.parquet"))
    return {*made["subject"], *made["participant"]}


# A misspelt name is refused before anything runs; a job of the workflow need not ask again.
if ONLY and workflow.is_main_process:
    from cof.cohort import refuse_unknown

    try:
        refuse_unknown(ONLY, known_subjects())
    except FileNotFoundError:
        pass  # no sheet: Snakemake says so
    except UsageError as error:
        raise WorkflowError(f"subjects: {error}") from None


def batches(pattern):
    """The artefact of every batch of the cohort, for steps that learn from all of them.

    Their commands name the stage's folder alone: a shell takes no command of 128 KiB, and so not a thousand batches.
    """
    return expand(pattern, batch=BATCHES, allow_missing=True)


def cof(verb, **given):
    """Params of a step: the `command` of a verb with its files, its `options`, and the hash of its code, `source`.

    A named input is the option of its name; of several files, those of every batch, their folder is. An input without a
    name only has to be there. The first output is `--out`, unless `out` is given; a further one is the option of its name.

    Options are a param of their own, since a job runs again when they change: of a param that is made of inputs and
    outputs Snakemake does not ask.

    Args:
        verb: of `cof`.
        given: further options: a value, a list for one that is repeated (an empty one for none), or a function of the
            wildcards that returns such.
    """

    def command(wildcards, input, output):
        named = {name: value for name, value in input.items() if value}
        files = {
            name: value if isinstance(value, str) else Path(value[0]).parent
            for name, value in named.items()
        }
        if "out" not in given:
            names = {value: name for name, value in output.items()}
            files["out"] = output[0]
            files |= {names[path]: path for path in output[1:]}
        return " ".join(["cof", verb, *_options(files)])

    def options(wildcards):
        told = {
            name: value(wildcards) if callable(value) else value
            for name, value in given.items()
        }
        return " ".join([*_options(told), "--overwrite"])

    source = source_of(verb, remembered=Path(".snakemake/cof-imports.json"))
    return {"command": command, "options": options, "source": source}


def _options(told):
    """`--name value` for each option, quoted for the shell."""
    for name, values in told.items():
        for value in values if isinstance(values, list) else [values]:
            yield f"--{name.replace('_', '-')} {shlex.quote(str(value))}"


def cohort_size():
    """Rows of the subject sheet, which has one for each visit; 0 while there is no sheet."""
    if SYNTHETIC:
        return CONFIG.phantom.train + CONFIG.phantom.validation + CONFIG.phantom.test
    sheet = Path(CONFIG.cohort.sheet)
    return sum(1 for _ in sheet.open("rb")) - 1 if sheet.is_file() else 0


BATCH_SIZE = max(math.ceil(cohort_size() / CONFIG.cohort.batches), len(ONLY))


def limit(fixed, a_subject=0):
    """Minutes or megabytes that a cluster is asked for: more for larger batches, and for every further attempt.

    The numbers suit scans of UK Biobank's size. They are limits, a few times what a step should need.
    """
    return lambda wildcards, attempt: math.ceil(
        (fixed + a_subject * BATCH_SIZE) * attempt
    )


def model_fields(wildcards):
    """The registered motion that a model learns from, where its family learns from any."""
    registration = CONFIG.models[wildcards.model].motion
    return batches(f"{R}/fields/{registration}/{{batch}}") if registration else []


def base_model(wildcards):
    """The trained model that a model applies, where its family has one."""
    base = CONFIG.models[wildcards.model].applied_model
    return f"{R}/models/{base}" if base else []


def members(wildcards):
    """The trained models that a model is made of, where its family has some."""
    names = CONFIG.models[wildcards.model].applied_members
    return [f"{R}/models/{name}" for name in names]


def calibration(wildcards):
    """The calibrated intervals of a model that has some."""
    calibrated = wildcards.model in CONFIG.intervals.models
    return f"{R}/intervals/{wildcards.model}.json" if calibrated else []


def own_fields(wildcards):
    """The subjects' own registered motion, for a family that is openly allowed to see it."""
    model = CONFIG.models[wildcards.model]
    return (
        f"{R}/fields/{model.motion}/{wildcards.batch}"
        if "displacement" in model.sees
        else []
    )


def model_metrics(model):
    """The metrics of one model over the whole cohort."""
    return expand(f"{R}/metrics/{model}/{{batch}}.parquet", batch=BATCHES)


def table_metrics(wildcards):
    """The metrics of every model of a table, and of its trainings with other seeds."""
    trainings = CONFIG.tables[wildcards.table].trainings
    return [path for model in trainings for path in model_metrics(model)]


def extractor_weights():
    """The user's weights for FID and FVD, so that other ones are noticed."""
    found = CONFIG.evaluation.extractors
    return [weights.path for weights in (found.inception, found.i3d) if weights]


def table_features(wildcards):
    """The features of every model of a table and of the real hearts, where a column compares them."""
    table = CONFIG.tables[wildcards.table]
    hearts = [REAL, *table.trainings] if table.with_features else []
    return expand(
        f"{R}/features/{{hearts}}/{{batch}}.safetensors", hearts=hearts, batch=BATCHES
    )


def table_models(wildcards):
    """The trained models of a table."""
    return expand(f"{R}/models/{{model}}", model=CONFIG.tables[wildcards.table].models)


def table_twins(wildcards):
    """The generated hearts of a table."""
    models = CONFIG.tables[wildcards.table].models
    return expand(f"{R}/twins/{{model}}/{{batch}}", model=models, batch=BATCHES)
