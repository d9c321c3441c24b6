"""The command line: one verb a stage, each a thin call of that stage's function.

Heavy packages are imported inside the verbs, so that light stages start fast.
"""

import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

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

# Waiting threads must not spin: side by side, two torch processes on two cores slow each other many times over.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

app = typer.Typer(
    help="Chain of Flow: a beating, patient-specific 4D heart from a 12-lead ECG and one anatomical anchor volume.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Out = Annotated[Path, typer.Option(help="Where the result goes.")]
ExclusionsOut = Annotated[Path, typer.Option(help="Table of the subjects left out, always written.")]
SettingsText = Annotated[str, typer.Option("--settings", help="Settings: inline JSON, or a YAML or JSON file.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random in this step.")]
Sheet = Annotated[Path, typer.Option(help="cohort/batches/{batch}.parquet")]
Key = Annotated[Path, typer.Option(help="cohort/key.parquet")]
Work = Annotated[Path, typer.Option(help="Folder of checkpoints; a killed training resumes from it.")]
Curves = Annotated[Path | None, typer.Option(help="Folder for the training curves, read by TensorBoard.")]
Devices = Annotated[
    str, typer.Option(help="Processes of this node: a number, or auto for one a GPU. torchrun and srun decide instead.")
]
Subjects = Annotated[Path, typer.Option(help="cohort/subjects.parquet")]
Stage = Annotated[Path, typer.Option(help="Folder of the stage, in which every batch of the cohort has its own.")]


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


@app.command()
def phantom(
    out: Out,
    settings: SettingsText = "{}",
    seed: Seed = 0,
    workers: Annotated[int, typer.Option(help="Processes side by side.")] = 2,
) -> None:
    """Write the synthetic cohort: raw files as UK Biobank delivers them, and the truth beside them."""
    from cof.phantom.stage import make_cohort

    make_cohort(out=out, settings=config.read_settings(settings, PhantomSettings), seed=seed, workers=workers)


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
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a sheet that is there.")]


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
    from cof.labels.codes import read_map
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


@app.command()
def cohort(
    sheet: Annotated[Path, typer.Option(help="subjects.csv")], out: Out, key: Key, settings: SettingsText = "{}"
) -> None:
    """Read the subject sheet; give pseudonyms, splits and batches."""
    from cof.cohort import build_cohort

    split = build_cohort(sheet=sheet, out=out, key=key, settings=config.read_settings(settings, CohortSettings))
    typer.echo(split)
    if not split.stated:
        typer.echo("To choose, give the sheet a column split (train, validation, test), or shares to cohort.split.")


@app.command()
def batch(
    subjects: Subjects,
    out: Out,
    name: Annotated[str, typer.Option(help="Name of the batch.")],
    only: Annotated[list[str] | None, typer.Option(help="Just this subject; repeatable.")] = None,
) -> None:
    """Select the subjects of one batch."""
    from cof.cohort import select_batch

    select_batch(subjects=subjects, batch=name, only=tuple(only or ()), out=out)


@app.command()
def ecg(sheet: Sheet, key: Key, out: Out, exclusions: ExclusionsOut, settings: SettingsText = "{}") -> None:
    """Parse the ECG files of a batch."""
    from cof.ecg.stage import parse_batch

    parse_batch(
        sheet=sheet,
        key=key,
        out=out,
        exclusions=exclusions,
        settings=config.read_settings(settings, EcgSettings),
    )


@app.command()
def beats(
    ecg: Annotated[Path, typer.Option(help="ecg/{batch}.parquet")],
    out: Out,
    exclusions: ExclusionsOut,
    settings: SettingsText = "{}",
) -> None:
    """Crop one representative R-R cycle of each ECG."""
    from cof.ecg.stage import beats_batch

    beats_batch(ecg=ecg, out=out, exclusions=exclusions, settings=config.read_settings(settings, BeatSettings))


@app.command()
def cine(
    sheet: Sheet,
    key: Key,
    out: Out,
    annotations: Annotated[Path, typer.Option(help="Folder for expert annotations on the native grid.")],
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


@app.command()
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
    from cof.cohort import batches_of
    from cof.folders import Batches
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


@app.command()
def label(
    cine: Annotated[Path, typer.Option(help="cine/{batch}")],
    labeller: Annotated[Path, typer.Option(help="Folder of the trained nnU-Net.")],
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


@app.command()
def quality(
    ecg: Annotated[Path, typer.Option(help="ecg/{batch}.parquet")],
    beats: Annotated[Path, typer.Option(help="beats/{batch}.parquet")],
    cine: Annotated[Path, typer.Option(help="cine/{batch}")],
    labels: Annotated[Path, typer.Option(help="labels/{batch}")],
    out: Out,
    exclusions: ExclusionsOut,
    settings: SettingsText = "{}",
    plausibility: Annotated[Path | None, typer.Option(help="Table of what the labels say, to write.")] = None,
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


@app.command()
def grid(
    cine: Annotated[Path, typer.Option(help="cine/{batch}")],
    labels: Annotated[Path, typer.Option(help="labels/{batch}")],
    out: Out,
    exclusions: ExclusionsOut,
    settings: SettingsText = "{}",
    excluded: Annotated[Path | None, typer.Option(help="exclusions/quality/{batch}.parquet")] = None,
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


@app.command()
def toppr(
    subjects: Subjects,
    cine: Stage,
    labels: Stage,
    grid: Stage,
    labeller: Annotated[Path, typer.Option(help="Folder of the trained nnU-Net.")],
    out: Out,
    work: Work,
    settings: SettingsText = "{}",
    seed: Seed = 0,
    curves: Curves = None,
    devices: Devices = "auto",
) -> None:
    """Train TOPPR, the topology-preserving registration."""
    from cof.cohort import batches_of
    from cof.folders import Batches
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
        devices=number_of(devices),
    )


@app.command()
def fields(
    grid: Annotated[Path, typer.Option(help="grid/{batch}")],
    weights: Annotated[Path, typer.Option(help="registrations/{variant}")],
    out: Out,
    exclusions: ExclusionsOut,
    settings: SettingsText = "{}",
) -> None:
    """Register every frame of a batch to its anchor: the displacement paths."""
    from cof.motion.stage import register_batch

    register_batch(
        grid=grid,
        weights=weights,
        out=out,
        exclusions=exclusions,
        settings=config.read_settings(settings, PathSettings),
    )


@app.command("exact-motion")
def exact_motion(
    key: Key,
    cine: Annotated[Path, typer.Option(help="cine/{batch}")],
    grid: Annotated[Path, typer.Option(help="grid/{batch}")],
    truth: Annotated[Path, typer.Option(help="phantom/truth")],
    out: Out,
    exclusions: ExclusionsOut,
) -> None:
    """Write the exact motion of a synthetic batch in the place of registered motion."""
    from cof.metrics.exact_motion import write_exact_fields

    write_exact_fields(key=key, cine=cine, grid=grid, truth=truth, out=out, exclusions=exclusions)


@app.command()
def train(
    subjects: Subjects,
    beats: Stage,
    grid: Stage,
    labels: Stage,
    out: Out,
    work: Work,
    settings: SettingsText,
    fields: Annotated[Path | None, typer.Option(help="fields/{variant}, where the family learns from motion.")] = None,
    base: Annotated[Path | None, typer.Option(help="models/{model}: the model that this one applies.")] = None,
    member: Annotated[list[Path] | None, typer.Option(help="models/{model} of an ensemble; repeatable.")] = None,
    seed: Seed = 0,
    curves: Curves = None,
    devices: Devices = "auto",
) -> None:
    """Train one model of any family."""
    from cof.cohort import batches_of
    from cof.folders import Batches
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


@app.command()
def twins(
    sheet: Sheet,
    beats: Annotated[Path, typer.Option(help="beats/{batch}.parquet")],
    cine: Annotated[Path, typer.Option(help="cine/{batch}")],
    labels: Annotated[Path, typer.Option(help="labels/{batch}")],
    grid: Annotated[Path, typer.Option(help="grid/{batch}")],
    model: Annotated[Path, typer.Option(help="models/{model}")],
    labeller: Annotated[Path, typer.Option(help="Folder of the trained nnU-Net.")],
    out: Out,
    exclusions: ExclusionsOut,
    settings: SettingsText,
    labels_settings: Annotated[str, typer.Option(help="Settings of the labeller.")] = "{}",
    labelling: Annotated[Labelling, typer.Option(help="Of the generated hearts.")] = "nnunet",
    fields: Annotated[Path | None, typer.Option(help="fields/{variant}/{batch}, for the oracle only.")] = None,
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


@app.command()
def evaluate(
    sheet: Sheet,
    key: Key,
    beats: Annotated[Path, typer.Option(help="beats/{batch}.parquet")],
    twins: Annotated[Path, typer.Option(help="twins/{model}/{batch}")],
    cine: Annotated[Path, typer.Option(help="cine/{batch}")],
    labels: Annotated[Path, typer.Option(help="labels/{batch}")],
    grid: Annotated[Path, typer.Option(help="grid/{batch}")],
    fields: Annotated[Path, typer.Option(help="fields/{variant}/{batch}")],
    out: Out,
    exclusions: ExclusionsOut,
    truth: Annotated[Path | None, typer.Option(help="Exact truth of a synthetic cohort.")] = None,
    intervals: Annotated[Path | None, typer.Option(help="intervals/{model}.json, of a calibrated model.")] = None,
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


@app.command()
def intervals(
    subjects: Subjects,
    metrics: Annotated[Path, typer.Option(help="Folder of the validation subjects' metrics, by batch.")],
    out: Out,
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


@app.command()
def features(
    sheet: Sheet,
    grid: Annotated[Path, typer.Option(help="grid/{batch}")],
    labeller: Annotated[Path, typer.Option(help="Folder of the trained nnU-Net.")],
    out: Out,
    exclusions: ExclusionsOut,
    twins: Annotated[Path | None, typer.Option(help="twins/{model}/{batch}; without, the real hearts.")] = None,
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


@app.command()
def table(
    subjects: Subjects,
    metrics: Annotated[Path, typer.Option(help="Folder of the metrics; models and batches have their places in it.")],
    out: Out,
    settings: SettingsText,
    evaluation: Annotated[str, typer.Option(help="Settings of the evaluation.")] = "{}",
    config_hash: Annotated[str, typer.Option(help="Hash of the whole configuration.")] = "",
    card: Annotated[Path | None, typer.Option(help="phantom/card.json of a synthetic cohort.")] = None,
    features: Annotated[Path | None, typer.Option(help="Folder of the features, for Fréchet distances.")] = None,
    labeller: Annotated[Path | None, typer.Option(help="Folder of the nnU-Net on whose labels it rests.")] = None,
) -> None:
    """Make one table from the metrics of its models."""
    from cof.cohort import batches_of
    from cof.report.stage import make_table

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


@app.command()
def fairness(
    results: Annotated[Path, typer.Option(help="The results folder.")],
    out: Out,
    settings: SettingsText,
    config_hash: Annotated[str, typer.Option(help="Hash of the whole configuration.")] = "",
    trained: Annotated[Path | None, typer.Option(help="Results of the run that trained what this one borrows.")] = None,
) -> None:
    """Tell what each model of a table has cost: parameters, samples, hours, seconds a heart, memory."""
    from cof.report.stage import make_fairness

    make_fairness(
        results=results,
        settings=config.read_settings(settings, TableSettings),
        out=out,
        config_hash=config_hash,
        trained=trained,
    )


@app.command()
def report(
    results: Annotated[Path, typer.Option(help="The results folder.")],
    configuration: Annotated[Path, typer.Option("--config", help="The resolved configuration, JSON or YAML.")],
    out: Out,
) -> None:
    """Make the HTML report."""
    from cof.report.stage import make_report

    make_report(results=results, config=configuration, out=out)


@app.command()
def twin(
    ecg: Annotated[Path, typer.Option(help="One 12-lead ECG file.")],
    scan: Annotated[Path, typer.Option(help="One short-axis cine or anchor volume: DICOM zip or folder, or NIfTI.")],
    out: Out,
    results: Annotated[Path, typer.Option(help="Results folder with the trained models.")] = Path("results"),
    model: Annotated[str, typer.Option(help="Which trained model.")] = "cof",
    ed_frame: Annotated[int | None, typer.Option(help="The ED frame of the scan; found where not given.")] = None,
    anchor_phase: Annotated[
        float | None, typer.Option(help="Phase of the anchor in the cycle, by ECG gating; ED, 0, where not given.")
    ] = None,
    seed: Seed = 0,
) -> None:
    """One heart from one ECG and one scan."""
    from cof.twins.single import twin_from_files

    twin_from_files(
        ecg=ecg,
        scan=scan,
        results=results,
        model=model,
        out=out,
        ed_frame=ed_frame,
        anchor_phase=anchor_phase,
        seed=seed,
    )


@app.command()
def estimate(
    files: Annotated[list[Path], typer.Argument(help="Configuration files; later ones are laid over the first.")],
    subjects: Annotated[int, typer.Option(help="Subjects of the cohort.")],
    gpu_factor: Annotated[
        float, typer.Option(help="Cores of this machine that do the work of one GPU: an assumption.")
    ] = 40.0,
    as_json: Annotated[bool, typer.Option("--json", help="JSON with the calibration instead of Markdown.")] = False,
    seed: Seed = 0,
) -> None:
    """Estimate core-hours, GPU-hours, bytes and files of every stage, from a short calibration on this machine."""
    from cof.estimate import cost
    from cof.estimate.calibration import calibrate

    for file in files:
        if not file.is_file():
            raise UsageError(f"no such file: {file}")
    chosen = config.load(*files)
    calibration = calibrate(chosen, seed)
    rows = cost.estimate(chosen, subjects, calibration, gpu_factor)
    if as_json:
        typer.echo(json.dumps(cost.to_json(rows, calibration), indent=1))
    else:
        typer.echo(cost.to_markdown(rows, subjects, calibration, gpu_factor))


@app.command()
def register(
    fixed: Annotated[Path, typer.Argument(help="NIfTI of 3 axes, or of 4 with --fixed-frame.")],
    moving: Annotated[Path, typer.Argument(help="NIfTI on the voxels of FIXED, ED where TOPPR is at its best.")],
    weights: Annotated[Path, typer.Option(help="registrations/{variant}")],
    out: Out,
    fixed_frame: Annotated[int | None, typer.Option(help="Frame of FIXED, from 0.")] = None,
    moving_frame: Annotated[int | None, typer.Option(help="Frame of MOVING, from 0.")] = None,
    centre: Annotated[
        tuple[float, float, float] | None, typer.Option(help="Voxel x y z of FIXED, from 0: the heart's centre.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Labels of MOVING (1 LV, 2 myocardium): the centre.")] = None,
    labeller: Annotated[Path | None, typer.Option(help="Trained nnU-Net that finds the centre in MOVING.")] = None,
    refine: Annotated[int, typer.Option(min=0, help="Gradient steps on this pair after the network.")] = 0,
) -> None:
    """Register two volumes: displacement, warped MOVING, Jacobian determinants, and what they say of themselves."""
    from cof.motion.register import register_volumes

    register_volumes(
        fixed=fixed,
        moving=moving,
        weights=weights,
        out=out,
        fixed_frame=fixed_frame,
        moving_frame=moving_frame,
        centre=centre,
        labels=labels,
        labeller=labeller,
        refinement=RefinementSettings(steps=refine),
    )


@app.command()
def who(
    subject: Annotated[str, typer.Argument(help="Pseudonym of a subject or participant.")],
    key: Key = Path("results/cohort/key.parquet"),
) -> None:
    """Print the raw files behind a pseudonym; needs the right to read the key."""
    from cof.tables import read_table

    try:
        rows = read_table(key)
    except FileNotFoundError:
        raise UsageError(f"there is no key at {key}") from None
    except PermissionError:
        raise UsageError(f"you may not read the key at {key}") from None
    rows = rows[(rows["subject"] == subject) | (rows["subject"].str.rsplit("-v", n=1).str[0] == subject)]
    if rows.empty:
        raise UsageError(f"no subject is called '{subject}'")
    typer.echo(rows.to_string(index=False))


@app.command()
def privacy(
    paths: Annotated[list[Path] | None, typer.Argument(help="Files and folders, such as results.")] = None,
    history: Annotated[bool, typer.Option(help="Check all of this git repository's history, too.")] = False,
) -> None:
    """Find numbers shaped like participant ids in files, file names and history; exit code 1 if there are any."""
    from cof.privacy import check_history, check_paths

    if not paths and not history:
        raise UsageError("name files or folders to check, or --history")
    places = [*check_paths(paths or []), *(check_history(Path()) if history else ())]
    for place in places:
        typer.echo(place)
    if places:
        typer.echo(f"{len(places)} places look like participant ids; write other numbers as 10**6 or 1_000_000")
        raise typer.Exit(1)


@app.command("config")
def check_config(
    file: Annotated[Path, typer.Argument(help="A configuration file.")] = Path("config.yaml"),
    schema: Annotated[bool, typer.Option(help="Print the JSON schema instead.")] = False,
) -> None:
    """Check a configuration file and print it with every default filled in."""
    import yaml

    if schema:
        typer.echo(json.dumps(config.schema(), indent=1))
        return
    if not file.is_file():
        raise UsageError(f"no such file: {file}")
    typer.echo(yaml.safe_dump(config.load(file).model_dump(mode="json"), sort_keys=False))


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; faults that a user can act on end in one line on standard error and exit code 2."""
    try:
        return app(args=arguments)
    except (UsageError, CofError) as error:
        print(f"cof: error: {redact(str(error))}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
