"""Held-out subjects that a borrowed network has learnt from: hashes of subjects' content, and their comparison."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from cof.artefacts.contents import CONTENTS, content_hash, read_learnt
from cof.artefacts.folders import whole_file
from cof.artefacts.parquet import read_table, write_table
from cof.artefacts.provenance import stamp
from cof.cine.volume import read_cine
from cof.ecg.record import Ecg
from cof.errors import CofError, UsageError
from cof.inputs import Folder, Table
from cof.options import CineBatch, EcgTable, OutFile, Read, Sheet
from cof.outputs import Form
from cof.progress import progress

log = logging.getLogger(__name__)


def hash_batch(*, ecg: EcgTable, cine: CineBatch, out: OutFile) -> None:
    """Hash what the files of every subject of a batch contain: the samples of the ECG, and the voxels of the anchor.

    Both are taken as they were read, before anything that depends on a network or on the canonical grid.

    Args:
        ecg, cine: as annotated.
        out: table with one row per subject that has either: subject, and the hashes `ecg` and `anchor`
            (`cof.artefacts.contents`), "" where it has none.
    """
    rows: dict[str, dict[str, str]] = {}
    for _, row in read_table(ecg).iterrows():
        rows.setdefault(row["subject"], {})["ecg"] = content_hash(Ecg.from_row(row).signal)
    for path in progress(sorted(cine.glob("*.nii")), "hashes", "subject"):
        try:
            anchor = read_cine(path).frames[0]
        except CofError:
            continue  # the labels stage excludes the subject and gives the reason
        rows.setdefault(path.stem, {})["anchor"] = content_hash(anchor)
    table = pd.DataFrame([{"subject": name} | rows[name] for name in sorted(rows)], columns=["subject", *CONTENTS])
    write_table(out, table.fillna(""), stamp({}))


def refuse_overlap(
    *,
    sheet: Sheet,
    hashes: Annotated[
        Path, typer.Option(help="Hashes of the batch: hashes/{batch}.parquet."), Table(("subject", *CONTENTS))
    ],
    artefacts: Annotated[
        Sequence[Path],
        typer.Option("--artefact", help="Folder of a borrowed network; repeatable."),
        Folder(),
        Read(list[Path], tuple),
    ],
    out: OutFile,
    names: Annotated[
        Path, typer.Option(help="Table of the subjects of an overlap, written only if there is one."), Form.FILE
    ],
) -> None:
    """Refuse borrowed networks that have learnt from held-out subjects of a batch.

    A subject is recognised by the same ECG or the same anchor; all visits of its participant count with it. Training
    subjects may have been learnt from anywhere.

    Args:
        sheet, hashes, artefacts, names: as annotated.
        out: JSON file: the number of held-out subjects, and the artefacts for which an overlap is unknown because they
            do not record what they have learnt from.

    Raises:
        UsageError: there is an overlap. The message gives the number of subjects, and `names` lists them.
    """
    cohort = read_table(sheet)
    held_out = cohort[cohort["split"] != "train"].merge(read_table(hashes), on="subject", how="left")
    unknown, seen = [], {}
    for folder in artefacts:
        learnt = read_learnt(folder)
        if learnt is None:
            unknown.append(str(folder))
            continue
        found = held_out[list(CONTENTS)].isin(learnt).any(axis=1)
        participants = set(held_out.loc[found, "participant"])
        subjects = held_out.loc[held_out["participant"].isin(participants), "subject"]
        if len(subjects):
            seen[str(folder)] = sorted(subjects)
    if seen:
        rows = [(subject, artefact) for artefact, subjects in seen.items() for subject in subjects]
        write_table(names, pd.DataFrame(rows, columns=["subject", "artefact"]), stamp({}))
        count = len({subject for subject, _ in rows})
        by = ", ".join(f"{artefact} from {len(subjects)}" for artefact, subjects in seen.items())
        raise UsageError(
            f"{count} of {len(held_out)} held-out subjects of this batch are among those that borrowed networks have "
            f"learnt from ({by}), so their results would say nothing about new hearts. {names} lists them: mark them "
            "'train' in the sheet's column split or leave them out of it (of the synthetic cohort, set another "
            "phantom.first), or borrow from a run that has not seen them"
        )
    names.unlink(missing_ok=True)
    if unknown:
        log.warning("whether they have learnt from held-out subjects is not recorded: %s", ", ".join(unknown))
    with whole_file(out) as aside:
        record = {"held_out": len(held_out), "unknown": unknown, "provenance": stamp({})}
        aside.write_text(json.dumps(record, indent=1, sort_keys=True))
