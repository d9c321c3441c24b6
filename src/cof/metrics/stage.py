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
    curve_error,
    curve_shape,
    myocardial_mass,
    time_to_end_systole,
    ventricular_function,
    volume_curve,
)
from cof.heart.structures import STRUCTURES
from cof.inputs import Batch, File, Folder
from cof.metrics.conformal import QUANTITIES, Intervals, Scale, scores
from cof.metrics.hausdorff import hd95, one_empty
from cof.metrics.image import psnr, ssim
from cof.metrics.motion import anchor_referenced, end_point_error, frame_to_frame, ssim_in_range
from cof.metrics.overlap import about_structures, dice, iou
from cof.metrics.region import heart_region
from cof.metrics.regional import is_mirrored
from cof.metrics.regional_rows import regional_rows
from cof.metrics.slices import ranked_slices, slice_agreement
from cof.motion.jacobian import jacobian_determinant, regularity
from cof.motion.resolution import motion_spacing
from cof.options import BeatTable, CineBatch, ExclusionsOut, GridBatch, Key, LabelBatch, OutFile, Sheet
from cof.progress import progress
from cof.truth.artefacts import Truth
from cof.truth.sampling import frames_at_phases, labels_on_motion_grid

log = logging.getLogger(__name__)

HEART = "heart"


@dataclass
class Rows:
    """The long-form rows of one subject."""

    subject: str
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(
        self, metric: str, value: float, structure: str = "", frame: int | None = None, rank: int | None = None
    ) -> None:
        """Add one value; `frame` is set if it belongs to one frame, `rank` if it belongs to one slice."""
        row = dict(zip(LONG_FORM, (self.subject, structure, frame, rank, metric, float(value), DEFINITIONS_VERSION)))
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
    _slices(rows, labels, reference, anchor)
    rows.add("spacing_in_plane_mm", reference.spacing_mm[2])
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
    """Add SSIM, PSNR, M-Corr and M-SSIM, on valid slices and in the heart, over the cycle that begins at the anchor."""
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
    in_range = ssim_in_range(ours, real)
    rows.add("m_ssim_range", _mean(in_range))
    rows.add("m_ssim_range_missing", np.isnan(in_range).mean())
    heart = heart_region(reference.labels, reference.placement)[valid]
    rows.add("ssim_heart", ssim(ours, real, heart), HEART)
    rows.add("psnr_heart", psnr(ours, real, heart), HEART)
    agreement = frame_to_frame(ours, real, heart)
    rows.add("m_corr_heart", agreement.correlation, HEART)
    rows.add("m_ssim_heart", agreement.ssim, HEART)
    rows.add("m_flat_heart", agreement.flat, HEART)


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
        masks = ours == label, matched == label
        rows.add_frames(f"hd95{suffix}_mm", hd95(*masks, spacing), name, anchor)
        rows.add(f"hd95{suffix}_missing", np.delete(one_empty(*masks), anchor).mean(), name)
    for name in ("LV", "RV"):
        mine, real = (volume_curve(labels, STRUCTURES[name], spacing) for labels in (ours, theirs))
        of_mine, of_real = ventricular_function(mine, rr_ms), ventricular_function(real, rr_ms)
        _compare(rows, "edv", "ml", name, suffix, of_mine.edv_ml, of_real.edv_ml)
        _compare(rows, "esv", "ml", name, suffix, of_mine.esv_ml, of_real.esv_ml)
        _compare(rows, "sv", "ml", name, suffix, of_mine.sv_ml, of_real.sv_ml)
        _compare(rows, "ef", "pct", name, suffix, of_mine.ef_pct, of_real.ef_pct)
        _compare(rows, "co", "l_min", name, suffix, of_mine.co_l_min, of_real.co_l_min)
        if name == "LV":
            _curve(rows, mine, real, reference, suffix)
    masses = (myocardial_mass(labels[0], STRUCTURES["myocardium"], spacing) for labels in (ours, theirs))
    _compare(rows, "lvm", "g", "myocardium", suffix, *masses)


