# The validated configuration, and the values and functions that the rules share.
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
from cof.config.figures import FIGURES
from cof.artefacts.origin import BORROWED as BORROWED_NOTE
from cof.artefacts.provenance import digest
from cof.artefacts.sources import source_of


def may_train():
    """Tell whether the cohort may have training subjects, from the phantom's size or the sheet's column `split`."""
    if CONFIG.cohort.sheet is None:
        return CONFIG.phantom.train > 0
    drawn = "train" if CONFIG.cohort.shares.get("train") else "test"
    for sheet in map(Path, CONFIG.cohort.sheets):
        if not sheet.is_file():  # the rule that reads it reports the error
            return True
        with sheet.open(newline="", encoding="utf-8-sig", errors="replace") as rows:
            if any(
                (row.get("split") or drawn).strip() == "train"
                for row in csv.DictReader(rows)
            ):
                return True
    return False


try:
    CONFIG, BORROWED, AS_TRAINED = borrow(cof.config.parse(config, "configuration"))
    LEFT_OUT = []
    if not may_train():
        CONFIG, LEFT_OUT = without_untrained(CONFIG, BORROWED)
except UsageError as error:
    raise WorkflowError(str(error)) from None

# Rules `exec` their command, so that a killed job leaves no process that still writes. Trainings do not, because a
# launcher may start them.
# `cof` is in the folder of the Python that runs Snakemake. It is last in PATH, so that a rule's environment comes first.
shell.prefix(f"export PATH=$PATH:{shlex.quote(str(Path(sys.executable).parent))}; ")

if workflow.is_main_process:
    for remark in renamed.remarks([Path(file) for file in workflow.configfiles]):
        logger.warning(remark)

R = CONFIG.results
SYNTHETIC = CONFIG.cohort.sheet is None
CONFIG_HASH = digest(CONFIG.model_dump(mode="json"))
BATCHES = CONFIG.cohort.batch_names
ONLY = sorted(CONFIG.subjects)
# Chosen subjects (`subjects`) form a batch of their own and use the trained models; all other results stay as they are.
RUN_BATCHES = (
    ["only-" + hashlib.sha256(" ".join(ONLY).encode()).hexdigest()[:8]]
    if ONLY
    else BATCHES
)
# Rules need them once per job, so they are computed once.
DRAWN = CONFIG.drawn
MODEL_SETTINGS = {name: dump(model) for name, model in CONFIG.models.items()}
# Options of every generation, for held-out and for validation subjects.
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
    figure="|".join(FIGURES),


def known_subjects():
    """Return the names that `subjects` may list.

    They come from the sheet or the synthetic cohort; if the sheet is gone, from the cohort that was made from it.
    """
    from cof.cohort import known_names, names_of_sheets
    from cof.artefacts.parquet import read_table

    if SYNTHETIC:
        names = CONFIG.phantom.participants
        return known_names(names, [PHANTOM_VISIT] * len(names), CONFIG.cohort)
    sheets = [Path(sheet) for sheet in CONFIG.cohort.sheets]
    if all(sheet.is_file() for sheet in sheets):
        return names_of_sheets(sheets, CONFIG.cohort)
    made = read_table(Path(f"{R}/cohort/subjects.parquet"))
    return {*made["subject"], *made["participant"]}


# Refuse a misspelt name before anything runs; the jobs of the workflow need not check it again.
if ONLY and workflow.is_main_process:
    from cof.cohort import refuse_unknown

    try:
        refuse_unknown(ONLY, known_subjects())
    except FileNotFoundError:
        pass  # Snakemake reports the missing sheet
    except UsageError as error:
        raise WorkflowError(f"subjects: {error}") from None


def batches(pattern):
    """Return the artefacts of all batches of the cohort, for rules that use all of them.

    The commands of these rules name only the folder of the stage, because a shell argument is limited to 128 KiB, too
    little for a thousand batches.
    """
    return expand(pattern, batch=BATCHES, allow_missing=True)


