"""Hashes of what subjects' files contain, by which a heart is recognised that a network of another run has learnt from.

Names do not serve: two cohorts name one person differently, and the hash of a name can be guessed, as names are short.
An ECG or an anchor is some 10^5 numbers, which nobody guesses. Their hashes therefore need no salt, are the same in
every run, and reveal nothing to a reader without the content. A reader with the content learns whether it was used.
"""

import hashlib
import json
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from cof.artefacts.origin import BORROWED, LEARNT_FROM, RECORDS
from cof.artefacts.parquet import read_tables
from cof.errors import UsageError

# File beside the record of a trained artefact: the hashes of its training subjects, one per line, sorted.
HASHES = "learnt_from.txt"
# Columns of `hashes/{batch}.parquet`: one hash per content, "" where the subject has none.
CONTENTS = ("ecg", "anchor")
_DIGITS = 32  # 128 bits


def content_hash(values: np.ndarray) -> str:
    """Return 32 hex digits, the first 128 bits of the SHA-256 of an array's type, shape and values.

    It does not depend on byte order, memory layout or machine: NaN has one form, and zero has no sign.

    Returns:
        "" for an array of one value throughout, such as an empty image: this is no content to recognise anybody by, and
        two people may have it.
    """
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), values.dtype.type(np.nan), values + values.dtype.type(0))
    if not values.size or (values == values.flat[0]).all() or (values != values).all():
        return ""
    canonical = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    sha = hashlib.sha256(f"{canonical.dtype.str} {canonical.shape} ".encode())
    sha.update(canonical.tobytes())
    return sha.hexdigest()[:_DIGITS]


def write_learnt(folder: Path, tables: Sequence[Path] | None, subjects: Collection[str]) -> None:
    """Write the hashes of the training subjects into the folder of a trained artefact.

    All contents of a subject are written, also those that the network does not use: one person may have the same ECG
    and another stack of slices in another run.

    Args:
        folder: folder of the artefact.
        tables: `hashes/{batch}.parquet` of all batches; None writes nothing, so that the training subjects count as
            unknown.
        subjects: names of the training subjects.

    Raises:
        UsageError: the tables lack a training subject.
    """
    if tables is None:
        return
    rows = read_tables(tables)
    rows = rows[rows["subject"].isin(subjects)]
    if missing := len(set(subjects) - set(rows["subject"])):
        raise UsageError(f"--hashes lacks {missing} of {len(set(subjects))} training subjects: run `cof hashes` again")
    hashes = {value for content in CONTENTS for value in rows[content] if value}
    (folder / HASHES).write_text("".join(f"{value}\n" for value in sorted(hashes)))


def read_learnt(folder: Path) -> frozenset[str] | None:
    """Read the hashes of the subjects that an artefact, and the models that it holds copies of, have learnt from.

    Args:
        folder: `labeller/`, `registrations/{name}` or `models/{name}`.

    Returns:
        The hashes; None if they are not recorded for one of the networks.
    """
    hashes: set[str] = set()
    records = [record for name in RECORDS for record in folder.rglob(name)]
    for record in records:
        file = record.with_name(HASHES)
        if file.is_file():
            hashes.update(file.read_text().split())
        elif json.loads(record.read_text()).get(LEARNT_FROM, {}).get("subjects") != 0:
            return None
    return frozenset(hashes) if records else None


def overlap_notice(folder: Path) -> str:
    """Return a sentence for an artefact that is borrowed and does not record what it has learnt from; "" otherwise."""
    if not (folder / BORROWED).is_file() or read_learnt(folder) is not None:
        return ""
    return f"Whether it has learnt from held-out subjects of this run is unknown: it has no {HASHES}."
