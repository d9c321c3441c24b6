"""The cine stages of one batch: stacking raw files on the native grid, and resampling to the canonical grid."""

import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from cof.artefacts.exclusions import Exclusions
from cof.artefacts.folders import whole_folder
from cof.artefacts.origin import REAL, origins
from cof.artefacts.pairs import es_phases
from cof.artefacts.parquet import read_table
from cof.artefacts.provenance import stamp
from cof.cine.annotations import read_annotation, towards_apex
from cof.cine.ed import find_ed
from cof.cine.geometry import flip_slices, onto_stack
from cof.cine.grid import make_grid, write_grid
from cof.cine.nifti import is_nifti, read_nifti
from cof.cine.reader import read_cine_source
from cof.cine.volume import Cine, read_anchor_labels, read_cine, write_cine, write_labels
from cof.config.data import CineSettings, GridSettings
from cof.errors import CofError, Reason, UsageError
from cof.heart.codes import read_map
from cof.heart.structures import STRUCTURES
from cof.inputs import Table
from cof.options import CineBatch, ExclusionsOut, Key, LabelBatch, Out, SettingsOf, Sheet
from cof.outputs import Form
from cof.progress import progress

log = logging.getLogger(__name__)


def stack_batch(
    *,
    sheet: Sheet,
    key: Key,
    out: Out,
    annotations: Annotated[Path, typer.Option(help="Folder for expert annotations on the native grid."), Form.FOLDER],
    exclusions: ExclusionsOut,
    settings: SettingsOf[CineSettings],
) -> None:
    """Stack the cine of every subject of a batch on its native grid, and write its expert annotation beside it.

    The cycle begins with the frame that `cof.cine.ed` finds. A subject with an anchor and no cine gets a cine of one
    frame. A subject with only ED and ES (`es_phase` of the sheet) gets a pair of two frames. A faulty annotation does
    not exclude the cine: its row in the table of exclusions has the stage `annotations`.

    Args:
        sheet, key, exclusions, settings: as annotated.
        out: folder of `{subject}.nii` and `.json`.
        annotations: folder of `{subject}.nii.gz`.

    Raises:
        UsageError: sheet and key are not of the same cohort.
    """
    cohort = read_table(sheet)
    phases = es_phases(cohort)
    subjects = list(phases.index)
    said_real = set(cohort.loc[origins(cohort) == REAL, "subject"])
    keys = read_table(key).set_index("subject")
    if not set(subjects) <= set(keys.index):
        raise UsageError(
            "--key lacks subjects of --sheet: they are of different cohorts; run `cof cohort` and `cof batch` again"
        )
    provenance = stamp(settings.model_dump(mode="json"))
    excluded, unannotated = Exclusions("cine"), Exclusions("annotations")
    with whole_folder(out) as cines, whole_folder(annotations) as labels:
        for subject in progress(subjects, "cine", "subject"):
            with excluded.guard(subject):
                files = keys.loc[subject]
                recorded = read_subject(files, settings, float(phases[subject]))
                if recorded.synthetic and subject in said_real:
                    raise CofError(
                        Reason.CINE_SYNTHETIC,
                        "the cohort says that this heart is real, and the images that they are synthetic "
                        "(SyntheticData or ImageType): leave the subject out, or correct its origin",
                    )
                drawn = None
                if files["annotation"]:
                    with unannotated.guard(subject):
                        codes = read_map(files["labels_map"]) if files["labels_map"] else None
                        mended: list[str] = []
                        drawn = read_annotation(Path(files["annotation"]), recorded, codes, mended)
                        recorded = replace(recorded, repairs=(*recorded.repairs, *mended))
                        recorded, drawn = _ordered_by_labels(recorded, drawn)
                if drawn is not None and recorded.kind == "pair":
                    _check_pair(drawn)
                named = files["ed_frame"]
                ed_frame, ed_by = find_ed(recorded, None if pd.isna(named) else int(named), drawn)
                cine = replace(recorded.rolled(ed_frame), ed_by=ed_by, provenance=provenance)
                write_cine(cines / f"{subject}.nii", cine)
                if drawn is not None:
                    write_labels(labels / f"{subject}.nii.gz", np.roll(drawn, -ed_frame, axis=0), recorded.affine)
    excluded.rows += unannotated.rows
    excluded.write(exclusions)


