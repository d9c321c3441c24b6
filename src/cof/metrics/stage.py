"""The stage of evaluation: it compares generated hearts with real ones and writes one long-form table per batch."""

import json
import logging
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import typer
from safetensors.numpy import load_file

from cof.artefacts.exclusions import Exclusions
from cof.artefacts.parquet import read_table, write_table
from cof.artefacts.provenance import stamp
from cof.cine.grid import Placement, nearest_frame, read_grid, resample_phase
from cof.cine.volume import Cine, read_cine, read_labels, sidecar
from cof.config.base import Triple
from cof.config.metrics import DEFINITIONS_VERSION, LONG_FORM
from cof.errors import CofError, Reason
from cof.heart.function import (
    curve_correlation,
    myocardial_mass,
    pearson,
    time_to_end_systole,
    ventricular_function,
    volume_curve,
)
from cof.heart.structures import STRUCTURES
from cof.inputs import Batch, File, Folder
from cof.metrics.conformal import QUANTITIES, Intervals, Scale, scores
from cof.metrics.image import psnr, ssim
from cof.metrics.motion import anchor_referenced, end_point_error, frame_to_frame
from cof.metrics.overlap import about_structures, dice, iou
from cof.metrics.regional import SEGMENTS, RegionalFunction, is_mirrored, regional_function
from cof.motion.jacobian import jacobian_determinant, regularity
from cof.motion.resolution import motion_spacing
from cof.options import BeatTable, CineBatch, ExclusionsOut, GridBatch, Key, LabelBatch, OutFile, Sheet
from cof.progress import progress
from cof.truth.artefacts import Truth
from cof.truth.sampling import frames_at_phases, labels_on_motion_grid

log = logging.getLogger(__name__)

HEART = "heart"
# A segment counts as infarcted if more than this share of it is scar.
SCARRED = 0.5


@dataclass
class Rows:
    """The long-form rows of one subject."""

    subject: str
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, metric: str, value: float, structure: str = "", frame: int | None = None) -> None:
        """Add one value; `frame` is set if it belongs to one frame."""
        row = dict(zip(LONG_FORM, (self.subject, structure, frame, None, metric, float(value), DEFINITIONS_VERSION)))
        self.rows.append(row)

    def add_frames(self, metric: str, values: np.ndarray, structure: str, anchor: int = 0) -> None:
        """Add the values [T] of all frames except the anchor, which every generator copies."""
        for frame, value in enumerate(values):
            if frame != anchor:
                self.add(metric, value, structure, frame)


@dataclass(frozen=True)
class Reference:
    """The real heart of one subject.

    Attributes:
        cine: float32 [T, Z, Y, X], canonical, intensities in [0, 1].
        placement: placement of the canonical grid in the native stack.
        labels: nnU-Net's labels, uint8 [T', Z', Y', X'], native.
        spacing_mm: native spacing (z, y, x).
        rr_ms: RR interval of the scan.
        displacement: registered displacement [T, 3, Z, Y/2, X/2] in mm; None if the subject was not registered.
        truth: exact truth of a synthetic subject; None for real subjects.
        sex: "M", "F" or "", as the ECG states it.
        mirrored: whether the image is a mirror image of the short-axis view from the apex.
        rr_ecg_ms: RR interval of the ECG that the generated heart got; NaN without an ECG.
    """

    cine: np.ndarray
    placement: Placement
    labels: np.ndarray
    spacing_mm: Triple
    rr_ms: float
    displacement: np.ndarray | None
    truth: Truth | None
    sex: str = ""
    mirrored: bool = False
    rr_ecg_ms: float = math.nan