def _slices(rows: Rows, ours: np.ndarray, reference: Reference, anchor: int) -> None:
    """Add overlap and HD95 of each ranked slice: at ED, at the reference's ES, and over all frames after the anchor."""
    theirs = reference.labels[frames_at_phases(len(reference.labels), len(ours))]
    ranked = ranked_slices(theirs[0])
    rows.add("ranked_slices", len(ranked))
    systole = int((theirs == STRUCTURES["LV"]).sum(axis=(1, 2, 3)).argmin())
    after = [frame for frame in range(len(ours)) if frame != anchor]
    ours, theirs = about_structures(ours[:, ranked], theirs[:, ranked])
    for name, label in STRUCTURES.items():
        found = slice_agreement(ours, theirs, label, reference.spacing_mm[1:])
        for suffix, frames in (("_ed", [0]), ("_es", [systole]), ("", after)):
            for rank in range(1, len(ranked) + 1):
                place = frames, rank - 1
                rows.add(f"dice_slice{suffix}", _mean(found.dice[place]), name, rank=rank)
                rows.add(f"iou_slice{suffix}", _mean(found.iou[place]), name, rank=rank)
                rows.add(f"hd95_slice{suffix}_mm", _mean(found.hd95_mm[place]), name, rank=rank)
                rows.add(f"hd95_slice{suffix}_missing", found.missing[place].mean(), name, rank=rank)


def _mean(values: np.ndarray) -> float:
    """Return the mean of the defined values; NaN if there is none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def _curve(rows: Rows, ours: np.ndarray, theirs: np.ndarray, reference: Reference, suffix: str) -> None:
    """Add agreement, timing and shape of the generated LV volume curve [T] in mL, compared with a reference [T']."""
    rr_ms = reference.rr_ms
    resampled = resample_phase(theirs, len(ours))
    correlation = curve_correlation(ours, resampled)
    rows.add(f"lv_curve{suffix}_r", np.nan_to_num(correlation), "LV")
    rows.add(f"lv_curve{suffix}_flat", np.isnan(correlation), "LV")
    rows.add(f"lv_curve{suffix}_nrmse", curve_error(ours, resampled), "LV")
    times = time_to_end_systole(ours, rr_ms), time_to_end_systole(theirs, rr_ms)
    _compare(rows, "t_es", "ms", "LV", suffix, *times)
    rows.add(f"t_es_own{suffix}_error_ms", time_to_end_systole(ours, reference.rr_ecg_ms) - times[1], "LV")
    shapes = curve_shape(ours, rr_ms), curve_shape(theirs, rr_ms)
    for index, unit in (("peak_ejection", "ml_s"), ("peak_filling", "ml_s"), ("atrial_kick", "pct")):
        _compare(rows, index, unit, "LV", suffix, *(getattr(shape, f"{index}_{unit}") for shape in shapes))
    if not suffix:
        rows.add("filling_waves", shapes[0].filling_waves, "LV")
    rows.add(f"filling_waves{suffix or '_reference'}", shapes[1].filling_waves, "LV")


def _compare(rows: Rows, index: str, unit: str, structure: str, suffix: str, ours: float, theirs: float) -> None:
    """Add one index of the generated heart (only without a suffix) and of the reference, and the signed error."""
    if not suffix:
        rows.add(f"{index}_{unit}", ours, structure)
    rows.add(f"{index}{suffix or '_reference'}_{unit}", theirs, structure)
    rows.add(f"{index}{suffix}_error_{unit}", ours - theirs, structure)


def _regions(rows: Rows, ours: np.ndarray, reference: Reference, exact: np.ndarray | None) -> None:
    """Add the regional function of the generated heart, compared with that of registered and exact displacement."""
    for metric, value, structure in regional_rows(
        reference.labels,
        reference.placement,
        reference.rr_ms,
        reference.mirrored,
        ours,
        {"registered": reference.displacement, "exact": exact},
        () if reference.truth is None else reference.truth.infarct_share,
    ):
        rows.add(metric, value, structure)


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
