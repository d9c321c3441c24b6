"""Chosen hearts of a cohort in the formats of other software."""

import json
import logging
import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from cof.artefacts.exclusions import Exclusions
from cof.artefacts.folders import whole_folder
from cof.artefacts.parquet import read_table
from cof.cine.volume import Cine, read_cine, read_labels, sidecar
from cof.config.data import LABEL_TRUST
from cof.ecg.record import LEADS
from cof.models.trained import load
from cof.options import ExclusionsOut, Out, Read
from cof.options import Results as ResultsFolder
from cof.progress import progress
from cof.twins.artefacts import read_canonical, read_placement
from cof.twins.cautions import SCAN, implausible, trained_on
from cof.twins.exports.formats import export
from cof.twins.exports.heart import Heart, Recorded
from cof.twins.exports.stage import formats_named
from cof.twins.summary import ecg_record, scan_record

log = logging.getLogger(__name__)

NOTICE = "Generated from the ECG and the anchor that the cohort's sheet names. Research software, not for diagnosis."


@dataclass(frozen=True)
class Member:
    """One subject of a cohort, by where its results lie: those of `batch` below the folder `results`."""

    results: Path
    model: str
    batch: str
    subject: str

    def path(self, stage: str, end: str) -> Path:
        """Return the path of a file of one stage."""
        return self.results / stage / self.batch / f"{self.subject}{end}"

    def row(self, stage: str) -> pd.Series | None:
        """Return the subject's row of the table of one stage; None if there is none."""
        rows = pd.read_parquet(
            self.results / stage / f"{self.batch}.parquet", filters=[("subject", "==", self.subject)]
        )
        return None if rows.empty else rows.iloc[0]

    @property
    def label_trust(self) -> float:
        """Smallest trust in the labels of the scan at ED and ES, by the table of quality; NaN if not measured."""
        if not (self.results / "quality" / f"{self.batch}.parquet").is_file():
            return math.nan
        measured = self.row("quality")
        return math.nan if measured is None else float(measured.get(LABEL_TRUST, math.nan))

    @property
    def comparable(self) -> bool:
        """True if there is a generated heart, and a real cine with labels to compare it with."""
        real = self.path("cine", ".nii")
        made = self.path(f"twins/{self.model}", ".nii").is_file() and self.path("labels", ".nii.gz").is_file()
        return made and real.is_file() and read_cine(real).kind == "cycle"


def first_held_out(members: Collection[Member], count: int) -> list[Member]:
    """Return the first members in the order of their names that have a generated heart and a real one."""
    found: list[Member] = []
    for member in sorted(members, key=lambda member: member.subject):
        if len(found) == count:
            break
        if member.comparable:
            found.append(member)
    return found


def export_hearts(
    *,
    results: ResultsFolder,
    model: Annotated[str, typer.Option(help="Name of the model whose hearts are written.")],
    out: Out,
    exclusions: ExclusionsOut,
    formats: Annotated[
        tuple[str, ...], typer.Option(help="Formats, separated by commas. Default: page."), Read(str, formats_named)
    ] = ("page",),
    count: Annotated[int, typer.Option(help="Number of held-out subjects, the first by name.")] = 3,
    batch: Annotated[str, typer.Option(help="Write every heart of this batch instead.")] = "",
) -> None:
    """Write hearts of a cohort in the formats of other software: those that the report shows, or all of one batch.

    Args:
        results, model, exclusions, count, batch: as annotated.
        out: folder of `{subject}/{format}/`.
        formats: keys of `cof.twins.exports.formats.FORMATS`.
    """
    if batch:
        made = sorted((results / "twins" / model / batch).glob("*.labels.nii.gz"))
        members = [Member(results, model, batch, path.name.removesuffix(".labels.nii.gz")) for path in made]
    else:
        subjects = read_table(results / "cohort/subjects.parquet").query("split == 'test'")
        pairs = zip(subjects["batch"], subjects["subject"])
        members = first_held_out([Member(results, model, of, subject) for of, subject in pairs], count)
    learnt = trained_on(results, model, load(results / "models" / model))
    left_out = Exclusions("exports")
    unmeasured = 0
    with whole_folder(out) as folder:
        for member in progress(members, "hearts", "heart"):
            with left_out.guard(member.subject):
                heart = read_member(member, learnt)
                (folder / member.subject).mkdir()
                export(heart, folder / member.subject, formats)
                unmeasured += "labels" not in heart.summary
    left_out.write(exclusions)
    if unmeasured:
        log.warning("%d hearts: no measure tells how far the labels of the scan can be trusted", unmeasured)
    log.info("wrote %d of %d hearts", len(members) - len(left_out.rows), len(members))


def read_member(member: Member, learnt: dict[str, Any]) -> Heart:
    """Read a generated heart of a cohort, with the scan and the ECG that it was made from.

    Args:
        member: the subject.
        learnt: origin of the networks (`cof.twins.cautions.trained_on`).
    """
    twins = f"twins/{member.model}"
    cine, labels = read_cine(member.path(twins, ".nii")), read_labels(member.path(twins, ".labels.nii.gz"))
    scan = Recorded(read_cine(member.path("cine", ".nii")), read_labels(member.path("labels", ".nii.gz")))
    record = json.loads(sidecar(member.path(twins, ".nii")).read_text())
    beat, strip = member.row("beats"), member.row("ecg")
    tensors = member.path(twins, ".safetensors")
    told = {} if beat is None else {"rr_ecg_ms": beat["rr_ms"]}
    known, doubts = _judged(member.label_trust)
    return Heart(
        name=member.subject,
        cine=cine,
        labels=labels,
        displacement=read_canonical(tensors)[1],
        placement=read_placement(tensors),
        timed=record.get("timed", True),
        summary={
            "notice": NOTICE,
            "model": member.model,
            "function": _function(json.loads(member.path(twins, ".function.json").read_text())),
            "ecg": None if beat is None else ecg_record(beat, strip),
            "scan": scan_record(scan.cine, len(scan.cine.frames) == 1, record["anchor_phase"]),
            "warnings": doubts + implausible(_pair(scan), (cine, labels), told),
            "trained_on": learnt,
            "terms": sorted({network["terms"] for network in learnt.values() if "terms" in network}),
        }
        | known,
        recorded=scan if scan.cine.kind == "cycle" else None,
        beat_mv=None if beat is None else np.reshape(beat["beat"], (len(LEADS), -1)),
    )


def _judged(trust: float) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return what a summary says of the labels' trustworthiness, and the warnings of doubtful ones.

    Args:
        trust: from 0 to 1; NaN if it is not known, and the summary then says nothing of it. The table of quality does
            not tell which slices are doubtful.
    """
    from cof.labels.doubt import Doubt  # imports the labeller, as in `cof.twins.cautions`

    if math.isnan(trust):
        return {}, []
    doubt = Doubt({"ED and ES": trust}, ())
    known = {"trust": round(trust, 3), "doubtful": doubt.doubtful}
    return {"labels": known}, [doubt.warning() | {"of": SCAN}] if doubt.doubtful else []


def _pair(scan: Recorded) -> tuple[Cine, np.ndarray]:
    return scan.cine, scan.labels


def _function(stored: dict[str, Any]) -> dict[str, Any]:
    """Return stored function as a summary has it: without the curves."""
    indices = {name: {key: v for key, v in stored[name].items() if key != "volume_ml"} for name in ("LV", "RV")}
    return {"rr_ms": stored["rr_ms"]} | indices
