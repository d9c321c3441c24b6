"""The heart of one person from one ECG file and one scan, through the same stages as a cohort: a batch of one."""

import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from cof import config
from cof.artefacts.folders import whole_folder
from cof.artefacts.parquet import read_table, write_table
from cof.cine.patient import read_patient
from cof.cine.reader import read_cine_source
from cof.cine.stage import grid_batch, stack_batch
from cof.cine.volume import read_cine, read_labels, sidecar
from cof.config.data import LABEL_TRUST, BeatSettings, CineSettings, EcgSettings, GridSettings, LabelSettings
from cof.config.motion import PathSettings
from cof.ecg.reader import read_ecg
from cof.ecg.record import LEADS, Ecg
from cof.ecg.stage import beats_batch, parse_batch
from cof.errors import DATA_ERRORS, CofError, Reason, UsageError
from cof.inputs import AnyPath, Folder
from cof.labels.stage import label_batch
from cof.metrics.conformal import Intervals, Scale
from cof.models.trained import Trained, load
from cof.motion.stage import register_batch
from cof.options import Out, Read, Seed, says, shows
from cof.progress import step
from cof.twins.artefacts import BEAT, NAME, SCAN, write_beat
from cof.twins.cautions import caution
from cof.twins.exports.formats import ALL, FORMATS, chosen_of, export
from cof.twins.exports.heart import Heart
from cof.twins.exports.stage import formats_named
from cof.twins.function import heart_function
from cof.twins.patient import POSSIBLE, Patient, options_of, patient_of
from cof.twins.shipped import HINT, model_or_default, weights_or_default
from cof.twins.stage import generate_batch
from cof.twins.summary import ecg_record, index_records, reference_record, scan_record
from cof.twins.text import text_of

log = logging.getLogger(__name__)

SPLIT = "test"
# Stages count a cohort's subjects in these logs; about one person they repeat what the command says itself.
_COUNTS_OF_COHORTS = ("cof.artefacts.exclusions", "cof.ecg.stage")
_LV_INDICES = (("EDV", "edv_ml", "mL"), ("ESV", "esv_ml", "mL"), ("EF", "ef_pct", "%"))
NOTICE = (
    "The user chose the ECG and the scan. The software does not check that both come from one person and one visit. "
    "Research software, not for diagnosis."
)
WITHOUT_ECG = (
    "Generated without an ECG: the motion is predicted from the anatomy alone, and the duration of the cycle is known "
    "only if the scan is a cine. Research software, not for diagnosis."
)


@dataclass(frozen=True)
class Reading:
    """Settings of the stages before the model."""

    ecg: EcgSettings
    beats: BeatSettings
    cine: CineSettings
    labels: LabelSettings
    grid: GridSettings
    path: PathSettings

    @classmethod
    def of(cls, results: Path, trained: Trained) -> "Reading":
        """Read the settings from `config.json` of the run that made `results`; without that file, take the defaults."""
        file = results / "config.json"
        if file.is_file():
            run = config.parse(json.loads(file.read_text()), "config.json")
            registration = run.registrations.get(trained.settings.motion or "")
            path = registration.path if registration else PathSettings()
            return cls(run.ecg, run.beats, run.cine, run.labels, run.grid, path)
        grid = GridSettings(shape=trained.shape, spacing_mm=trained.spacing_mm, frames=trained.frames)
        beats = BeatSettings(samples=trained.beat_samples)
        return cls(EcgSettings(), beats, CineSettings(), LabelSettings(), grid, PathSettings())


def _shown(_: None, given: Mapping[str, Any]) -> str:
    """Return what the command prints: the summary of the heart as text."""
    return text_of(json.loads((given["out"] / "summary.json").read_text()))


def _told(_: None, given: Mapping[str, Any]) -> str:
    """Return the last line of the command: LV function, if the labels can be trusted, and which files to open."""
    out = given["out"]
    summary = json.loads((out / "summary.json").read_text())
    lv = summary["function"]["LV"]
    known = [f"{name} {lv[key]:.0f} {unit}" for name, key, unit in _LV_INDICES if lv[key] is not None]
    function = f"LV {', '.join(known)}, by {summary['model']}: generated, not measured"
    if summary["labels"]["doubtful"]:
        doubt = next(warning for warning in summary["warnings"] if warning["check"] == LABEL_TRUST)
        function = f"{doubt['message']}: LV function is not shown, look at the labels first"
    written = ", ".join(name for name in FORMATS if (out / name).is_dir())
    return (
        f"{function}. The heart is in {out}: twin.nii and twin.labels.nii.gz for a viewer, volumes.csv"
        f"{f', and the formats {written}' if written else ''}. {out / 'summary.json'} has these numbers"
    )


