"""The two stages of motion: train TOPPR, and register the cycle of every subject of a batch."""

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from safetensors.torch import load_model, save_model

from cof.artefacts.contents import write_learnt
from cof.artefacts.exclusions import Exclusions
from cof.artefacts.folders import beside, whole_folder
from cof.artefacts.origin import LEARNT_FROM, learnt_from
from cof.artefacts.provenance import digest, stamp
from cof.artefacts.sources import source
from cof.cine.grid import Placement, label_shares, nearest_frame, read_grid
from cof.cine.volume import read_labels
from cof.cohort import EveryFolder, EveryHashes, OfEveryBatch
from cof.config.motion import PathSettings, RegistrationSettings
from cof.errors import CofError, Reason, UsageError
from cof.inputs import Batch, Folder
from cof.motion.cycle import register_cycle
from cof.motion.fields import save_displacement
from cof.motion.toppr import Toppr
from cof.options import (
    Curves,
    Devices,
    ExclusionsOut,
    GridBatch,
    LabellerFolder,
    Out,
    Registration,
    Seed,
    SettingsOf,
    Subjects,
    Work,
)
from cof.progress import progress
from cof.training.run import Run

log = logging.getLogger(__name__)

WEIGHTS = "weights.safetensors"
SETTINGS = "settings.json"
LOG = "log.csv"


def train(
    *,
    subjects: Subjects,
    cine: EveryFolder,
    labels: EveryFolder,
    grid: EveryFolder,
    labeller: LabellerFolder,
    out: Out,
    work: Work,
    settings: SettingsOf[RegistrationSettings],
    seed: Seed = 0,
    curves: Curves = None,
    annotations: Annotated[
        list[Path] | tuple[Path, ...],
        typer.Option(help="Folder of annotations; lambda_labels uses them instead of the labels where they exist."),
        Folder(),
        OfEveryBatch(needed=False),
    ] = (),
    hashes: EveryHashes = None,
    devices: Devices = "auto",
) -> None:
    """Train one variant of TOPPR on the training split.

    Args:
        subjects: table of the cohort; subjects that an earlier stage left out are skipped.
        cine, labels, grid, curves, hashes: as annotated.
        labeller: folder of the labeller, which is the frozen teacher.
        out: folder of `weights.safetensors`, `settings.json`, `log.csv` (one row per iteration) and `learnt_from.txt`.
        work: folder of checkpoints. A killed training with the same data, code, settings and seed resumes from it. The
            checkpoint is removed when the training is done.
        settings: settings of the variant; the training does not use its `path`.
        seed: seed of initial weights, pairs, augmentation and slices.
        devices: as in `cof.training.run.Run`.

    Raises:
        UsageError: there is no training subject, or the subjects lie on different canonical grids.
    """
    from cof.labels.teacher import Teacher
    from cof.motion.dataset import find_subjects, fingerprint, open_subject
    from cof.motion.training import fit

    files = find_subjects(subjects, grid, cine, labels, annotations)
    if not files:
        raise UsageError(
            "TOPPR: no subject of the training split has a cine, labels and a canonical grid: look at the exclusions "
            "of the earlier stages"
        )

    settings = settings.trained()
    provenance = stamp(settings.model_dump(mode="json"))
    teacher_hash = hashlib.sha256((labeller / "labeller.json").read_bytes()).hexdigest()
    name = digest([provenance, seed, source(__name__), fingerprint(files), teacher_hash])
    checkpoint = work / f"{name}.pt"
    data = [open_subject(subject) for subject in progress(files, "reading the training subjects", "subject")]
    geometries = {(subject.placement.shape, subject.placement.spacing_mm) for subject in data}
    if len(geometries) > 1:
        raise UsageError(
            f"TOPPR: the training subjects lie on {len(geometries)} different canonical grids: make the grid of all "
            "batches again with the same settings"
        )

    teacher = Teacher.load(labeller) if settings.lambda_seg else None
    run = Run(checkpoint, curves, devices, "TOPPR")
    network, table = fit(data, settings, teacher, seed, run)
    with whole_folder(out) as folder:
        save_model(network, str(folder / WEIGHTS))
        table.to_csv(folder / LOG, index=False, float_format="%.6g")
        write_learnt(folder, hashes, [subject.name for subject in files])
        record = {
            "settings": settings.model_dump(mode="json"),
            "shape": list(data[0].placement.shape),
            "spacing_mm": list(network.spacing_mm),
            "seed": seed,
            "subjects": len(data),
            LEARNT_FROM: learnt_from(subjects, [subject.name for subject in files]),
            "trainings": [effort.record() for effort in run.efforts],
            "provenance": provenance,
        }
        (folder / SETTINGS).write_text(json.dumps(record, indent=1, sort_keys=True))
    checkpoint.unlink(missing_ok=True)


