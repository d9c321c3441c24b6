"""The command line: one verb a stage, each a thin call of that stage's function.

Heavy packages are imported inside the verbs, so that light stages start fast.
"""

import errno
import functools
import inspect
import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer
from typer.core import TyperGroup
from typer.models import ArgumentInfo, OptionInfo

from cof import __version__, config
from cof.config.base import REAL, Labelling
from cof.config.data import (
    BeatSettings,
    CineSettings,
    CohortSettings,
    EcgSettings,
    GridSettings,
    LabelSettings,
    PhantomSettings,
    QualityLimits,
)
from cof.config.evaluation import EvaluationSettings, ExtractorSettings, IntervalSettings, TableSettings
from cof.config.models import ModelSettings
from cof.config.motion import PathSettings, RefinementSettings, RegistrationSettings
from cof.errors import CofError, UsageError, redact
from cof.inputs import AnyPath, Batch, File, Folder, Table, check
from cof.outputs import Form, Output, claim

# Waiting threads must not spin: side by side, two torch processes on two cores slow each other many times over.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

app = typer.Typer(
    help="Chain of Flow: a beating, patient-specific 4D heart from a 12-lead ECG and one anatomical anchor volume.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# Paths, with the form of what is written there, or the kind of what is read: `verb` makes sure of both.
Out = Annotated[Path, typer.Option(help="Folder of the result."), Form.FOLDER]
OutFile = Annotated[Path, typer.Option(help="File of the result."), Form.FILE]
OutTable = Annotated[Path, typer.Option(help="The result, without the suffixes .csv, .md and .tex."), Form.TABLE]
ExclusionsOut = Annotated[Path, typer.Option(help="Table of the subjects left out, always written."), Form.FILE]
_COHORT = Table(("subject", "split", "batch"))
Sheet = Annotated[Path, typer.Option(help="cohort/batches/{batch}.parquet"), _COHORT]
Subjects = Annotated[Path, typer.Option(help="cohort/subjects.parquet"), _COHORT]
KEY_TABLE = Table(("subject", "ecg", "cine"))
Key = Annotated[Path, typer.Option(help="cohort/key.parquet"), KEY_TABLE]
EcgTable = Annotated[Path, typer.Option(help="ecg/{batch}.parquet"), Table(("subject", "signal"))]
BeatTable = Annotated[Path, typer.Option(help="beats/{batch}.parquet"), Table(("subject", "beat"))]
CineBatch = Annotated[Path, typer.Option(help="cine/{batch}"), Batch(".nii", placed=False)]
LabelBatch = Annotated[Path, typer.Option(help="labels/{batch}"), Batch(".nii.gz")]
GridBatch = Annotated[Path, typer.Option(help="grid/{batch}"), Batch(".nii", placed=True)]
Stage = Annotated[
    Path, typer.Option(help="Folder of the stage, in which every batch of the cohort has its own."), Folder()
]
Results = Annotated[Path, typer.Option(help="The results folder."), Folder()]
LabellerFolder = Annotated[Path, typer.Option(help="Folder of the trained nnU-Net.")]
SettingsText = Annotated[str, typer.Option("--settings", help="Settings: inline JSON, or a YAML or JSON file.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random in this step.")]
Work = Annotated[Path, typer.Option(help="Folder of checkpoints; a killed training resumes from it.")]
Curves = Annotated[Path | None, typer.Option(help="Folder for the training curves, read by TensorBoard.")]
Devices = Annotated[
    str, typer.Option(help="Processes of this node: a number, or auto for one a GPU. torchrun and srun decide instead.")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace what exists, if cof made it; anything else is refused.")
]
_LV_INDICES = (("EDV", "edv_ml", "mL"), ("ESV", "esv_ml", "mL"), ("EF", "ef_pct", "%"))
_Verb = TypeVar("_Verb", bound=Callable[..., str | None])
_KINDS = (AnyPath, Batch, File, Folder, Table)


def verb(name: str | None = None) -> Callable[[_Verb], _Verb]:
    """Make a command of a function, whose paths are made sure of before it is called.

    Every path whose annotation has a `Form` is an output, and the command has `--overwrite`; every one with a kind of
    `cof.inputs` has to be of it. What the function returns is said last: what was made, where it lies, what to open.
    """

    def register(function: _Verb) -> _Verb:
        signature = inspect.signature(function)
        marks = {key: getattr(one.annotation, "__metadata__", ()) for key, one in signature.parameters.items()}
        forms = {key: mark for key, found in marks.items() for mark in found if isinstance(mark, Form)}
        kinds = {key: mark for key, found in marks.items() for mark in found if isinstance(mark, _KINDS)}

        told_by: dict[str, Any] = {
            key: next(mark for mark in marks[key] if isinstance(mark, OptionInfo | ArgumentInfo))
            for key in (*forms, *kinds)
        }
        for told in told_by.values():
            told.readable = False  # `check` and the stages say it in one line, without what may name a participant

        def option(key: str) -> str:
            told = told_by[key]
            if isinstance(told, ArgumentInfo):
                return key.upper()
            declared = (told.default, *(told.param_decls or ()))  # an annotation's first name stands as its default
            return next((one for one in declared if str(one).startswith("--")), f"--{key.replace('_', '-')}")

        @functools.wraps(function)
        def command(*, overwrite: bool = False, **arguments: Any) -> None:
            read = [
                (key, path)
                for key in kinds
                for path in (arguments[key] if isinstance(arguments[key], list) else [arguments[key]])
                if path is not None
            ]
            outputs = [
                Output(option(key), arguments[key], form) for key, form in forms.items() if arguments[key] is not None
            ]
            claim(outputs, [path for _, path in read], overwrite)
            for key, path in read:
                check(option(key), path, kinds[key])
            said = function(**arguments)
            if said or outputs:
                close(name or function.__name__, said or _made(arguments))

        if forms:
            own = inspect.Parameter("overwrite", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Overwrite)
            command.__signature__ = signature.replace(parameters=[*signature.parameters.values(), own])  # type: ignore[attr-defined]
        app.command(name)(command)
        return function

    return register


def close(what: str, said: str) -> None:
    """Say last, on standard error, what a command has made; of processes that share a training the first does."""
    if all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "RANK", "SLURM_PROCID")):
        typer.echo(redact(f"{what}: {said}"), err=True)


