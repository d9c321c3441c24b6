"""The subject sheet made a cohort: pseudonyms, splits and batches, and the protected key to the raw files.

Everything about a participant follows from a hash of its name, never from the order of rows, so that an added or
removed subject changes nothing for the others.
"""

import difflib
import hashlib
import hmac
import json
import math
import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from cof.artefacts.folders import Batches, private_files
from cof.artefacts.origin import ORIGINS, SIMULATED
from cof.artefacts.parquet import read_table, write_table
from cof.artefacts.provenance import stamp
from cof.config.data import CohortSettings
from cof.errors import UsageError, redact
from cof.heart.codes import read_map, write_map
from cof.inputs import File, Folder
from cof.options import TO_BE_TYPED, OutFile, Read, SettingsOf, Subjects, says
from cof.outputs import Form

REQUIRED = ("subject", "visit", "ecg", "cine")
OPTIONAL = ("anchor", "annotation", "split", "ed_frame", "labels_map", "origin")
SPLITS = ("train", "validation", "test")
PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")  # fit for files without a salt
_FILES = ("ecg", "cine", "anchor", "annotation")
_KEY_COLUMNS = ("subject", "participant", "visit", *_FILES, "ed_frame", "labels_map")
_COLUMNS = ("subject", "participant", "visit", "split", "batch", "annotated")

# Letters only, so that no pseudonym ever looks like a participant id; 26^8 names.
_ALPHABET = "abcdefghijklmnopqrstuvwxyz"
_LETTERS = 8
_MIN_SALT_BYTES = 16


# Why a subject is in its split, in words that a count goes before.
_SPLIT_BY = {
    "sheet": "by the sheet",
    "annotation": "annotated, and so to train",
    "anchor": "without a cine, and so to test",
    "drawn": "drawn by participant ({shares})",
}


@dataclass(frozen=True)
class Split:
    """Numbers of subjects in each split of a cohort, and the reasons.

    Attributes:
        counts: subjects of each split.
        participants: of the cohort.
        by: subjects that are in their split by the sheet, by an annotation, for want of a cine, or drawn.
        shares: those by which is drawn.
    """

    counts: dict[str, int]
    participants: int
    by: dict[str, int]
    shares: dict[str, float]

    @property
    def stated(self) -> bool:
        """Tell whether the sheet names the split of everybody."""
        return self.by["sheet"] == sum(self.counts.values())

    def __str__(self) -> str:
        shares = ", ".join(f"{share:.0%} {split}" for split, share in self.shares.items() if share)
        reasons = ", ".join(f"{self.by[why]} {said}" for why, said in _SPLIT_BY.items() if self.by[why])
        counts = ", ".join(f"{count} {split}" for split, count in self.counts.items())
        said = f"{sum(self.counts.values())} subjects of {self.participants} participants: {counts}"
        return f"{said}; {reasons.format(shares=shares)}"


@dataclass(frozen=True)
class OfEveryBatch:
    """A stage's folder, typed, whose batches a step learns from: those of `--subjects` (`cof.options.Typed`).

    Attributes:
        suffix: of a batch's file; none of its folder.
        needed: it has to be typed.
    """

    suffix: str = ""
    needed: bool = True
    kind: Any = Path

    def default(self, wanted: Any) -> Any:
        """What counts as typed where nothing is."""
        return TO_BE_TYPED if self.needed else None

    def read(self, typed: Path, wanted: Any, given: Mapping[str, Any]) -> list[Path]:
        """The file or folder of every batch."""
        places = [typed / f"{batch}{self.suffix}" for batch in batches_of(given["subjects"])]
        return places if self.suffix else Batches(places)


_STAGE = typer.Option(help="Folder of the stage, in which every batch of the cohort has its own.")
EveryFolder = Annotated[list[Path], _STAGE, Folder(), OfEveryBatch()]
EveryTable = Annotated[list[Path], _STAGE, Folder(), OfEveryBatch(".parquet")]


def _told(split: Split, given: Mapping[str, Any]) -> str:
    """Print the split; say where the cohort lies."""
    typer.echo(split)
    if not split.stated:
        typer.echo("To choose, give the sheet a column split (train, validation, test), or shares to cohort.split.")
    return (
        f"who is in it, with split and batch, lies in {given['out']}; the way back to raw files, for you alone, in "
        f"{given['key']}"
    )