@shows(_shown)
@says(_told)
def twin_from_files(
    *,
    scan: Annotated[
        Path, typer.Option(help="One short-axis cine or anchor volume: DICOM zip or folder, or NIfTI."), AnyPath()
    ],
    out: Out,
    ecg: Annotated[
        Path | None,
        typer.Option(help="One 12-lead ECG file. Optional for a model that works without one, such as weights/real."),
        AnyPath(),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            "--results",
            help="Folder of trained models: shipped weights or results of a run. Default: weights/real, else results.",
        ),
        Folder(),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Name of the trained model. Default: report.model of the weights' config.json, or else cof."),
    ] = None,
    ed_frame: Annotated[
        int | None, typer.Option(help="Index of the ED frame in the scan, from 0. Default: it is found.")
    ] = None,
    anchor_phase: Annotated[
        float | None,
        typer.Option(help="Phase of the anchor in the cycle, from ECG gating, in [0, 1). Default: 0 (ED)."),
    ] = None,
    sex: Annotated[
        str | None,
        typer.Option(help="F or M, for the reference ranges. Default: as the scan states it, or else the ECG."),
    ] = None,
    age: Annotated[float | None, typer.Option(help="Age in years. Default: likewise.")] = None,
    height: Annotated[float | None, typer.Option(help="Height in cm. Default: likewise.")] = None,
    weight: Annotated[float | None, typer.Option(help="Weight in kg. Default: likewise.")] = None,
    formats: Annotated[
        tuple[str, ...],
        typer.Option(
            help=f"Formats to export, too, separated by commas: {', '.join(FORMATS)}, or {ALL}. Default: none."
        ),
        Read(str, formats_named),
    ] = (),
    preview: Annotated[
        bool, typer.Option("--preview", help="Export a picture of all slices and a film of three: the format preview.")
    ] = False,
    seed: Seed = 0,
) -> None:
    """Generate one heart with trained models: shipped weights, or the results of a run.

    Args:
        ecg: the ECG file; None for a model that was trained with absent ECGs (`field.ecg_dropout`).
        scan, model: as annotated.
        weights: folder with `labeller`, `models/{model}` and, for a model that sees motion, `registrations`. None takes
            `weights/real` of a checkout, or else `results`.
        out: folder of `cof.twins.artefacts.FILES`: the heart (`twin.nii`, `twin.json`, `twin.labels.nii.gz`,
            `twin.safetensors`, `twin.function.json`), `volumes.csv` (one row per frame) and `summary.json` (function,
            what was read and repaired, origin of the networks, warnings about implausible numbers, and a notice on the
            choice of the files). Beside it lies what it was made from (`cof.twins.artefacts.BESIDE`): a whole cine
            (`scan.nii`, its sidecar and labels) and the cycle of the ECG (`beat.csv`). With a calibrated
            model, `volumes.csv` and `summary.json` have intervals for EF, ESV and every LV volume. Repairs are also
            logged. Each format has a folder of its name.
        ed_frame: index of the recorded frame of a cine that shows end diastole; None finds it.
        anchor_phase: in [0, 1). For an anchor volume, the phase that it shows, as known from ECG gating; for a cine,
            the phase of the frame that the model may see. None takes the model's own: end diastole, but for the family
            `anchored`.
        sex, age, height, weight: of the patient, as annotated. They choose the reference ranges beside the numbers of
            `summary.json`; the model does not see them.
        formats: keys of `cof.twins.exports.formats.FORMATS`, or `ALL`, as `cof export` writes them.
        preview: add the format `preview`.
        seed: seed of models that draw at random.

    Raises:
        UsageError: a file or a model does not exist, the model needs an ECG, `anchor_phase` is out of range, an option
            on the patient is not that of a person, or a format needs surfaces and the model generates images.
        CofError: the ECG or the scan cannot be used; its reason says why.
    """
    stated = options_of(sex, age, height, weight)
    if preview and not {"preview", ALL} & set(formats):
        formats = (*formats, "preview")
    for path, what in ((ecg, "ECG"), (scan, "scan")):
        if path is not None and not path.exists():
            raise UsageError(f"there is no such {what}: {path}")
    weights = weights_or_default(weights)
    if not (weights / "models").is_dir():
        raise UsageError(f"{weights} has no trained models (no folder models): {HINT}")
    if anchor_phase is not None and not 0 <= anchor_phase < 1:
        raise UsageError(f"the anchor phase is {anchor_phase}, but a phase is at least 0 and below 1")
    model = model_or_default(weights, model)
    trained = load(weights / "models" / model)
    reading = Reading.of(weights, trained)
    labeller = weights / "labeller"
    if ecg is None and not trained.settings.takes_absent_ecg:
        raise UsageError(
            f"the model {weights / 'models' / model} needs an ECG: give one by --ecg, or take a model that was trained "
            "with field.ecg_dropout, such as that of weights/real"
        )
    with step("ECG and scan opened" if ecg else "scan opened"):
        lone = _check_kinds(ecg, scan, reading)
        in_header = read_patient(scan)
    sees_motion = "displacement" in trained.settings.sees
    with tempfile.TemporaryDirectory() as scratch, whole_folder(out) as folder:
        root = Path(scratch)
        _write_cohort(root, ecg, scan, lone, ed_frame)
        run = partial(_run, root / "exclusions", f"--scan {scan}")
        if ecg is None:
            write_table(root / "beats", pd.DataFrame(columns=["subject", "beat", "rr_ms", "features", "sex"]), {})
        else:
            heard = partial(_run, root / "exclusions", f"--ecg {ecg}")
            heard(
                "ECG read", parse_batch, sheet=root / "sheet", key=root / "key", out=root / "ecg", settings=reading.ecg
            )
            heard("cycle of the ECG chosen", beats_batch, ecg=root / "ecg", out=root / "beats", settings=reading.beats)
        run(
            "scan stacked",
            stack_batch,
            sheet=root / "sheet",
            key=root / "key",
            out=root / "cine",
            annotations=root / "annotations",
            settings=reading.cine,
        )
        _say_repairs(root)
        run(
            "labels of the scan",
            label_batch,
            cine=root / "cine",
            labeller=labeller,
            out=root / "labels",
            settings=reading.labels,
        )
        run(
            "scan on the model's grid",
            grid_batch,
            cine=root / "cine",
            labels=root / "labels",
            out=root / "grid",
            settings=reading.grid,
        )
        if sees_motion:
            registration = weights / "registrations" / (trained.settings.motion or "")
            run(
                "motion of the scan",
                register_batch,
                grid=root / "grid",
                weights=registration,
                out=root / "fields",
                settings=reading.path,
                labels=root / "labels",
            )
        run(
            "heart generated and labelled",
            generate_batch,
            sheet=root / "sheet",
            beats=root / "beats",
            cine=root / "cine",
            labels=root / "labels",
            grid=root / "grid",
            fields=root / "fields" if sees_motion else None,
            model=weights / "models" / model,
            labeller=labeller,
            out=root / "twins",
            settings=trained.settings,
            labels_settings=reading.labels,
            seed=seed,
            splits=(SPLIT,),
            anchor_phase=anchor_phase,
            absent_ecg=ecg is None,
        )
        shutil.copytree(root / "twins", folder, dirs_exist_ok=True)
        with step("labels and numbers checked"):
            _summarise(root, folder, model, lone)
            caution(root, folder, weights, model, trained)
            _keep(root, folder)
            calibration = weights / "intervals" / f"{model}.json"
            if calibration.is_file():
                _bound(folder, Intervals.read(calibration), trained.anchor_phase)
            _compare(root, folder, patient_of({"option": stated, "scan": in_header, "ECG": _stated_by_ecg(root)}))
        faults = _export(folder, formats)
    if faults:
        raise UsageError(f"the heart is in {out}, but not in every format: {'; '.join(faults)}")


