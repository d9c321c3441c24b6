"""The quality stage of one batch: measures every labelled subject, and leaves out those beyond configured limits."""

import logging
from collections.abc import Callable
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
from cof.heart.function import time_to_end_systole
from cof.heart.structures import STRUCTURES
from cof.inputs import Folder
from cof.options import BeatTable, CineBatch, EcgTable, ExclusionsOut, LabelBatch, OutFile, SettingsOf
from cof.outputs import Form
from cof.progress import progress
from cof.quality import coverage, image, plausibility, rhythm
from cof.quality.catalogue import MEASURES, beyond

log = logging.getLogger(__name__)

# Ghosts are searched in this many slices around the middle of the ventricle, where it moves most.
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
        Path | None,
        typer.Option("--plausibility", help="Table of the plausibility checks of the labels, to write."),
        Form.FILE,
    ] = None,
    labeller: Annotated[
        Path | None,
        typer.Option(help="Folder of the labeller that made the labels; with it, their trustworthiness is measured."),
        Folder(),
    ] = None,
) -> None:
    """Measure the quality of every labelled subject of a batch into `quality/{batch}.parquet`.

    Args:
        ecg, beats, cine, labels, settings: as annotated.
        out: table with one row per labelled subject and one column for each of `cof.quality.catalogue.MEASURES`; NaN
            where an earlier stage left out what is measured. Subjects that are left out here have a row, too.
        exclusions: table of the subjects beyond a limit, one row for every limit.
        checked: table with one row per labelled subject, one column for each of `cof.quality.plausibility.CHECKS`, and
            lv_t_es_ms, the time to ES.
            An implausible number gives a warning in the log, and excludes nobody.
        labeller: folder of the labeller; without it, the trust in the labels is NaN.
    """
    doubt_of = _doubt_by(labeller)
    excluded = Exclusions("quality")
    strips, cycles = read_table(ecg).set_index("subject"), read_table(beats).set_index("subject")
    rows, checks = [], []
    for path in progress(sorted(labels.glob("*.nii.gz")), "quality", "subject"):
        subject = path.name.removesuffix(".nii.gz")
        with excluded.guard(subject):
            scan = read_cine(cine / f"{subject}.nii")
            drawn = read_labels(path)
            measured = measure_cine(scan, drawn) | {"label_trust": doubt_of(subject, scan, drawn)}
            strip = Ecg.from_row(strips.loc[subject]) if subject in strips.index else None
            cycle: Any = cycles.loc[subject] if subject in cycles.index else None
            measured |= measure_ecg(strip, cycle, scan.rr_ms)
            rr_ecg_ms = float("nan") if cycle is None else float(cycle["rr_ms"])
            heart = plausibility.Heart.of(drawn, scan.spacing_mm, scan.rr_ms, rr_ecg_ms)
            values = plausibility.measure(heart)
            for doubt in plausibility.doubts(values):
                log.warning("%s: %s", subject, doubt.of("labels of the real cine"))
            t_es_ms = time_to_end_systole(heart.lv_ml, scan.rr_ms) if scan.kind == "cycle" else float("nan")
            checks.append({"subject": subject} | values | {"lv_t_es_ms": t_es_ms})
            rows.append({"subject": subject} | measured)
            for measure in beyond(measured, settings):
                limit = getattr(settings, measure.key)
                found = f"{measured[measure.key]:.{measure.decimals}f} {measure.unit}".rstrip()
                excluded.add(subject, measure.reason, f"{measure.label} {found}, the limit is {limit:g}")
    columns = ["subject", *(measure.key for measure in MEASURES)]
    write_table(out, pd.DataFrame(rows, columns=columns), stamp(settings.model_dump(mode="json")))
    if checked is not None:
        columns = ["subject", *(check.key for check in plausibility.CHECKS), "lv_t_es_ms"]
        write_table(checked, pd.DataFrame(checks, columns=columns), stamp({}))
    excluded.write(exclusions)
    log.info("measured %d subjects", len(rows))


def _doubt_by(labeller: Path | None) -> Callable[[str, Cine, np.ndarray], float]:
    """Return a function that measures the trust in a subject's labels (NaN without a labeller) and logs doubts."""
    if labeller is None:
        return lambda subject, scan, drawn: float("nan")
    from cof.labels import artefact
    from cof.labels.doubt import judge

    trained = artefact.load(labeller)

    def trust(subject: str, scan: Cine, drawn: np.ndarray) -> float:
        doubt = judge(trained, scan.frames, drawn, scan.spacing_mm)
        if doubt.doubtful:
            log.warning("%s: %s", subject, doubt)
        return doubt.least

    return trust


def measure_ecg(strip: Ecg | None, cycle: Any, rr_scan_ms: float) -> dict[str, float]:
    """Return the measures of the ECG by their keys.

    Args:
        strip: the ECG; None if it was left out.
        cycle: the subject's row of `beats/{batch}.parquet`; None if there is none.
        rr_scan_ms: RR interval of the scan; NaN for an anchor.
    """
    measured = dict.fromkeys(
        ("ecg_quality", "ecg_noisy_leads", "beat_correlation", "irregular", "rate_mismatch_bpm"), float("nan")
    )
    if strip is not None:
        try:
            quality = rhythm.lead_quality(strip.signal, strip.rate_hz, strip.measurements.get("ventricular_rate_bpm"))
        except CofError:
            pass  # The stage of beats has left out a strip without beats, and has recorded it.
        else:
            measured["ecg_quality"] = float(np.median(quality))
            measured["ecg_noisy_leads"] = float((quality < rhythm.NOISY_LEAD).sum())
    if cycle is not None:
        measured["beat_correlation"] = float(cycle["correlation"])
        measured["irregular"] = float(cycle["irregular"])
        measured["rate_mismatch_bpm"] = rhythm.rate_mismatch_bpm(float(cycle["rr_ms"]), rr_scan_ms)
    return measured


def measure_cine(cine: Cine, labels: np.ndarray) -> dict[str, float]:
    """Return the measures of a cine by their keys.

    Args:
        cine: native cine, frame 0 at ED.
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