def cof(verb, **given):
    """Return the params of a rule: `command` (the verb with its files), `options`, and `source`, the hash of its code.

    A named input becomes the option of its name; several files (one per batch) become the option with their folder. An
    input without a name only has to exist. The first output is `--out`, unless `out` is given; every further output is
    the option of its name.

    Options are a separate param, so that a job runs again when they change. Snakemake does not compare params that are
    made from inputs and outputs.

    Args:
        verb: verb of `cof`.
        given: further options: a value, a list for a repeated option (an empty list for none), or a function of the
            wildcards that returns one of these.
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
    """Yield `--name value` for each option, quoted for the shell."""
    for name, values in told.items():
        for value in values if isinstance(values, list) else [values]:
            yield f"--{name.replace('_', '-')} {shlex.quote(str(value))}"


def cohort_size():
    """Return the number of rows in the subject sheets, one per visit; a sheet that does not exist counts as 0."""
    if SYNTHETIC:
        return CONFIG.phantom.train + CONFIG.phantom.validation + CONFIG.phantom.test
    sheets = [sheet for sheet in map(Path, CONFIG.cohort.sheets) if sheet.is_file()]
    return sum(sum(1 for _ in sheet.open("rb")) - 1 for sheet in sheets)


BATCH_SIZE = max(math.ceil(cohort_size() / CONFIG.cohort.batches), len(ONLY))


def limit(fixed, a_subject=0):
    """Return a function for the minutes or megabytes to request from a cluster; they grow with batch size and attempt.

    The numbers fit scans of UK Biobank's size. They are limits, a few times what a job should need.
    """
    return lambda wildcards, attempt: math.ceil(
        (fixed + a_subject * BATCH_SIZE) * attempt
    )


def model_fields(wildcards):
    """Return the registered motion that a model learns from; empty if its family uses none."""
    registration = CONFIG.models[wildcards.model].motion
    return batches(f"{R}/fields/{registration}/{{batch}}") if registration else []


def base_model(wildcards):
    """Return the trained model that a model applies; empty if its family applies none."""
    base = CONFIG.models[wildcards.model].applied_model
    return f"{R}/models/{base}" if base else []


def members(wildcards):
    """Return the trained models that a model combines; empty if its family combines none."""
    names = CONFIG.models[wildcards.model].applied_members
    return [f"{R}/models/{name}" for name in names]


def calibration(wildcards):
    """Return the calibrated intervals of a model; empty if it has none."""
    calibrated = wildcards.model in CONFIG.intervals.models
    return f"{R}/intervals/{wildcards.model}.json" if calibrated else []


def overlap_check(wildcards):
    """Return the check that no borrowed network has learnt from a batch's held-out subjects; empty if none is borrowed.

    Labelling waits for it, and so everything that takes long.
    """
    return f"{R}/overlap/{wildcards.batch}.json" if CONFIG.trained else []


def own_fields(wildcards):
    """Return the subjects' own registered motion, for a family (an oracle) that may use it; else empty."""
    model = CONFIG.models[wildcards.model]
    return (
        f"{R}/fields/{model.motion}/{wildcards.batch}"
        if "displacement" in model.sees
        else []
    )


def model_metrics(model):
    """Return the metrics of one model for all batches."""
    return expand(f"{R}/metrics/{model}/{{batch}}.parquet", batch=BATCHES)


def table_metrics(wildcards):
    """Return the metrics of every model of a table, and of its further trainings with other seeds."""
    trainings = CONFIG.tables[wildcards.table].trainings
    return [path for model in trainings for path in model_metrics(model)]


def extractor_weights():
    """Return the user's weights for FID and FVD as inputs, so that changed weights make the features again."""
    found = CONFIG.evaluation.extractors
    return [weights.path for weights in (found.inception, found.i3d) if weights]


def table_features(wildcards):
    """Return the features of every model of a table and of the real hearts; empty if no column compares features."""
    table = CONFIG.tables[wildcards.table]
    hearts = [REAL, *table.trainings] if table.with_features else []
    return expand(
        f"{R}/features/{{hearts}}/{{batch}}.safetensors", hearts=hearts, batch=BATCHES
    )


def trained_regressions():
    """Return the regressions of the run whose models this run borrows; empty if there are none."""
    path = Path(f"{CONFIG.trained}/attainable.json")
    return str(path) if CONFIG.trained and path.is_file() else []


def table_attainable(wildcards):
    """Return what a regression reaches; empty if no column of the table is compared with it."""
    return (
        f"{R}/attainable.json" if CONFIG.tables[wildcards.table].with_attainable else []
    )


def table_models(wildcards):
    """Return the trained models of a table."""
    return expand(f"{R}/models/{{model}}", model=CONFIG.tables[wildcards.table].models)


def table_twins(wildcards):
    """Return the generated hearts of a table."""
    models = CONFIG.tables[wildcards.table].models
    return expand(f"{R}/twins/{{model}}/{{batch}}", model=models, batch=BATCHES)


def figure_inputs(wildcards):
    """Return what a figure reads, for all batches."""
    return [
        path
        for pattern in FIGURES[wildcards.figure].inputs(DRAWN)
        for path in batches(f"{R}/{pattern}")
    ]
