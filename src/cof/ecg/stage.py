"""The ECG stages of one batch: raw files to checked signals, and signals to one representative cycle each."""

import logging
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd

from cof.artefacts.exclusions import Exclusions
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

    Args:
        sheet, settings: as annotated.
        key: it alone knows the raw paths (columns subject, ecg).
        out: a row a subject that could be read.
        exclusions: a row a subject that could not.
    """
    left_out = Exclusions("ecg")
    rows = []
    raw = read_table(key).set_index("subject")["ecg"]
    subjects = list(read_table(sheet)["subject"])
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
        out: a row a subject with a usable cycle.
        exclusions: a row a subject without one.
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
    """The row of one ECG file without its subject."""
    if not isinstance(path, str) or not path:
        raise CofError(Reason.ECG_MISSING, "no ECG file is named")
    ecg = read_ecg(Path(path), settings)
    checks = {
        name: list(value) if isinstance(value, tuple) else value for name, value in vars(check(ecg, settings)).items()
    }
    stated = states_pacing(ecg.statements)
    if settings.paced == "exclude" and (stated or ecg.pacing_spikes):
        how = "the device says so" if stated else f"{ecg.pacing_spikes} pacing spikes were found"
        raise CofError(Reason.ECG_POOR_QUALITY, f"the heart is paced: {how} (ecg.paced: keep would read it)")
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