@dataclass(frozen=True)
class Trained:
    """A trained registration.

    Attributes:
        network: the network in evaluation mode, on the device to use.
        settings: settings of the variant.
        shape: voxels of the canonical grid of the training (z, y, x).
        sha256: SHA-256 of the weights.
    """

    network: Toppr
    settings: RegistrationSettings
    shape: tuple[int, int, int]
    sha256: str


def load(folder: Path) -> Trained:
    """Load the registration that `train` wrote into `folder`.

    Raises:
        UsageError: the folder holds no trained registration.
    """
    if not (folder / WEIGHTS).is_file() or not (folder / SETTINGS).is_file():
        raise UsageError(f"{folder} is not a trained registration; {beside(folder, WEIGHTS)}")
    record = json.loads((folder / SETTINGS).read_text())
    if "family" in record["settings"]:
        raise UsageError(
            f"{folder} is a trained model, not a trained registration; registrations are in registrations/"
        )
    settings = RegistrationSettings.model_validate(record["settings"])
    z, y, x = record["spacing_mm"]
    network = Toppr.of(settings, (z, y, x))
    load_model(network, str(folder / WEIGHTS))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    slices, rows, columns = record["shape"]
    sha256 = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    return Trained(network.to(device).eval(), settings, (slices, rows, columns), sha256)


def register_batch(
    *,
    grid: GridBatch,
    weights: Registration,
    out: Out,
    exclusions: ExclusionsOut,
    settings: SettingsOf[PathSettings],
    labels: Annotated[
        Path | None, typer.Option(help="labels/{batch}, for a refinement by labels."), Batch(".nii.gz")
    ] = None,
) -> None:
    """Register the cycle of every subject of a batch.

    Args:
        grid, weights, exclusions: as annotated.
        out: folder of `{subject}.safetensors`, the displacement paths with measures of their regularity. A subject with
            a single anchor volume gets none. The path of a pair has only ED and ES, and no low-pass.
        settings: refinement and temporal low-pass.
        labels: folder of the labels of the batch; needed only for a refinement by labels.

    Raises:
        UsageError: there is no trained registration, or no labels for a refinement by labels.
    """
    if settings.needs_labels and labels is None:
        raise UsageError(
            "path.refinement.lambda_labels is above 0, and no labels were given: give those of the batch by --labels, "
            "or set it to 0"
        )
    trained = load(weights)
    network, variant = trained.network, trained.settings.model_copy(update={"path": settings})
    provenance = stamp(variant.model_dump(mode="json")) | {"weights_sha256": trained.sha256}
    excluded = Exclusions("fields")
    with whole_folder(out) as folder:
        for path in progress(sorted(grid.glob("*.nii")), "registration", "subject"):
            with excluded.guard(path.stem):
                frames, placement, canonical = read_grid(path)
                if canonical.kind == "anchor":  # there is no motion to register
                    continue
                if not np.allclose(placement.spacing_mm, network.spacing_mm):
                    raise CofError(
                        Reason.CINE_GEOMETRY,
                        f"the canonical grid has spacing {placement.spacing_mm} mm (z, y, x), but the registration was "
                        f"trained with {network.spacing_mm} mm",
                    )
                asked = variant
                if canonical.kind == "pair":  # two frames have no harmonics of a cycle
                    asked = variant.model_copy(update={"path": settings.model_copy(update={"harmonics": None})})
                shares = None
                if settings.needs_labels and labels is not None:
                    shares = torch.from_numpy(_shares(labels / f"{path.stem}.nii.gz", placement, len(frames)))
                cycle = register_cycle(network, torch.from_numpy(frames), placement.valid, asked, labels=shares)
                measures: dict[str, Any] = {
                    "closure_mm": cycle.closure_mm,
                    "saturation": cycle.saturation,
                    **vars(cycle.regularity),
                }
                record: dict[str, Any] = {"measures": measures, "provenance": provenance}
                if canonical.kind == "pair":
                    record["es_phase"] = canonical.es_phase
                save_displacement(folder / f"{path.stem}.safetensors", cycle.displacement, record)
    excluded.write(exclusions)


def _shares(path: Path, placement: Placement, frames: int) -> np.ndarray:
    """Read label shares [frames, 4, Z, Y, X] on the canonical grid, each from the native frame nearest in phase."""
    native = read_labels(path)
    return label_shares(native[[nearest_frame(frame / frames, len(native)) for frame in range(frames)]], placement)