@says(_told)
def build_cohort(
    *,
    sheet: Annotated[Path, typer.Option(help="subjects.csv"), File()],
    out: OutFile,
    key: Annotated[Path, typer.Option(help="cohort/key.parquet"), Form.FILE],
    settings: SettingsOf[CohortSettings],
) -> Split:
    """Read the subject sheet; write the cohort and its key.

    Subjects whose sheet states no origin have that of the settings; those of the synthetic cohort, whose card lies
    beside the sheet, are simulated.

    The sheet is a CSV file with the columns subject (the participant), visit, ecg and cine, and optionally anchor (a
    volume of one frame, for subjects without a cine), annotation (expert labels of the cine), labels_map (from the
    codes of the annotation to ours, such as 1:3,2:2,3:1), split, ed_frame (the recorded frame at end diastole; where
    empty, the cine stage finds it) and origin (real or simulated). Paths are relative to the sheet's folder; a cell may
    be empty. Files that do not exist are found out by the stage that reads them.

    Subjects without a split are split by a hash of the participant; annotated ones train, since nnU-Net learns from
    them, and those without a cine are tested, since they hold no motion to learn from. Where `cohort.split` has no
    share for training, nothing trains, and annotated ones are drawn as all others.

    Args:
        sheet: subjects.csv.
        out: `cohort/subjects.parquet`, a row a subject, without any raw name or path if there is a salt; with a column
            origin where any is known.
        key: `cohort/key.parquet`, mode 0600: raw names, and paths that start where the sheet's does ("" where
            there is none).
        settings: salt, split, number of batches, and the map of codes and the origin where the sheet has none.

    Returns:
        The split that was made.

    Raises:
        UsageError: the sheet is no valid sheet (the message names row and column), names look like participant ids and
            there is no salt, or the settings do not fit.
    """
    table = _read_sheet(sheet)
    names = _pseudonyms(table["participant"], settings.salt_file)
    table["pseudonym"] = table["participant"].map(names)
    table["subject"] = table["pseudonym"] + "-v" + table["visit"].astype(str)
    table["split"], by = _splits(table, settings)
    batches = settings.batch_names
    table["batch"] = [batches[int(_uniform("batch", name) * len(batches))] for name in table["participant"]]
    table["annotated"] = table["annotation"] != ""
    stated = settings.origin or (SIMULATED if _is_synthetic(sheet.parent) else "")
    table["origin"] = table["origin"].mask(table["origin"] == "", stated)
    columns = [*_COLUMNS, "origin"] if table["origin"].any() else [*_COLUMNS]
    if settings.labels_map:
        table.loc[table["annotated"] & table["labels_map"].eq(""), "labels_map"] = write_map(settings.labels_map)
    counts = table["split"].value_counts()
    split = Split(
        {name: int(counts.get(name, 0)) for name in SPLITS}, table["participant"].nunique(), by, settings.shares
    )
    table = table.sort_values("subject", ignore_index=True)

    provenance = stamp(settings.model_dump(mode="json"))
    for path in (key, out):
        path.parent.mkdir(parents=True, exist_ok=True)
    with private_files():
        write_table(key, table[list(_KEY_COLUMNS)], provenance)
    cohort = table.drop(columns="participant").rename(columns={"pseudonym": "participant"})
    write_table(out, cohort[columns], provenance | {"split": str(split)})
    return split


def batches_of(subjects: Path) -> list[str]:
    """The batches that hold a subject, by name.

    Args:
        subjects: `cohort/subjects.parquet`.
    """
    return sorted(read_table(subjects, ["batch"])["batch"].unique())


def select_batch(
    *,
    subjects: Subjects,
    out: OutFile,
    batch: Annotated[str, typer.Option("--name", help="Name of the batch.")],
    only: Annotated[tuple[str, ...], typer.Option(help="Just this subject; repeatable."), Read(list[str], tuple)] = (),
) -> None:
    """Write the rows of one batch.

    Args:
        subjects, batch: as annotated.
        only: instead of the batch's own subjects just these: names as in the columns subject or participant (all
            visits). Without a salt these are the names of the sheet.
        out: `cohort/batches/{batch}.parquet`.

    Raises:
        UsageError: there is no subject of a name in `only`.
    """
    table = read_table(subjects)
    refuse_unknown(only, {*table["subject"], *table["participant"]})
    if only:
        rows = table[table["subject"].isin(only) | table["participant"].isin(only)]
    else:
        rows = table[table["batch"] == batch]
    write_table(out, rows.reset_index(drop=True), stamp({"batch": batch, "only": sorted(only)}))


