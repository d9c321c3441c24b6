"""The quality stage of one batch: every labelled subject measured, and those beyond the configured limits left out."""

import logging
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from cof.artefacts.exclusions import Exclusions
from cof.artefacts.parquet import read_table, write_table
from cof.artefacts.provenance import stamp
from cof.cine.volume import Cine, read_cine, read_labels
from cof.config.data import QualityLimits
from cof.ecg.record import Ecg
from cof.errors import CofError
from cof.heart.structures import STRUCTURES
from cof.options import BeatTable, CineBatch, EcgTable, ExclusionsOut, LabelBatch, OutFile, SettingsOf
from cof.outputs import Form
from cof.progress import progress
from cof.quality import coverage, image, plausibility, rhythm
from cof.quality.catalogue import MEASURES, beyond

log = logging.getLogger(__name__)

# Ghosts are looked for in this many slices about the middle of the ventricle, where it moves most.
_GHOST_SLICES = 3


def measure_batch(
    *,
    ecg: EcgTable,
    beats: BeatTable,
    cine: CineBatch,
    labels: LabelBatch,
    out: OutFile,
    exclusions: ExclusionsOut,
    settings: SettingsOf[QualityLimits],
    checked: Annotated[
        Path | None, typer.Option("--plausibility", help="Table of what the labels say, to write."), Form.FILE
    ] = None,
) -> None:
    """Measure the quality of every labelled subject of a batch into `quality/{batch}.parquet`.

    Args:
        ecg, beats, cine, labels, settings: as annotated.
        out: a row a labelled subject, a column each of `cof.quality.catalogue.MEASURES`; NaN where an
            earlier stage left out what is measured. Subjects that are left out here have their row too.
        exclusions: table of the subjects beyond a limit, a row for every limit.
        checked: a row a labelled subject, a column each of `cof.quality.plausibility.CHECKS`; what is
            not plausible warns in the log, and leaves nobody out.
    """
    excluded = Exclusions("quality")
    strips, cycles = read_table(ecg).set_index("subject"), read_table(beats).set_index("subject")
    rows, checks = [], []
    for path in progress(sorted(labels.glob("*.nii.gz")), "quality", "subject"):
        subject = path.name.removesuffix(".nii.gz")
        with excluded.guard(subject):
            scan = read_cine(cine / f"{subject}.nii")
            drawn = read_labels(path)
            measured = measure_cine(scan, drawn)
            strip = Ecg.from_row(strips.loc[subject]) if subject in strips.index else None
            cycle: Any = cycles.loc[subject] if subject in cycles.index else None
            measured |= measure_ecg(strip, cycle, scan.rr_ms)
            rr_ecg_ms = float("nan") if cycle is None else float(cycle["rr_ms"])
            values = plausibility.measure(plausibility.Heart.of(drawn, scan.spacing_mm, scan.rr_ms, rr_ecg_ms))
            for doubt in plausibility.doubts(values):
                log.warning("%s: %s", subject, doubt.of("labels of the real cine"))
            checks.append({"subject": subject} | values)
            rows.append({"subject": subject} | measured)
            for measure in beyond(measured, settings):
                limit = getattr(settings, measure.key)
                found = f"{measured[measure.key]:.{measure.decimals}f} {measure.unit}".rstrip()
                excluded.add(subject, measure.reason, f"{measure.label} {found}, the limit is {limit:g}")
    columns = ["subject", *(measure.key for measure in MEASURES)]
    write_table(out, pd.DataFrame(rows, columns=columns), stamp(settings.model_dump(mode="json")))
    if checked is not None:
        columns = ["subject", *(check.key for check in plausibility.CHECKS)]
        write_table(checked, pd.DataFrame(checks, columns=columns), stamp({}))
    excluded.write(exclusions)
    log.info("measured %d subjects", len(rows))


def measure_ecg(strip: Ecg | None, cycle: Any, rr_scan_ms: float) -> dict[str, float]:
    """The measures of the ECG by their keys.

    Args:
        strip: the ECG; None if it was left out.
        cycle: the subject's row of `beats/{batch}.parquet`; None if there is none.
        rr_scan_ms: RR interval of the scan; NaN for a lone anchor.
    """
    measured = dict.fromkeys(
        ("ecg_quality", "ecg_noisy_leads", "beat_correlation", "irregular", "rate_mismatch_bpm"), float("nan")
    )
    if strip is not None:
        try:
            quality = rhythm.lead_quality(strip.signal, strip.rate_hz, strip.measurements.get("ventricular_rate_bpm"))
        except CofError:
            pass  # A strip without beats was left out by the stage of beats, which says so.
        else:
            measured["ecg_quality"] = float(np.median(quality))
            measured["ecg_noisy_leads"] = float((quality < rhythm.NOISY_LEAD).sum())
    if cycle is not None:
        measured["beat_correlation"] = float(cycle["correlation"])
        measured["irregular"] = float(cycle["irregular"])
        measured["rate_mismatch_bpm"] = rhythm.rate_mismatch_bpm(float(cycle["rr_ms"]), rr_scan_ms)
    return measured


def measure_cine(cine: Cine, labels: np.ndarray) -> dict[str, float]:
    """The measures of a cine by their keys.

    Args:
        cine: native, frame 0 at ED.
        labels: [T, Z, Y, X]; frame 0 shows a left ventricle.
    """
    frames = np.asarray(cine.frames)
    outline = coverage.outline(labels[0])
    ventricle = image.box_about(outline, cine.spacing_mm)
    heart = image.box_about(labels[0] > 0, cine.spacing_mm)
    cavity = np.flatnonzero((labels[0] == STRUCTURES["LV"]).any(axis=(1, 2)))
    first = max(int(cavity[len(cavity) // 2]) - _GHOST_SLICES // 2, 0)
    base, apex = coverage.end_cuts(labels[0])
    return {
        "slice_shift_mm": coverage.slice_shift_mm(labels[0], cine.spacing_mm),
        "base_cut": base,
        "apex_cut": apex,
        "blur": image.blur(frames[0], ventricle),
        "ghost": image.ghost(frames[:, first : first + _GHOST_SLICES], ventricle, heart),
        "closure": image.closure(np.roll(frames, cine.rolled_by, axis=0), ventricle),
        "dropout": image.dropout(frames),
    }