def _made(arguments: dict[str, Any]) -> str:
    """Summary of a stage: its output, and the number of subjects left out."""
    exclusions = arguments.get("exclusions")
    if exclusions is None:
        return f"wrote {arguments['out']}"
    from cof.artefacts.parquet import read_table

    rows = read_table(exclusions, ["subject"])
    left_out = f"{rows['subject'].nunique()} subjects left out, see {exclusions}" if len(rows) else "nobody left out"
    return f"wrote {arguments['out']}; {left_out}"


def number_of(devices: str) -> int | Literal["auto"]:
    """What `--devices` says."""
    if devices == "auto":
        return "auto"
    if not devices.isdecimal() or int(devices) < 1:
        raise UsageError(f"--devices: '{devices}' is neither auto nor a number from 1 on")
    return int(devices)


def print_version(asked: bool) -> None:
    """Print the version and stop, if that was asked for."""
    if asked:
        typer.echo(f"cof {__version__}")
        raise typer.Exit


@app.callback()
def setup(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log tracebacks and details.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Set up logging for every verb."""
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    logging.getLogger("cof").setLevel(logging.DEBUG if verbose else logging.INFO)
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # its remarks quote values, which may name the patient


@verb()
def phantom(
    out: Out,
    settings: SettingsText = "{}",
    seed: Seed = 0,
    workers: Annotated[int, typer.Option(help="Processes side by side.")] = 2,
) -> str:
    """Write the synthetic cohort: raw files as UK Biobank delivers them, and the truth beside them."""
    from cof.phantom.stage import make_cohort

    make_cohort(out=out, settings=config.read_settings(settings, PhantomSettings), seed=seed, workers=workers)
    return (
        f"a synthetic cohort lies in {out}: subjects.csv, raw/, truth/. Open {out / 'card.md'}; to run it, set "
        f"cohort.sheet: {out / 'subjects.csv'}"
    )


class _FolderFirst(TyperGroup):
    """Sources of names as sub-commands; what is none of them is the folder of `files`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["files", *args]
        return super().parse_args(ctx, args)


sheet = typer.Typer(
    cls=_FolderFirst,
    help="Write a subject sheet from files as they lie: `cof sheet FOLDER ...` by patterns, or by known names.",
    no_args_is_help=True,
)
app.add_typer(sheet, name="sheet")

Raw = Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder below which the files lie; it is only read.")]
SheetOut = Annotated[Path, typer.Option("--out", help="The sheet.")]


@sheet.command("files")
def sheet_of_files(
    folder: Raw,
    ecg: Annotated[
        list[str], typer.Option(help="Pattern of the ECGs, such as '{subject}/ecg_{visit}.xml'; repeatable.")
    ],
    scan: Annotated[
        list[str] | None, typer.Option(help="Pattern of the cines: files, or folders of DICOM files; repeatable.")
    ] = None,
    anchor: Annotated[
        list[str] | None, typer.Option(help="Pattern of anchors, for subjects without a cine; repeatable.")
    ] = None,
    annotation: Annotated[list[str] | None, typer.Option(help="Pattern of expert annotations; repeatable.")] = None,
    labels_map: Annotated[
        str | None, typer.Option(help="From the codes of the annotations to ours: 1:3,2:2,3:1 for ACDC's.")
    ] = None,
    out: SheetOut = Path("subjects.csv"),
    overwrite: Overwrite = False,
) -> None:
    """By patterns of paths relative to FOLDER, with {subject}, {visit}, `*` and `**`; same as `cof sheet FOLDER`."""
    from cof.heart.codes import read_map
    from cof.sheets.patterns import list_by_patterns
    from cof.sheets.table import write_sheet

    if not scan and not anchor:
        raise UsageError("name the scans by --scan, or anchors by --anchor")
    try:
        codes = read_map(labels_map) if labels_map else None
    except ValueError as error:
        raise UsageError(f"--labels-map: {error}") from None
    patterns = {"ecg": ecg, "cine": scan, "anchor": anchor, "annotation": annotation}
    listing = list_by_patterns(_folder(folder), {column: texts for column, texts in patterns.items() if texts})
    typer.echo(redact(write_sheet(listing, folder, out, codes, overwrite)))


@sheet.command("ukb")
def sheet_of_ukb(
    folder: Raw,
    withdrawn: Annotated[
        list[Path] | None, typer.Option(help="List of participants who have withdrawn, an id a line; repeatable.")
    ] = None,
    out: SheetOut = Path("subjects.csv"),
    overwrite: Overwrite = False,
) -> None:
    """By the names of UK Biobank's bulk files, flat, by first digits, or in the Research Analysis Platform's tree."""
    from cof.sheets.table import write_sheet
    from cof.sheets.ukb import list_ukb

    listing = list_ukb(_folder(folder), withdrawn or ())
    typer.echo(redact(write_sheet(listing, folder, out, overwrite=overwrite)))


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise UsageError(f"{path} is {'a file' if path.exists() else 'not there'}; a folder is asked for")
    return path


@verb()
def cohort(
    sheet: Annotated[Path, typer.Option(help="subjects.csv"), File()],
    out: OutFile,
    key: Annotated[Path, typer.Option(help="cohort/key.parquet"), Form.FILE],
    settings: SettingsText = "{}",
) -> str:
    """Read the subject sheet; give pseudonyms, splits and batches."""
    from cof.cohort import build_cohort

    split = build_cohort(sheet=sheet, out=out, key=key, settings=config.read_settings(settings, CohortSettings))
    typer.echo(split)
    if not split.stated:
        typer.echo("To choose, give the sheet a column split (train, validation, test), or shares to cohort.split.")
    return f"who is in it, with split and batch, lies in {out}; the way back to raw files, for you alone, in {key}"


@verb()
def batch(
    subjects: Subjects,
    out: OutFile,
    name: Annotated[str, typer.Option(help="Name of the batch.")],
    only: Annotated[list[str] | None, typer.Option(help="Just this subject; repeatable.")] = None,
) -> None:
    """Select the subjects of one batch."""
    from cof.cohort import select_batch

    select_batch(subjects=subjects, batch=name, only=tuple(only or ()), out=out)


@verb()
def ecg(sheet: Sheet, key: Key, out: OutFile, exclusions: ExclusionsOut, settings: SettingsText = "{}") -> None:
    """Parse the ECG files of a batch."""
    from cof.ecg.stage import parse_batch

    parse_batch(
        sheet=sheet,
        key=key,
        out=out,
        exclusions=exclusions,
        settings=config.read_settings(settings, EcgSettings),
    )


@verb()
def beats(
    ecg: EcgTable,
    out: OutFile,
    exclusions: ExclusionsOut,
    settings: SettingsText = "{}",
) -> None:
    """Crop one representative R-R cycle of each ECG."""
    from cof.ecg.stage import beats_batch

    beats_batch(ecg=ecg, out=out, exclusions=exclusions, settings=config.read_settings(settings, BeatSettings))


@verb()
def cine(
    sheet: Sheet,
    key: Key,
    out: Out,
    annotations: Annotated[Path, typer.Option(help="Folder for expert annotations on the native grid."), Form.FOLDER],
    exclusions: ExclusionsOut,
    settings: SettingsText = "{}",
) -> None:
    """Stack short-axis cines on their native grid."""
    from cof.cine.stage import stack_batch

    stack_batch(
        sheet=sheet,
        key=key,
        out=out,
        annotations=annotations,
        exclusions=exclusions,
        settings=config.read_settings(settings, CineSettings),
    )


@verb()
def labeller(
    subjects: Subjects,
    cine: Stage,
    annotations: Stage,
    out: Out,
    work: Work,
    settings: SettingsText = "{}",
    seed: Seed = 0,
) -> None:
    """Train nnU-Net on the annotated ED and ES stacks."""
    from cof.artefacts.folders import Batches
    from cof.cohort import batches_of
    from cof.labels.stage import train

    batches = batches_of(subjects)
    train(
        subjects=subjects,
        cine=Batches(cine / batch for batch in batches),
        annotations=Batches(annotations / batch for batch in batches),
        out=out,
        work=work,
        settings=config.read_settings(settings, LabelSettings),
        seed=seed,
    )


@verb()
def label(
    cine: CineBatch,
    labeller: LabellerFolder,
    out: Out,
    exclusions: ExclusionsOut,
    settings: SettingsText = "{}",
) -> None:
    """Label every frame of a batch by nnU-Net."""
    from cof.labels.stage import label_batch

    label_batch(
        cine=cine,
        labeller=labeller,
        out=out,
        exclusions=exclusions,
        settings=config.read_settings(settings, LabelSettings),
    )


@verb()
def quality(
    ecg: EcgTable,
    beats: BeatTable,
    cine: CineBatch,
    labels: LabelBatch,
    out: OutFile,
    exclusions: ExclusionsOut,
    settings: SettingsText = "{}",
    plausibility: Annotated[
        Path | None, typer.Option(help="Table of what the labels say, to write."), Form.FILE
    ] = None,
) -> None:
    """Measure the quality of a batch's ECGs and cines; leave out what is beyond the limits."""
    from cof.quality.stage import measure_batch

    measure_batch(
        ecg=ecg,
        beats=beats,
        cine=cine,
        labels=labels,
        out=out,
        exclusions=exclusions,
        settings=config.read_settings(settings, QualityLimits),
        checked=plausibility,
    )


@verb()
def grid(
    cine: CineBatch,
    labels: LabelBatch,
    out: Out,
    exclusions: ExclusionsOut,
    settings: SettingsText = "{}",
    excluded: Annotated[
        Path | None, typer.Option(help="exclusions/quality/{batch}.parquet"), Table(("subject", "reason"))
    ] = None,
) -> None:
    """Resample and crop the cines of a batch to the canonical grid."""
    from cof.cine.stage import grid_batch

    grid_batch(
        cine=cine,
        labels=labels,
        excluded=excluded,
        out=out,
        exclusions=exclusions,
        settings=config.read_settings(settings, GridSettings),
    )


@verb()
def toppr(
    subjects: Subjects,
    cine: Stage,
    labels: Stage,
    grid: Stage,
    labeller: LabellerFolder,
    out: Out,
    work: Work,
    settings: SettingsText = "{}",
    seed: Seed = 0,
    curves: Curves = None,
    devices: Devices = "auto",
    annotations: Annotated[
        Path | None, typer.Option(help="annotations/: experts' labels, for lambda_labels."), Folder()
    ] = None,
) -> None:
    """Train TOPPR, the topology-preserving registration."""
    from cof.artefacts.folders import Batches
    from cof.cohort import batches_of
    from cof.motion.stage import train

    batches = batches_of(subjects)
    train(
        subjects=subjects,
        cine=Batches(cine / batch for batch in batches),
        labels=Batches(labels / batch for batch in batches),
        grid=Batches(grid / batch for batch in batches),
        labeller=labeller,
        out=out,
        work=work,
        settings=config.read_settings(settings, RegistrationSettings),
        seed=seed,
        curves=curves,
        annotations=Batches(annotations / batch for batch in batches) if annotations is not None else (),
        devices=number_of(devices),
    )


@verb()
def fields(
    grid: GridBatch,
    weights: Annotated[Path, typer.Option(help="registrations/{variant}")],
    out: Out,
    exclusions: ExclusionsOut,
    settings: SettingsText = "{}",
    labels: Annotated[Path | None, typer.Option(help="labels/{batch}, for a refinement by labels."), Folder()] = None,
) -> None:
    """Register every frame of a batch to its anchor: the displacement paths."""
    from cof.motion.stage import register_batch

    register_batch(
        grid=grid,
        weights=weights,
        out=out,
        exclusions=exclusions,
        settings=config.read_settings(settings, PathSettings),
        labels=labels,
    )


@verb("exact-motion")
def exact_motion(
    key: Key,
    cine: CineBatch,
    grid: GridBatch,
    truth: Annotated[Path, typer.Option(help="phantom/truth"), Folder()],
    out: Out,
    exclusions: ExclusionsOut,
) -> None:
    """Write the exact motion of a synthetic batch in the place of registered motion."""
    from cof.truth.stage import write_exact_fields

    write_exact_fields(key=key, cine=cine, grid=grid, truth=truth, out=out, exclusions=exclusions)


@verb()
def train(
    subjects: Subjects,
    beats: Stage,
    grid: Stage,
    labels: Stage,
    out: Out,
    work: Work,
    settings: SettingsText,
    fields: Annotated[
        Path | None, typer.Option(help="fields/{variant}, where the family learns from motion."), Folder()
    ] = None,
    base: Annotated[
        Path | None, typer.Option(help="models/{model}: the model that this one applies."), Folder()
    ] = None,
    member: Annotated[
        list[Path] | None, typer.Option(help="models/{model} of an ensemble; repeatable."), Folder()
    ] = None,
    seed: Seed = 0,
    curves: Curves = None,
    devices: Devices = "auto",
) -> None:
    """Train one model of any family."""
    from cof.artefacts.folders import Batches
    from cof.cohort import batches_of
    from cof.models.stage import train as train_model

    batches = batches_of(subjects)
    train_model(
        subjects=subjects,
        beats=[beats / f"{batch}.parquet" for batch in batches],
        grid=Batches(grid / batch for batch in batches),
        labels=Batches(labels / batch for batch in batches),
        fields=Batches(fields / batch for batch in batches) if fields else [],
        base=base,
        members=member or (),
        out=out,
        work=work,
        settings=config.read_settings(settings, ModelSettings),
        seed=seed,
        curves=curves,
        devices=number_of(devices),
    )


@verb()
def twins(
    sheet: Sheet,
    beats: BeatTable,
    cine: CineBatch,
    labels: LabelBatch,
    grid: GridBatch,
    model: Annotated[Path, typer.Option(help="models/{model}")],
    labeller: LabellerFolder,
    out: Out,
    exclusions: ExclusionsOut,
    settings: SettingsText,
    labels_settings: Annotated[str, typer.Option(help="Settings of the labeller.")] = "{}",
    labelling: Annotated[Labelling, typer.Option(help="Of the generated hearts.")] = "nnunet",
    fields: Annotated[
        Path | None, typer.Option(help="fields/{variant}/{batch}, for the oracle only."), Batch(".safetensors")
    ] = None,
    split: Annotated[list[str] | None, typer.Option(help="Splits to generate; repeatable. Default: test.")] = None,
    seed: Seed = 0,
) -> None:
    """Generate the 4D hearts of a batch's held-out subjects."""
    from cof.twins.stage import generate_batch

    generate_batch(
        sheet=sheet,
        beats=beats,
        cine=cine,
        labels=labels,
        grid=grid,
        fields=fields,
        model=model,
        labeller=labeller,
        out=out,
        exclusions=exclusions,
        settings=config.read_settings(settings, ModelSettings),
        labels_settings=config.read_settings(labels_settings, LabelSettings),
        seed=seed,
        labelling=labelling,
        splits=tuple(split or ("test",)),
    )


@verb()
def evaluate(
    sheet: Sheet,
    key: Key,
    beats: BeatTable,
    twins: Annotated[Path, typer.Option(help="twins/{model}/{batch}"), Batch(".labels.nii.gz")],
    cine: CineBatch,
    labels: LabelBatch,
    grid: GridBatch,
    fields: Annotated[Path, typer.Option(help="fields/{variant}/{batch}"), Batch(".safetensors")],
    out: OutFile,
    exclusions: ExclusionsOut,
    truth: Annotated[Path | None, typer.Option(help="Exact truth of a synthetic cohort."), Folder()] = None,
    intervals: Annotated[
        Path | None, typer.Option(help="intervals/{model}.json, of a calibrated model."), File()
    ] = None,
) -> None:
    """Compare a batch's generated hearts with the real ones."""
    from cof.metrics.stage import evaluate_batch

    evaluate_batch(
        sheet=sheet,
        key=key,
        beats=beats,
        twins=twins,
        cine=cine,
        labels=labels,
        grid=grid,
        fields=fields,
        truth=truth,
        intervals=intervals,
        out=out,
        exclusions=exclusions,
    )


@verb()
def intervals(
    subjects: Subjects,
    metrics: Annotated[Path, typer.Option(help="Folder of the validation subjects' metrics, by batch."), Folder()],
    out: OutFile,
    settings: SettingsText = "{}",
) -> None:
    """Calibrate a model's intervals on the validation subjects."""
    from cof.cohort import batches_of
    from cof.metrics.calibration import calibrate

    calibrate(
        metrics=[metrics / f"{batch}.parquet" for batch in batches_of(subjects)],
        out=out,
        settings=config.read_settings(settings, IntervalSettings),
    )


@verb()
def features(
    sheet: Sheet,
    grid: GridBatch,
    labeller: LabellerFolder,
    out: OutFile,
    exclusions: ExclusionsOut,
    twins: Annotated[
        Path | None, typer.Option(help="twins/{model}/{batch}; without, the real hearts."), Batch(".labels.nii.gz")
    ] = None,
    settings: SettingsText = "{}",
    split: Annotated[list[str] | None, typer.Option(help="Splits to see; repeatable. Default: test.")] = None,
) -> None:
    """Take the features of a batch's held-out hearts, between which Fréchet distances are computed."""
    from cof.features.stage import features_batch

    features_batch(
        sheet=sheet,
        grid=grid,
        twins=twins,
        labeller=labeller,
        out=out,
        exclusions=exclusions,
        settings=config.read_settings(settings, ExtractorSettings),
        splits=tuple(split or ("test",)),
    )


@verb()
def table(
    subjects: Subjects,
    metrics: Annotated[
        Path, typer.Option(help="Folder of the metrics; models and batches have their places in it."), Folder()
    ],
    out: OutTable,
    settings: SettingsText,
    evaluation: Annotated[str, typer.Option(help="Settings of the evaluation.")] = "{}",
    config_hash: Annotated[str, typer.Option(help="Hash of the whole configuration.")] = "",
    card: Annotated[Path | None, typer.Option(help="phantom/card.json of a synthetic cohort."), File()] = None,
    features: Annotated[
        Path | None, typer.Option(help="Folder of the features, for Fréchet distances."), Folder()
    ] = None,
    labeller: Annotated[
        Path | None, typer.Option(help="Folder of the nnU-Net on whose labels it rests."), Folder()
    ] = None,
) -> str:
    """Make one table from the metrics of its models."""
    from cof.cohort import batches_of
    from cof.tables.stage import make_table

    chosen: TableSettings = config.read_settings(settings, TableSettings)
    batches = batches_of(subjects)
    make_table(
        metrics={model: [metrics / model / f"{batch}.parquet" for batch in batches] for model in chosen.trainings},
        settings=chosen,
        evaluation=config.read_settings(evaluation, EvaluationSettings),
        out=out,
        config_hash=config_hash,
        card=card,
        features=None
        if features is None
        else {
            hearts: [features / hearts / f"{batch}.safetensors" for batch in batches]
            for hearts in (REAL, *chosen.trainings)
        },
        labeller=labeller,
        subjects=subjects,
    )
    return f"{len(chosen.models)} models, as {out}.csv, .md and .tex. Open {out}.md"


@verb()
def fairness(
    results: Results,
    out: OutTable,
    settings: SettingsText,
    config_hash: Annotated[str, typer.Option(help="Hash of the whole configuration.")] = "",
    trained: Annotated[
        Path | None, typer.Option(help="Results of the run that trained what this one borrows."), Folder()
    ] = None,
) -> str:
    """Tell what each model of a table has cost: parameters, samples, hours, seconds a heart, memory."""
    from cof.tables.stage import make_fairness

    make_fairness(
        results=results,
        settings=config.read_settings(settings, TableSettings),
        out=out,
        config_hash=config_hash,
        trained=trained,
    )
    return f"what each model has cost, as {out}.csv, .md and .tex. Open {out}.md"


@verb()
def report(
    results: Results,
    configuration: Annotated[Path, typer.Option("--config", help="The resolved configuration, JSON or YAML."), File()],
    out: Out,
) -> str:
    """Make the HTML report."""
    from cof.report.stage import make_report

    make_report(results=results, config=configuration, out=out)
    return f"the page of {results} lies in {out}. Open {out / 'index.html'}"


@verb()
def twin(
    ecg: Annotated[Path, typer.Option(help="One 12-lead ECG file."), AnyPath()],
    scan: Annotated[
        Path, typer.Option(help="One short-axis cine or anchor volume: DICOM zip or folder, or NIfTI."), AnyPath()
    ],
    out: Out,
    weights: Annotated[
        Path,
        typer.Option("--weights", "--results", help="Folder of trained models: shipped weights, or a run's results."),
        Folder(),
    ] = Path("results"),
    model: Annotated[str, typer.Option(help="Which trained model.")] = "cof",
    ed_frame: Annotated[int | None, typer.Option(help="The ED frame of the scan; found where not given.")] = None,
    anchor_phase: Annotated[
        float | None, typer.Option(help="Phase of the anchor in the cycle, by ECG gating; ED, 0, where not given.")
    ] = None,
    seed: Seed = 0,
) -> str:
    """One heart from one ECG and one scan."""
    from cof.twins.single import twin_from_files

    twin_from_files(
        ecg=ecg,
        scan=scan,
        weights=weights,
        model=model,
        out=out,
        ed_frame=ed_frame,
        anchor_phase=anchor_phase,
        seed=seed,
    )
    summary = json.loads((out / "summary.json").read_text())
    lv = summary["function"]["LV"]
    known = [f"{name} {lv[key]:.0f} {unit}" for name, key, unit in _LV_INDICES if lv[key] is not None]
    return (
        f"LV {', '.join(known)}, by {model}: generated, not measured. The heart lies in {out}: twin.nii with "
        f"twin.labels.nii.gz for a viewer, volumes.csv. Open {out / 'summary.json'}: what was read, and mended"
    )


@verb()
def estimate(
    files: Annotated[
        list[Path], typer.Argument(help="Configuration files; later ones are laid over the first."), File()
    ],
    subjects: Annotated[int, typer.Option(help="Subjects of the cohort.")],
    gpu_factor: Annotated[
        float, typer.Option(help="Cores of this machine that do the work of one GPU: an assumption.")
    ] = 40.0,
    as_json: Annotated[bool, typer.Option("--json", help="JSON with the calibration instead of Markdown.")] = False,
    seed: Seed = 0,
) -> str:
    """Estimate core-hours, GPU-hours, bytes and files of every stage, from a short calibration on this machine."""
    chosen = config.load(*files)  # before packages that take seconds to import

    from cof.estimate import cost
    from cof.estimate.calibration import calibrate

    calibration = calibrate(chosen, seed)
    rows = cost.estimate(chosen, subjects, calibration, gpu_factor)
    if as_json:
        typer.echo(json.dumps(cost.to_json(rows, calibration), indent=1))
    else:
        typer.echo(cost.to_markdown(rows, subjects, calibration, gpu_factor))
    whole = cost.total(rows)
    return (
        f"{subjects} subjects take {whole.core_hours:,.1f} core-hours, {whole.gpu_hours:,.1f} GPU-hours and "
        f"{whole.bytes / 1e9:,.1f} GB; docs/scale.md tells what that rests on"
    )


@verb()
def register(
    fixed: Annotated[Path, typer.Argument(help="NIfTI of 3 axes, or of 4 with --fixed-frame."), File()],
    moving: Annotated[
        Path, typer.Argument(help="NIfTI on the voxels of FIXED, ED where TOPPR is at its best."), File()
    ],
    weights: Annotated[Path, typer.Option(help="registrations/{variant}")],
    out: Out,
    fixed_frame: Annotated[int | None, typer.Option(help="Frame of FIXED, from 0.")] = None,
    moving_frame: Annotated[int | None, typer.Option(help="Frame of MOVING, from 0.")] = None,
    centre: Annotated[
        tuple[float, float, float] | None, typer.Option(help="Voxel x y z of FIXED, from 0: the heart's centre.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Labels of MOVING (1 LV, 2 myocardium): the centre."), File()
    ] = None,
    labeller: Annotated[Path | None, typer.Option(help="Trained nnU-Net that finds the centre in MOVING.")] = None,
    refine: Annotated[int, typer.Option(min=0, help="Gradient steps on this pair after the network.")] = 0,
    refine_labels: Annotated[
        float, typer.Option(min=0, help="Weight in these steps of the Dice of a labeller's labels of both volumes.")
    ] = 0.0,
    force: Annotated[bool, typer.Option("--force", help="Write a registration that is worse than none, too.")] = False,
) -> str:
    """Register two volumes: displacement, warped MOVING, Jacobian determinants, and what they say of themselves."""
    from cof.motion.register import register_volumes

    record = register_volumes(
        fixed=fixed,
        moving=moving,
        weights=weights,
        out=out,
        fixed_frame=fixed_frame,
        moving_frame=moving_frame,
        centre=centre,
        labels=labels,
        labeller=labeller,
        refinement=RefinementSettings(steps=refine, lambda_labels=refine_labels),
        force=force,
    )
    measures = record["measures"]
    worse = ", WORSE THAN NONE" if record["worse_than_none"] else ""
    return (
        f"NCC {measures['ncc_before']:.3f} before, {measures['ncc_after']:.3f} after{worse}; moved by "
        f"{measures['mean_displacement_mm']:.1f} mm on average, {100 * measures['folded_share']:.2g} % folded. "
        f"displacement.nii.gz, warped.nii.gz and jacobian.nii.gz lie in {out}. Open {out / 'registration.json'}"
    )


@verb()
def who(
    subject: Annotated[str, typer.Argument(help="Pseudonym of a subject or participant.")],
    key: Annotated[Path, typer.Option(help="cohort/key.parquet")] = Path("results/cohort/key.parquet"),
) -> str:
    """Print the raw files behind a pseudonym; needs the right to read the key."""
    from cof.artefacts.parquet import read_table

    if not key.exists():
        raise UsageError(f"there is no key at {key}")
    check("--key", key, KEY_TABLE)
    try:
        rows = read_table(key)
    except PermissionError:
        raise UsageError(f"you may not read the key at {key}") from None
    rows = rows[(rows["subject"] == subject) | (rows["subject"].str.rsplit("-v", n=1).str[0] == subject)]
    if rows.empty:
        raise UsageError(f"no subject is called '{subject}'")
    typer.echo(rows.to_string(index=False))
    return f"{len(rows)} visits behind {subject}; raw paths are for nobody else"


@verb()
def privacy(
    paths: Annotated[list[Path] | None, typer.Argument(help="Files and folders, such as results.")] = None,
    history: Annotated[bool, typer.Option(help="Check all of this git repository's history, too.")] = False,
) -> None:
    """Find numbers shaped like participant ids in files, file names and history; exit code 1 if there are any."""
    from cof.privacy import check_history, check_paths, count_files
    from cof.progress import Progress

    if not paths and not history:
        raise UsageError("name files or folders to check, or --history")
    found = 0
    files, objects = Progress("privacy", count_files(paths or []), "file"), Progress("history", None, "object")
    with files:
        for place in check_paths(paths or [], files.step):
            typer.echo(place)
            found += 1
    if history:
        with objects:
            for place in check_history(Path(), objects.step):
                typer.echo(place)
                found += 1
    looked = f"{files.done:.0f} file{'' if files.done == 1 else 's'}"
    looked += f" and {objects.done:.0f} objects of the history" if history else ""
    if found:
        typer.echo(f"{found} places look like participant ids; write other numbers as 10**6 or 1_000_000")
        raise typer.Exit(1)
    typer.echo(f"looked at {looked}: no number shaped like a participant id")


@verb("config")
def check_config(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Configuration files, each laid over those before, and all over config.yaml beside Snakefile."
        ),
        File(),
    ] = None,
    schema: Annotated[bool, typer.Option(help="Print the JSON schema instead.")] = False,
) -> str | None:
    """Check a configuration and print it with every default filled in."""
    import yaml

    if schema:
        typer.echo(json.dumps(config.schema(), indent=1))
        return None
    chosen, base = list(files or ()), Path("config.yaml")
    if not chosen or (Path("Snakefile").is_file() and base.is_file() and base not in chosen):
        chosen = [base, *chosen]  # as the workflow does
    parsed = config.load(*chosen)
    typer.echo(yaml.safe_dump(parsed.model_dump(mode="json"), sort_keys=False))
    laid = " ".join(str(file) for file in chosen if file != base)
    return (
        f"valid: {', '.join(map(str, chosen))}. {len(parsed.models)} models, {len(parsed.tables)} tables, results in "
        f"{parsed.results}/. To run it: snakemake --cores 2 {f'--configfile {laid} -- ' if laid else ''}all"
    )


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; faults that a user can act on end in one line on standard error and exit code 2."""
    try:
        return app(args=arguments)
    except (UsageError, CofError) as error:
        said = str(error)
    except OSError as error:  # a full disk, a right that is not given, a file that went away
        if error.filename is None and error.errno != errno.ENOSPC:
            raise
        said = f"{error.filename or 'the disk'}: {error.strerror}"
    logging.getLogger(__name__).debug("traceback", exc_info=True)
    print(f"cof: error: {redact(said)}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