def evaluate_batch(
    *,
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
    """Compare every generated heart of a batch with the real one.

    Args:
        sheet, twins: as annotated.
        key: raw participant and visit of every subject; they locate the exact truth.
        beats: table of the beats, for sex and RR interval of every subject.
        cine, labels, grid: the real hearts of the batch: native cines, their labels, canonical cines.
        fields: registered displacements, the reference of end-point errors.
        out: table with the columns `cof.config.metrics.LONG_FORM`.
        exclusions: table of the subjects that could not be evaluated.
        truth: `phantom/truth`, or None for real subjects.
        intervals: calibrated intervals whose coverage is measured; None for a model without intervals.
    """
    calibrated = Intervals.read(intervals) if intervals is not None else None
    excluded = Exclusions("metrics")
    raw = read_table(key).set_index("subject")
    heard = read_table(beats).set_index("subject")
    rows: list[dict[str, Any]] = []
    for subject in progress(sorted(read_table(sheet)["subject"]), "evaluation", "subject"):
        twin = twins / f"{subject}.safetensors"
        if not twin.is_file():  # not held out, or excluded from generation
            continue
        with excluded.guard(subject):
            native = read_cine(cine / f"{subject}.nii")
            if native.kind != "cycle":  # a lone anchor or a pair has no cycle to compare with
                continue
            exact = None
            if truth is not None:
                name = f"{raw.loc[subject, 'participant']}_{raw.loc[subject, 'visit']}"
                exact = Truth.read(truth, name, native)
            reference = read_reference(subject, native, labels, grid, fields, exact, str(heard["sex"].get(subject, "")))
            generated_labels = read_labels(twins / f"{subject}.labels.nii.gz")
            record = json.loads(sidecar(twins / f"{subject}.nii").read_text())
            rr_ecg_ms = record["measures"].get("ecg_rr_ms", heard["rr_ms"].get(subject, math.nan))
            reference = replace(reference, rr_ecg_ms=float(rr_ecg_ms))
            rows += evaluate(subject, load_file(twin), generated_labels, reference, record["anchor_phase"])
            rows += interval_rows(subject, generated_labels, reference, record["measures"], calibrated)
    types = {"subject": "string", "structure": "string", "frame": "Int32", "slice": "Int32", "metric": "string"}
    table = pd.DataFrame(rows, columns=list(LONG_FORM)).astype(types | {"value": "float64", "version": "string"})
    write_table(out, table, stamp({"definitions": DEFINITIONS_VERSION}))
    excluded.write(exclusions)


def read_reference(
    subject: str, native: Cine, labels: Path, grid: Path, fields: Path, truth: Truth | None, sex: str
) -> Reference:
    """Return the real heart of one subject, from its native cine and the folders of its batch."""
    canonical, placement, _ = read_grid(grid / f"{subject}.nii")
    registered = fields / f"{subject}.safetensors"
    return Reference(
        canonical,
        placement,
        read_labels(labels / f"{subject}.nii.gz"),
        native.spacing_mm,
        native.rr_ms,
        load_file(registered)["displacement"] if registered.is_file() else None,
        truth,
        sex,
        is_mirrored(native),
    )


def evaluate(
    subject: str,
    generated: dict[str, np.ndarray],
    labels: np.ndarray,
    reference: Reference,
    anchor_phase: float = 0.0,
) -> list[dict[str, Any]]:
    """Return all long-form rows of one subject.

    Args:
        subject: pseudonym.
        generated: `cine` [T, Z, Y, X], canonical, in [0, 1]; and, for a family that has one, `displacement`
            [T, 3, Z, Y/2, X/2] in mm, pointing to frame 0.
        labels: native labels [T', Z', Y', X'] of the generated cine.
        reference: the real heart.
        anchor_phase: phase of the anchor; the generated heart copies this frame, so it is left out.

    Raises:
        CofError: the generated and the real heart do not have the same grid.
    """
    if generated["cine"].shape != reference.cine.shape or labels.shape[1:] != reference.labels.shape[1:]:
        raise CofError(Reason.CINE_GEOMETRY, "the generated heart and the real one do not have the same grid")
    rows = Rows(subject)
    _images(rows, generated["cine"], reference, nearest_frame(anchor_phase, len(reference.cine)))
    anchor = nearest_frame(anchor_phase, len(labels))
    _segmentation(rows, labels, reference.labels, reference, "", anchor)
    if reference.truth is not None:
        _segmentation(rows, labels, reference.truth.labels, reference, "_exact", anchor)
        rows.add("t_es_true_ms", reference.truth.t_es_ms, "LV")
    rows.add("hr_bpm", 60_000 / reference.rr_ms)
    rows.add("male", {"M": 1.0, "F": 0.0}.get(reference.sex, 0.5))
    if "displacement" in generated:
        ours = generated["displacement"].astype(np.float32)
        exact = reference.truth.on_motion_grid(reference.placement, len(ours)) if reference.truth is not None else None
        _displacement(rows, ours, reference, exact)
        _regions(rows, ours, reference, None if exact is None else exact[0])
    return rows.rows


def interval_rows(
    subject: str, labels: np.ndarray, reference: Reference, measures: dict[str, Any], intervals: Intervals | None
) -> list[dict[str, Any]]:
    """Return the long-form rows of a heart's scores and, for a calibrated model, of its intervals and their coverage.

    Args:
        subject: pseudonym.
        labels: native labels [T, Z, Y, X] of the generated cine.
        reference: the real heart.
        measures: measures of the generated heart.
        intervals: calibration of the model; None if it is not calibrated.
    """
    rows = Rows(subject)
    references = [("", reference.labels)]
    if reference.truth is not None:
        references.append(("_exact", reference.truth.labels))
    ours = volume_curve(labels, STRUCTURES["LV"], reference.spacing_mm)
    scale = Scale.of(measures, len(ours))
    for suffix, theirs in references:
        found = scores(ours, volume_curve(theirs, STRUCTURES["LV"], reference.spacing_mm), scale)
        for name in QUANTITIES:
            rows.add(f"{name}{suffix}_score", found[name], "LV")
            if intervals is not None:
                rows.add(f"{name}{suffix}_covered", found[name] <= intervals.quantiles[name], "LV")
    if intervals is not None:
        half = intervals.half_widths(scale)
        for name, unit in (("ef", "pct"), ("esv", "ml"), ("curve", "ml")):
            rows.add(f"{name}_interval_width_{unit}", 2 * float(half[name].mean()), "LV")
    return rows.rows


def _images(rows: Rows, generated: np.ndarray, reference: Reference, anchor: int) -> None:
    """Add SSIM, PSNR, M-Corr and M-SSIM, on valid slices, over the cycle that begins at the anchor."""
    valid = np.array(reference.placement.valid)
    ours, real = generated[:, valid].astype(np.float32), reference.cine[:, valid]
    if anchor:
        ours, real = np.roll(ours, -anchor, axis=0), np.roll(real, -anchor, axis=0)
    rows.add("ssim", ssim(ours, real))
    rows.add("psnr", psnr(ours, real))
    for suffix, agreement in (("", frame_to_frame(ours, real)), ("_ed", anchor_referenced(ours, real))):
        rows.add(f"m_corr{suffix}", agreement.correlation)
        rows.add(f"m_ssim{suffix}", agreement.ssim)
        rows.add(f"m_flat{suffix}", agreement.flat)


def _segmentation(
    rows: Rows, ours: np.ndarray, theirs: np.ndarray, reference: Reference, suffix: str, anchor: int
) -> None:
    """Add overlap and function of the generated labels, compared with reference labels on the same native grid."""
    spacing, rr_ms = reference.spacing_mm, reference.rr_ms
    ours, theirs = about_structures(ours, theirs)
    matched = theirs[frames_at_phases(len(theirs), len(ours))]
    for name, label in STRUCTURES.items():
        rows.add_frames(f"dice{suffix}", dice(ours, matched, label), name, anchor)
        rows.add_frames(f"iou{suffix}", iou(ours, matched, label), name, anchor)
    for name in ("LV", "RV"):
        mine, real = (volume_curve(labels, STRUCTURES[name], spacing) for labels in (ours, theirs))
        of_mine, of_real = ventricular_function(mine, rr_ms), ventricular_function(real, rr_ms)
        _compare(rows, "edv", "ml", name, suffix, of_mine.edv_ml, of_real.edv_ml)
        _compare(rows, "esv", "ml", name, suffix, of_mine.esv_ml, of_real.esv_ml)
        _compare(rows, "sv", "ml", name, suffix, of_mine.sv_ml, of_real.sv_ml)
        _compare(rows, "ef", "pct", name, suffix, of_mine.ef_pct, of_real.ef_pct)
        _compare(rows, "co", "l_min", name, suffix, of_mine.co_l_min, of_real.co_l_min)
        if name == "LV":
            correlation = curve_correlation(mine, resample_phase(real, len(mine)))
            rows.add(f"lv_curve{suffix}_r", np.nan_to_num(correlation), name)
            rows.add(f"lv_curve{suffix}_flat", np.isnan(correlation), name)
            times = (time_to_end_systole(curve, rr_ms) for curve in (mine, real))
            _compare(rows, "t_es", "ms", name, suffix, *times)
            in_own_time = time_to_end_systole(mine, reference.rr_ecg_ms) - time_to_end_systole(real, rr_ms)
            rows.add(f"t_es_own{suffix}_error_ms", in_own_time, name)
    masses = (myocardial_mass(labels[0], STRUCTURES["myocardium"], spacing) for labels in (ours, theirs))
    _compare(rows, "lvm", "g", "myocardium", suffix, *masses)


def _compare(rows: Rows, index: str, unit: str, structure: str, suffix: str, ours: float, theirs: float) -> None:
    """Add one index of the generated heart (only without a suffix) and of the reference, and the signed error."""
    if not suffix:
        rows.add(f"{index}_{unit}", ours, structure)
    rows.add(f"{index}{suffix or '_reference'}_{unit}", theirs, structure)
    rows.add(f"{index}{suffix}_error_{unit}", ours - theirs, structure)


def _regions(rows: Rows, ours: np.ndarray, reference: Reference, exact: np.ndarray | None) -> None:
    """Add the regional function of the generated heart, compared with that of registered and exact displacement."""

    def of(displacement: np.ndarray) -> RegionalFunction:
        return regional_function(
            reference.labels[0], displacement, reference.placement, reference.rr_ms, reference.mirrored
        )

    made = of(ours)
    rows.add("peak_sd_ms", made.peak_sd_ms, "LV")
    for suffix, name, displacement in (("", "_reference", reference.displacement), ("_true", "_true", exact)):
        if displacement is None:
            continue
        real = of(displacement)
        rows.add(f"peak_sd{name}_ms", real.peak_sd_ms, "LV")
        rows.add(f"peak_sd{suffix}_error_ms", made.peak_sd_ms - real.peak_sd_ms, "LV")
        both = np.isfinite(made.thickening_pct) & np.isfinite(real.thickening_pct)
        if both.sum() > SEGMENTS / 2:
            agreement = pearson(made.thickening_pct[both], real.thickening_pct[both])
            rows.add(f"thickening{suffix}_r", np.nan_to_num(agreement), "LV")
        scar = np.array(reference.truth.infarct_share) > SCARRED if reference.truth is not None else np.empty(0, bool)
        if suffix and (scar := np.flatnonzero(scar)).size and both[scar].any():
            rows.add("infarct_thickening_pct", np.nanmean(made.thickening_pct[scar]), "LV")
            rows.add("infarct_thickening_true_pct", np.nanmean(real.thickening_pct[scar]), "LV")


def _displacement(
    rows: Rows, ours: np.ndarray, reference: Reference, exact: tuple[np.ndarray, np.ndarray] | None
) -> None:
    """Add end-point errors and regularity of a displacement on the motion grid, on valid slices."""
    placement = reference.placement
    valid = np.array(placement.valid)[:, None, None]
    heart = labels_on_motion_grid(reference.labels, placement) > 0
    heart = heart[frames_at_phases(len(heart), len(ours))] & valid
    if reference.displacement is not None:
        _end_points(rows, "epe", ours, reference.displacement, heart)
    if exact is not None:
        _end_points(rows, "epe_true", ours, exact[0], exact[1] & valid)
    determinant = jacobian_determinant(torch.from_numpy(ours[1:]), motion_spacing(placement.spacing_mm))
    for structure, mask in (("", np.broadcast_to(valid, heart[1:].shape)), (HEART, heart[1:])):
        if mask.any():
            found = regularity(determinant, torch.from_numpy(mask.copy()))
            rows.add("folded_pct", 100 * found.folded_share, structure)
            rows.add("min_jacobian", found.min_jacobian, structure)
            rows.add("sd_log_jacobian", found.sd_log_jacobian, structure)


def _end_points(rows: Rows, name: str, ours: np.ndarray, theirs: np.ndarray, mask: np.ndarray) -> None:
    rows.add_frames(f"{name}_mm", end_point_error(ours, theirs, mask), HEART)
    rows.add_frames(f"{name}_in_plane_mm", end_point_error(ours[:, 1:], theirs[:, 1:], mask), HEART)