def _write_cohort(root: Path, ecg: Path | None, scan: Path, lone: bool, ed_frame: int | None) -> None:
    """Write the batch sheet and the key of a cohort of one subject."""
    who = {"subject": NAME, "participant": NAME, "visit": 0}
    files = {
        "ecg": str(ecg or ""),
        "cine": "" if lone else str(scan),
        "anchor": str(scan) if lone else "",
        "annotation": "",
    }
    ed = pd.array([pd.NA if ed_frame is None else ed_frame], "Int64")
    write_table(root / "key", pd.DataFrame([who | files]).assign(ed_frame=ed), {})
    write_table(root / "sheet", pd.DataFrame([who | {"split": SPLIT, "batch": NAME, "annotated": False}]), {})


def _run(exclusions: Path, said: str, done: str, stage: Callable[..., None], **arguments: Any) -> None:
    """Run one stage, and raise what would exclude a subject of a cohort.

    Args:
        exclusions: path of the stage's table of exclusions.
        said: the option and file to name in the error.
        done: name of the step.
        stage: function of the stage.
        arguments: arguments of the stage.

    Raises:
        CofError: the stage excluded the subject.
    """
    with step(done), _without_counts():
        stage(**arguments, exclusions=exclusions)
        for _, row in read_table(exclusions).iterrows():
            raise CofError(Reason(row["reason"]), f"{said}: {row['message']}")