def refuse_unknown(only: Iterable[str], known: set[str]) -> None:
    """Refuse names that are neither a subject's nor a participant's.

    Raises:
        UsageError: the message names the first of them, and the name that it is most like.
    """
    for name in only:
        if name not in known:
            close = difflib.get_close_matches(name, sorted(known), n=1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            raise UsageError(f"the cohort has no subject or participant '{redact(name)}'{hint}")


def names_of_sheet(sheet: Path, settings: CohortSettings) -> set[str]:
    """Names of all subjects and participants that a sheet will give, before there is a cohort.

    Raises:
        UsageError: as `build_cohort`.
    """
    table = _read_sheet(sheet)
    return known_names(table["participant"], table["visit"], settings)


def known_names(participants: Iterable[str], visits: Iterable[int], settings: CohortSettings) -> set[str]:
    """Names of the subjects and participants behind rows of a sheet."""
    rows = pd.Series(list(participants), dtype=str)
    pseudonyms = rows.map(_pseudonyms(rows, settings.salt_file))
    return {*pseudonyms, *(f"{name}-v{visit}" for name, visit in zip(pseudonyms, visits))}


def _is_synthetic(folder: Path) -> bool:
    """Tell whether a sheet's folder holds the card of the synthetic cohort."""
    try:
        card = json.loads((folder / "card.json").read_text())
    except (OSError, ValueError):
        return False
    return isinstance(card, dict) and {"arm", "couplings"} <= card.keys()


def _fault(row: Hashable, column: str, message: str) -> UsageError:
    return UsageError(f"subject sheet, row {row}, column '{column}': {redact(message)}")


def _read_sheet(path: Path) -> pd.DataFrame:
    """The checked sheet: participant, visit, paths or "", split or "", ed_frame; indexed by row."""
    if not path.is_file():
        raise UsageError(f"no such subject sheet: {path}")
    try:
        # Without a header, so that a row with too many cells is an error and never shifts the columns.
        cells = pd.read_csv(
            path, header=None, dtype=str, keep_default_na=False, skip_blank_lines=False, encoding="utf-8-sig"
        )
    except pd.errors.EmptyDataError:
        raise UsageError("the subject sheet is empty") from None
    except UnicodeDecodeError:
        raise UsageError("the subject sheet is not UTF-8 text") from None
    except pd.errors.ParserError as error:
        raise UsageError(f"the subject sheet is no valid CSV: {redact(str(error).strip())}") from None
    cells = cells.fillna("").map(str.strip)
    columns = list(cells.iloc[0])
    _check_columns(columns)
    table = cells.iloc[1:].set_axis(columns, axis=1).set_axis(range(2, len(cells) + 1), axis=0)
    table = table[(table != "").any(axis=1)]
    if table.empty:
        raise UsageError("the subject sheet names no subject")
    for column in OPTIONAL:
        if column not in table:
            table[column] = ""

    for row, cell in table["subject"].items():
        if not cell:
            raise _fault(row, "subject", "empty")
    table = table.rename(columns={"subject": "participant"})
    table["visit"] = [_whole_number(row, "visit", cell) for row, cell in table["visit"].items()]
    table["ed_frame"] = pd.array(
        [_whole_number(row, "ed_frame", cell) if cell else pd.NA for row, cell in table["ed_frame"].items()], "Int64"
    )
    for row, cell in table["split"].items():
        if cell not in ("", *SPLITS):
            raise _fault(row, "split", f"'{cell}' is none of {', '.join(SPLITS)}")
    for row, cell in table["origin"].items():
        if cell not in ("", *ORIGINS):
            raise _fault(row, "origin", f"'{cell}' is none of {', '.join(ORIGINS)}")
    table["labels_map"] = [_codes(row, cell) for row, cell in table["labels_map"].items()]
    for row, repeated in table.duplicated(["participant", "visit"]).items():
        if repeated:
            raise _fault(row, "subject", "this subject and visit were listed before")
    _check_files(table)
    # Not made absolute: a run whose sheet is named relative to it can be moved, and is the same everywhere.
    folder = path.parent
    for column in _FILES:
        table[column] = [str(folder / cell) if cell else "" for cell in table[column]]
    return table


def _check_columns(columns: list[str]) -> None:
    for column in REQUIRED:
        if column not in columns:
            raise UsageError(f"the subject sheet has no column '{column}'; needed are {', '.join(REQUIRED)}")
    known = (*REQUIRED, *OPTIONAL)
    for column in columns:
        if column not in known:
            close = difflib.get_close_matches(column, known, n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"known are {', '.join(known)}"
            raise UsageError(f"the subject sheet has an unknown column '{redact(column)}'; {hint}")
        if columns.count(column) > 1:
            raise UsageError(f"the subject sheet has two columns '{column}'")


def _whole_number(row: Hashable, column: str, cell: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", cell):
        raise _fault(row, column, f"'{cell}' is no whole number from 0 to 999")
    return int(cell)


def _codes(row: Hashable, cell: str) -> str:
    try:
        return write_map(read_map(cell)) if cell else ""
    except ValueError as error:
        raise _fault(row, "labels_map", str(error)) from None


def _check_files(table: pd.DataFrame) -> None:
    """What must be said of a subject's files before any of them is opened."""
    for row, cine, anchor, annotation, ed_frame in table[["cine", "anchor", "annotation", "ed_frame"]].itertuples():
        if not cine and not anchor:
            raise _fault(row, "cine", "empty, and there is no anchor either")
        if not cine and annotation:
            raise _fault(row, "annotation", "an annotation belongs to a cine, and there is none")
        if not cine and not pd.isna(ed_frame) and ed_frame:
            raise _fault(row, "ed_frame", "an anchor has no other frame than its own")


def _pseudonyms(participants: pd.Series, salt_file: str | None) -> dict[str, str]:
    """The name of every participant under `results/`."""
    if salt_file is None:
        for row, name in participants.items():
            if redact(name) != name:
                raise _fault(row, "subject", "this looks like a participant id; set cohort.salt_file for pseudonyms")
            if not PLAIN_NAME.fullmatch(name):
                raise _fault(row, "subject", "only letters, digits, '-' and '_' (or set cohort.salt_file)")
        names = {name: name for name in participants}
    else:
        salt = _read_salt(salt_file)
        names = {name: f"sub-{_letters(salt, name)}" for name in participants}
    # Some file systems do not tell capitals from small letters.
    if len({name.lower() for name in names.values()}) < len(names):
        raise UsageError(
            "two participants get the same pseudonym; take another salt"
            if salt_file
            else "two participants' names differ in capital letters only"
        )
    return names


def _read_salt(salt_file: str) -> bytes:
    try:
        salt = Path(salt_file).read_bytes().strip()
    except OSError as error:
        raise UsageError(f"cohort.salt_file: {error.strerror}: {salt_file}") from None
    if len(salt) < _MIN_SALT_BYTES:
        raise UsageError(f"cohort.salt_file: a salt of fewer than {_MIN_SALT_BYTES} bytes can be guessed")
    return salt


def _letters(salt: bytes, name: str) -> str:
    """Eight letters from a keyed hash: who lacks the salt can neither invert them nor try out ids."""
    number = int.from_bytes(hmac.new(salt, name.encode(), hashlib.sha256).digest())
    letters = []
    for _ in range(_LETTERS):
        number, letter = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[letter])
    return "".join(letters)


def _uniform(purpose: str, name: str) -> float:
    """A number in [0, 1) that is always the same for one participant and purpose."""
    return int.from_bytes(hashlib.sha256(f"{purpose}:{name}".encode()).digest()[:6]) / 2**48


def _splits(table: pd.DataFrame, settings: CohortSettings) -> tuple[pd.Series, dict[str, int]]:
    """The split of every row, the same for all visits of a participant; and how many rows each reason has decided."""
    shares = settings.shares
    if not math.isclose(sum(shares.values()), 1, abs_tol=1e-6):
        raise UsageError(f"cohort.split: the shares add up to {sum(shares.values()):g}, not to 1")
    visits = defaultdict(list)
    for visit in table[["participant", "split", "cine", "annotation"]].itertuples():
        visits[visit.participant].append(visit)
    chosen, by = {}, dict.fromkeys(_SPLIT_BY, 0)
    for participant, rows in visits.items():
        stated = {visit.split: visit.Index for visit in rows if visit.split}
        if len(stated) > 1:
            raise _fault(list(stated.values())[-1], "split", "another visit of this participant is in another split")
        split, row = next(iter(stated.items()), ("", rows[0].Index))
        annotated, without_cine = any(visit.annotation for visit in rows), not all(visit.cine for visit in rows)
        trains = split in ("train", "validation") or (not split and annotated and bool(shares.get("train")))
        if without_cine and trains:
            raise _fault(row, "cine", "a visit without a cine holds no motion: its participant can only be in 'test'")
        if split:
            why = "sheet"
        elif trains:
            split, why = "train", "annotation"
        elif without_cine:
            split, why = "test", "anchor"
        else:
            split, why = _drawn_split(str(participant), shares), "drawn"
        chosen[participant] = split
        by[why] += len(rows)
    return table["participant"].map(chosen), by


def _drawn_split(participant: str, shares: dict[str, float]) -> str:
    drawn, reached = _uniform("split", participant), 0.0
    for split in SPLITS:
        reached += shares.get(split, 0.0)
        if drawn < reached:
            return split
    return next(split for split in reversed(SPLITS) if shares.get(split))
