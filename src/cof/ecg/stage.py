"""The ECG stages of one batch: raw files become checked signals, and each signal one representative cycle."""

import logging
import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd

from cof.artefacts.exclusions import Exclusions
from cof.artefacts.pairs import es_phases
from cof.artefacts.parquet import read_table, write_table
from cof.artefacts.provenance import stamp
from cof.config.data import BeatSettings, EcgSettings
from cof.ecg.categories import categorise, states_pacing
from cof.ecg.checks import Checks, check
from cof.ecg.cycle import Cycle, representative_cycle
from cof.ecg.features import ecg_features
from cof.ecg.reader import read_ecg
from cof.ecg.record import MEASUREMENTS, Ecg
from cof.errors import CofError, Reason, redact
from cof.options import EcgTable, ExclusionsOut, Key, OutFile, SettingsOf, Sheet
from cof.progress import progress

log = logging.getLogger(__name__)

_ECG_COLUMNS = (
    "subject", "signal", "rate_hz", "recorded_leads", "lsb_mv", "statements", "source", "device", "sex", "filters",
    "pacing_spikes", "repairs", *MEASUREMENTS,
    *(field.name for field in fields(Checks)), "categories", "soft_categories", "primary_category",
)  # fmt: skip
_BEAT_COLUMNS = ("subject", *(field.name for field in fields(Cycle)), "rate_hz", "features", "sex")


def parse_batch(
    *, sheet: Sheet, key: Key, out: OutFile, exclusions: ExclusionsOut, settings: SettingsOf[EcgSettings]
) -> None:
    """Read the ECG file of every subject of a batch into `ecg/{batch}.parquet`.

    A subject with only ED and ES needs no ECG: without one, it has neither a row nor an exclusion.

    Args:
        sheet, settings: as annotated.
        key: key to the raw paths (columns subject, ecg).
        out: table with one row per ECG that could be read.
        exclusions: table with one row per subject whose ECG could not.
    """
    left_out = Exclusions("ecg")
    rows = []
    raw = read_table(key).set_index("subject")["ecg"]
    phases = es_phases(read_table(sheet))
    subjects = [str(name) for name, phase in phases.items() if raw.get(name) or math.isnan(phase)]
    if without := len(phases) - len(subjects):
        log.info("%d subjects have only ED and ES, and no ECG", without)
    for subject in progress(subjects, "ECG files", "file"):
        with left_out.guard(subject):
            rows.append({"subject": subject} | _parse(raw.get(subject), settings))
    write_table(out, pd.DataFrame(rows, columns=list(_ECG_COLUMNS)), stamp(settings.model_dump(mode="json")))
    left_out.write(exclusions)
    log.info("read %d of %d ECGs", len(rows), len(subjects))


def beats_batch(*, ecg: EcgTable, out: OutFile, exclusions: ExclusionsOut, settings: SettingsOf[BeatSettings]) -> None:
    """Find the representative cycle of every ECG of a batch and write `beats/{batch}.parquet`.

    Args:
        ecg, settings: as annotated.
        out: table with one row per subject with a usable cycle.
        exclusions: table with one row per subject without one.
    """
    left_out = Exclusions("beats")
    rows = []
    records = read_table(ecg)
    for _, row in progress(records.iterrows(), "representative cycles", "ECG", len(records)):
        with left_out.guard(row["subject"]):
            record = Ecg.from_row(row)
            cycle = representative_cycle(record, settings)
            read_off = {"features": ecg_features(cycle.beat, cycle.rr_ms), "rate_hz": record.rate_hz, "sex": record.sex}
            rows.append(vars(cycle) | {"subject": row["subject"], "beat": cycle.beat.ravel()} | read_off)
    write_table(out, pd.DataFrame(rows, columns=list(_BEAT_COLUMNS)), stamp(settings.model_dump(mode="json")))
    left_out.write(exclusions)
    log.info("found a cycle in %d of %d ECGs", len(rows), len(records))


def _parse(path: Any, settings: EcgSettings) -> dict[str, Any]:
    """Return the row of one ECG file, without its subject."""
    if not isinstance(path, str) or not path:
        raise CofError(Reason.ECG_MISSING, "the sheet names no ECG file")
    ecg = read_ecg(Path(path), settings)
    checks = {
        name: list(value) if isinstance(value, tuple) else value for name, value in vars(check(ecg, settings)).items()
    }
    stated = states_pacing(ecg.statements)
    if settings.paced == "exclude" and (stated or ecg.pacing_spikes):
        how = "the device says so" if stated else f"{ecg.pacing_spikes} pacing spikes were found"
        raise CofError(Reason.ECG_POOR_QUALITY, f"the heart is paced: {how}; to keep such ECGs, set ecg.paced to keep")
    categories = categorise(text for text in ecg.statements if not states_pacing([text]))
    if categories.primary == "excluded":
        raise CofError(Reason.ECG_POOR_QUALITY, "the device reports poor data quality or reversed leads")
    # What staff typed into the device may name the participant.
    said = {"statements": [redact(text) for text in ecg.statements], "device": redact(ecg.device)}
    return (
        ecg.to_row()
        | said
        | checks
        | {
            "categories": list(categories.names),
            "soft_categories": list(categories.soft),
            "primary_category": categories.primary,
        }
    )