@contextmanager
def _without_counts() -> Iterator[None]:
    """Keep the counts of a cohort out of the log; details for `--verbose` stay."""

    def is_detail(record: logging.LogRecord) -> bool:
        return record.levelno < logging.INFO

    loggers = [logging.getLogger(name) for name in _COUNTS_OF_COHORTS]
    for logger in loggers:
        logger.addFilter(is_detail)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(is_detail)


def _check_kinds(ecg: Path | None, scan: Path, reading: Reading) -> bool:
    """Check that both files can be read, and tell whether the scan is a single anchor volume.

    Raises:
        CofError: the scan or the ECG cannot be read. If the two files were exchanged, the message says so.
    """
    wrong_ecg = None
    try:
        if ecg is not None:
            read_ecg(ecg, reading.ecg)
    except CofError as error:
        wrong_ecg = error
    try:
        frames = len(read_cine_source(scan, reading.cine.max_missing).frames)
    except CofError as error:
        if _reads(read_ecg, scan):
            told = f"--ecg got a scan ({ecg}), and --scan got an ECG ({scan}): exchange them"
            scanned = wrong_ecg is not None and _reads(partial(read_cine_source, max_missing=1.0), ecg)
            raise CofError(error.reason, told if scanned else f"--scan got an ECG: {scan}") from None
        raise CofError(error.reason, f"--scan {scan}: {error}") from None
    if wrong_ecg is not None:
        if _reads(partial(read_cine_source, max_missing=1.0), ecg):
            raise CofError(wrong_ecg.reason, f"--ecg got a scan: {ecg}") from None
        raise CofError(wrong_ecg.reason, f"--ecg {ecg}: {wrong_ecg}") from None
    return frames == 1


def _reads(reader: Callable[[Path], object], path: Path | None) -> bool:
    if path is None:
        return False
    try:
        reader(path)
    except CofError:
        return False
    return True


def _say_repairs(root: Path) -> None:
    """Log the repairs of the ECG and of the scan."""
    scan = read_cine(root / "cine" / f"{NAME}.nii")
    for source, repairs in (("ECG", _ecg_repairs(root)), ("scan", scan.repairs)):
        for repair in repairs:
            log.info("%s: %s", source, repair)
    if scan.synthetic:
        log.warning("the scan is synthetic according to its header: it shows no recorded heart")


def _strip(root: Path) -> pd.Series | None:
    """Return the row of the ECG in the table of its stage; None without an ECG."""
    return read_table(root / "ecg").iloc[0] if (root / "ecg").is_file() else None


def _ecg_repairs(root: Path) -> list[str]:
    """Return the repairs of the ECG; an empty list without an ECG."""
    strip = _strip(root)
    return [] if strip is None else list(strip["repairs"])


def _told_by_ecg(root: Path) -> dict[str, Any] | None:
    """Return the measures of the ECG for `summary.json`; None without an ECG."""
    beats = read_table(root / "beats")
    return None if beats.empty else ecg_record(beats.iloc[0], _strip(root))


def _stated_by_ecg(root: Path) -> dict[str, Any]:
    """Return what the ECG states about the patient, as `cof.twins.patient.patient_of` takes it."""
    strip = _strip(root)
    if strip is None:
        return {}
    ecg = Ecg.from_row(strip)
    numbers = {name: ecg.measurements[name] for name in POSSIBLE if name in ecg.measurements}
    return ({"sex": ecg.sex} if ecg.sex else {}) | numbers