def read_subject(files: Any, settings: CineSettings, es_phase: float = math.nan) -> Cine:
    """Read the cine of one subject as recorded, its pair of ED and ES, or its anchor.

    Args:
        files: paths "cine" and "anchor", "" for a file that does not exist; at least one of them is given.
        settings: limits of what is accepted.
        es_phase: phase of ES, where the cine's file holds only ED and ES; NaN otherwise.

    Raises:
        CofError: a file cannot be used; the reason says why.
    """
    if math.isfinite(es_phase):
        path = Path(files["cine"])
        if path.exists() and not is_nifti(path):
            raise CofError(Reason.PAIR_MISMATCH, "a pair of ED and ES must be a NIfTI of two frames: convert it")
        pair = read_nifti(path, es_phase)
        _check_slices(pair, settings)
        return pair
    anchor = read_cine_source(Path(files["anchor"]), settings.max_missing) if files["anchor"] else None
    if anchor is not None and len(anchor.frames) > 1:
        raise CofError(Reason.ANCHOR_MISMATCH, f"the anchor has {len(anchor.frames)} frames; it must be one volume")
    if not files["cine"]:
        assert anchor is not None, "the cohort stage has checked the sheet for this"
        _check_slices(anchor, settings)
        return anchor
    cine = read_cine_source(Path(files["cine"]), settings.max_missing)
    _check_slices(cine, settings)
    if len(cine.frames) < settings.min_frames:
        raise CofError(
            Reason.CINE_TOO_FEW_FRAMES,
            f"{len(cine.frames)} frames; at least {settings.min_frames} are needed (cine.min_frames): give the whole "
            "cycle, or a single volume as the anchor",
        )
    if anchor is None:
        return cine
    slices, rows, columns = cine.frames.shape[1:]
    if onto_stack(anchor.frames, anchor.affine, (slices, rows, columns), cine.affine) is None:
        raise CofError(Reason.ANCHOR_MISMATCH, "the anchor does not lie on the voxels of the cine")
    return replace(cine, repairs=(*cine.repairs, "the given anchor is not used: the cine's own frame 0 is the anchor"))


def _check_pair(labels: np.ndarray) -> None:
    """Raise CofError for a pair [2, Z, Y, X] whose annotated left ventricle is not smaller at ES."""
    ed, es = (int((frame == STRUCTURES["LV"]).sum()) for frame in labels)
    if ed and es >= ed:
        raise CofError(
            Reason.PAIR_MISMATCH,
            f"the annotated LV has {es} voxels at ES and {ed} at ED: the first frame must be ED, the second ES",
        )


def _ordered_by_labels(cine: Cine, labels: np.ndarray) -> tuple[Cine, np.ndarray]:
    """Reverse the slices of cine and labels if the cine has no orientation and the labels begin at the apex."""
    if cine.oriented or towards_apex(labels) is not False:
        return cine, labels
    frames, affine = flip_slices(cine.frames, cine.affine)
    said = "slices reversed to run from base to apex, as the annotation shows"
    return replace(cine, frames=frames, affine=affine, repairs=(*cine.repairs, said)), labels[:, ::-1]


def _check_slices(cine: Cine, settings: CineSettings) -> None:
    slices = cine.frames.shape[1]
    if slices < settings.min_slices:
        raise CofError(
            Reason.CINE_TOO_FEW_SLICES,
            f"{slices} slice{'s' * (slices > 1)}; at least {settings.min_slices} are needed (cine.min_slices): give "
            "the whole short-axis stack",
        )


def grid_batch(
    *,
    cine: CineBatch,
    labels: LabelBatch,
    out: Out,
    exclusions: ExclusionsOut,
    settings: SettingsOf[GridSettings],
    excluded: Annotated[
        Path | None,
        typer.Option(help="Subjects to skip: exclusions/quality/{batch}.parquet."),
        Table(("subject", "reason")),
    ] = None,
) -> None:
    """Resample the cine of every labelled subject of a batch to the canonical grid, centred on its heart.

    Args:
        cine, exclusions, settings: as annotated.
        labels: folder of the labels; only those of the anchor frame are used.
        out: folder of `{subject}.nii` and `.json`.
        excluded: table of the subjects that the quality stage left out; skipped here, they reach no later stage.
    """
    provenance = stamp(settings.model_dump(mode="json"))
    passed_over = set() if excluded is None else set(read_table(excluded)["subject"])
    left_out = Exclusions("grid")
    with whole_folder(out) as folder:
        for path in progress(sorted(cine.glob("*.nii")), "grid", "subject"):
            subject = path.stem
            if subject in passed_over or not (labels / f"{subject}.nii.gz").is_file():
                continue
            with left_out.guard(subject):
                native = read_cine(path)
                frames, placement = make_grid(native, read_anchor_labels(labels / f"{subject}.nii.gz"), settings)
                write_grid(folder / path.name, frames, placement, replace(native, provenance=provenance))
    left_out.write(exclusions)