def _keep(root: Path, folder: Path) -> None:
    """Put beside the heart what it was made from (`cof.twins.artefacts.BESIDE`): a whole cine, a cycle of the ECG."""
    scan = root / "cine" / f"{NAME}.nii"
    if read_cine(scan).kind == "cycle":
        shutil.copy(scan, folder / f"{SCAN}.nii")
        shutil.copy(sidecar(scan), folder / f"{SCAN}.json")
        shutil.copy(root / "labels" / f"{NAME}.nii.gz", folder / f"{SCAN}.labels.nii.gz")
    beats = read_table(root / "beats")
    if len(beats):
        beat = beats.iloc[0]
        write_beat(folder / BEAT, np.reshape(beat["beat"], (len(LEADS), -1)), float(beat["rr_ms"]))


def _summarise(root: Path, folder: Path, model: str, lone: bool) -> None:
    """Write `volumes.csv` and `summary.json`."""
    twin = json.loads(sidecar(folder / f"{NAME}.nii").read_text())
    function = json.loads((folder / f"{NAME}.function.json").read_text())
    curves = {f"{ventricle.lower()}_ml": function[ventricle].pop("volume_ml") for ventricle in ("LV", "RV")}
    volumes = pd.DataFrame({"frame": range(len(curves["lv_ml"])), "time_ms": function.pop("frame_times_ms")} | curves)
    volumes.to_csv(folder / "volumes.csv", index=False)
    ecg = _told_by_ecg(root)
    stack = read_cine(root / "cine" / f"{NAME}.nii")
    summary = {
        "notice": NOTICE if ecg is not None else WITHOUT_ECG,
        "model": model,
        "function": function,
        "ecg": ecg,
        "scan": scan_record(stack, lone, twin["anchor_phase"]),
        "measures": twin["measures"],
        "provenance": twin["provenance"],
    }
    (folder / "summary.json").write_text(json.dumps(summary, indent=1, sort_keys=True, allow_nan=False))


def _bound(folder: Path, intervals: Intervals, anchor_phase: float) -> None:
    """Add the conformal intervals of a calibrated model to `summary.json` and `volumes.csv`.

    Args:
        folder: folder of the heart.
        intervals: intervals of its model.
        anchor_phase: phase of the anchors in the calibration; the intervals hold for no other phase.
    """
    summary = json.loads((folder / "summary.json").read_text())
    if summary["scan"]["anchor_phase"] != anchor_phase:
        summary["intervals"] = {"note": "None: the intervals were calibrated with anchors of another phase."}
    else:
        volumes = pd.read_csv(folder / "volumes.csv")
        scale = Scale.of(summary["measures"], len(volumes))
        found = intervals.around(volumes["lv_ml"].to_numpy(float), scale)
        curve = found.pop("curve_ml")
        volumes.assign(lv_low_ml=curve["low"], lv_high_ml=curve["high"]).to_csv(folder / "volumes.csv", index=False)
        summary["intervals"] = found
    (folder / "summary.json").write_text(json.dumps(summary, indent=1, sort_keys=True, allow_nan=False))


def _export(folder: Path, formats: tuple[str, ...]) -> list[str]:
    """Write the heart in some formats, each into a folder of its name, and return why others could not be written.

    A heart takes minutes, and is not given up because one format cannot show it.
    """
    if not formats:
        return []
    faults = []
    heart = Heart.read(folder)
    for name in chosen_of(heart, formats):
        try:
            with step(f"format {name}"):
                export(heart, folder, [name])
        except (UsageError, CofError, *DATA_ERRORS) as error:
            log.debug("traceback of the format %s", name, exc_info=True)
            shutil.rmtree(folder / name, ignore_errors=True)
            faults.append(f"{name}: {error}")
    return faults


def _compare(root: Path, folder: Path, patient: Patient) -> None:
    """Add `patient`, `reference` and `indices` to `summary.json`: the numbers beside those of the scan and of health.

    Args:
        root: folder of the stages' results.
        folder: folder of the heart.
        patient: the patient.
    """
    file = folder / "summary.json"
    summary = json.loads(file.read_text())
    scan = read_cine(root / "cine" / f"{NAME}.nii")
    recorded = None
    if scan.kind == "cycle":
        recorded = heart_function(scan, read_labels(root / "labels" / f"{NAME}.nii.gz"))
    described = patient.record()
    indices = index_records(
        summary["function"], recorded, summary.get("intervals", {}), described["sex"], described["bsa_m2"]
    )
    summary |= {"patient": described, "reference": reference_record(), "indices": indices}
    file.write_text(json.dumps(summary, indent=1, sort_keys=True, allow_nan=False))
