"""The cohort, made from the subject sheet: pseudonyms, splits and batches, and the protected key to the raw files.

Everything about a participant is derived from a hash of the name, never from the order of rows, so that adding or
removing a subject changes nothing for the others.
"""

import difflib
import hashlib
import hmac
import json
import math
import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
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
OPTIONAL = ("anchor", "annotation", "split", "ed_frame", "labels_map", "origin", "es_phase", "group")
SPLITS = ("train", "validation", "test")
PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")  # without a salt, names of files
_FILES = ("ecg", "cine", "anchor", "annotation")
_KEY_COLUMNS = ("subject", "participant", "visit", *_FILES, "ed_frame", "labels_map")
_COLUMNS = ("subject", "participant", "visit", "split", "batch", "annotated")
_WHERE_STATED = ("origin", "es_phase", "group")  # columns that the cohort has only where some row has a value

# Letters only, so that no pseudonym ever looks like a participant id; 26^8 names.
_ALPHABET = "abcdefghijklmnopqrstuvwxyz"
_LETTERS = 8
_MIN_SALT_BYTES = 16


# Reasons why a subject is in its split; a count is printed before each.
_SPLIT_BY = {
    "sheet": "by the sheet",
    "annotation": "in train, since annotated",
    "anchor": "in test, since without a cine",
    "drawn": "drawn by participant ({shares})",
}


@dataclass(frozen=True)
class Split:
    """Numbers of subjects in each split of a cohort, and the reasons.

    Attributes:
        counts: number of subjects in each split.
        participants: number of participants in the cohort.
        by: number of subjects for each reason: the sheet, an annotation, a missing cine ("anchor"), or drawn.
        shares: shares of the splits among drawn subjects.
        pairs: number of subjects with ED and ES only.
    """

    counts: dict[str, int]
    participants: int
    by: dict[str, int]
    shares: dict[str, float]
    pairs: int = 0

    @property
    def stated(self) -> bool:
        """True if the sheet names the split of every subject."""
        return self.by["sheet"] == sum(self.counts.values())

    def __str__(self) -> str:
        shares = ", ".join(f"{share:.0%} {split}" for split, share in self.shares.items() if share)
        reasons = ", ".join(f"{self.by[why]} {said}" for why, said in _SPLIT_BY.items() if self.by[why])
        counts = ", ".join(f"{count} {split}" for split, count in self.counts.items())
        said = f"{sum(self.counts.values())} subjects of {self.participants} participants: {counts}"
        pairs = f"; {self.pairs} have only ED and ES, and train only labeller and registration" if self.pairs else ""
        return f"{said}; {reasons.format(shares=shares)}{pairs}"


@dataclass(frozen=True)
class OfEveryBatch:
    """A conversion (`cof.options.Typed`) from a stage's folder to its files or folders of all batches of `--subjects`.

    Attributes:
        suffix: suffix of a batch's file; empty where each batch is a folder.
        needed: whether the option is required.
    """

    suffix: str = ""
    needed: bool = True
    kind: Any = Path

    def default(self, wanted: Any) -> Any:
        """Return the value of an option that is not given."""
        return TO_BE_TYPED if self.needed else None

    def read(self, typed: Path, wanted: Any, given: Mapping[str, Any]) -> list[Path]:
        """Return the file or folder of every batch."""
        places = [typed / f"{batch}{self.suffix}" for batch in batches_of(given["subjects"])]
        return places if self.suffix else Batches(places)


_STAGE = typer.Option(help="Folder of the stage, with one file or folder per batch.")
EveryFolder = Annotated[list[Path], _STAGE, Folder(), OfEveryBatch()]
EveryTable = Annotated[list[Path], _STAGE, Folder(), OfEveryBatch(".parquet")]
EveryHashes = Annotated[
    list[Path] | None,
    typer.Option(help="Folder of the hashes; those of the training subjects are written into the result."),
    Folder(),
    OfEveryBatch(".parquet", needed=False),
]


def _told(split: Split, given: Mapping[str, Any]) -> str:
    """Print the split; return the closing line with the paths of cohort and key."""
    typer.echo(split)
    if not split.stated:
        typer.echo("To choose, add a column split (train, validation, test) to the sheet, or set cohort.split.")
    return (
        f"wrote the subjects with split and batch to {given['out']}; and the key to the raw files, which only you can "
        f"read, to {given['key']}"
    )


@says(_told)
def build_cohort(
    *,
    sheet: Annotated[
        Path | Sequence[Path],
        typer.Option(help="Subject sheet, such as subjects.csv; repeatable, to combine cohorts."),
        File(),
        Read(list[Path], tuple),
    ],
    out: OutFile,
    key: Annotated[Path, typer.Option(help="Key to the raw files: cohort/key.parquet."), Form.FILE],
    settings: SettingsOf[CohortSettings],
) -> Split:
    """Read one or several subject sheets; write the cohort and its key.

    A sheet is a CSV file with the columns subject (the participant), visit, ecg and cine. Optional columns are anchor
    (a volume of one frame, for subjects without a cine), annotation (expert labels of the cine), labels_map (from the
    codes of the annotation to ours, such as 1:3,2:2,3:1), split, ed_frame (the recorded frame at end diastole; where it
    is empty, the cine stage finds it), origin (real or simulated), es_phase, and group (a word by which tables divide
    the subjects, such as a diagnosis). Paths are relative to the folder of the sheet; a cell may be empty. The stage
    that reads a file reports whether it exists.

    A subject without an origin in the sheet has the origin of the settings. Where the settings name none either,
    subjects of the synthetic cohort, whose card.json lies beside the sheet, are simulated.

    A subject with es_phase is a pair: the file of its cine holds two frames, ED and then ES at that phase of the cycle.
    It needs no ECG. It is not a whole cycle, so that only labeller and registration can learn from it.

    Subjects without a split are split by a hash of the participant, with two exceptions: annotated subjects train,
    since nnU-Net learns from them, and subjects without a cine are tested, since they show no motion to learn from.
    Where `cohort.split` has no share for training, annotated subjects are drawn like all others.

    Args:
        sheet: subjects.csv, or several; no visit may be in two of them.
        out: `cohort/subjects.parquet`, one row per subject; with a salt it holds no raw name or path. The columns
            origin, es_phase and group exist where any subject has a value.
        key: `cohort/key.parquet`, mode 0600: raw names, and the paths of raw files, which begin with the folder of the
            sheet as given ("" where there is no file).
        settings: salt, split, number of batches, and the code map and the origin for subjects whose sheet has none.

    Returns:
        Numbers of subjects in each split, and the reasons.

    Raises:
        UsageError: the sheet is not valid (the message names row and column), names look like participant ids and
            there is no salt, or the settings are not valid.
    """
    table = _read_sheets([sheet] if isinstance(sheet, Path) else sheet)
    names = _pseudonyms(table["participant"], settings.salt_file)
    table["pseudonym"] = table["participant"].map(names)
    table["subject"] = table["pseudonym"] + "-v" + table["visit"].astype(str)
    table["split"], by = _splits(table, settings)
    batches = settings.batch_names
    table["batch"] = [batches[int(_uniform("batch", name) * len(batches))] for name in table["participant"]]
    table["annotated"] = table["annotation"] != ""
    stated = settings.origin or table["synthetic"].map({True: SIMULATED, False: ""})
    table["origin"] = table["origin"].mask(table["origin"] == "", stated)
    columns = [*_COLUMNS, *(name for name in _WHERE_STATED if (table[name].notna() & (table[name] != "")).any())]
    if settings.labels_map:
        table.loc[table["annotated"] & table["labels_map"].eq(""), "labels_map"] = write_map(settings.labels_map)
    counts = table["split"].value_counts()
    split = Split(
        {name: int(counts.get(name, 0)) for name in SPLITS},
        table["participant"].nunique(),
        by,
        settings.shares,
        int(table["es_phase"].notna().sum()),
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
    """Return the sorted names of all batches that hold a subject.

    Args:
        subjects: `cohort/subjects.parquet`.
    """
    return sorted(read_table(subjects, ["batch"])["batch"].unique())


def select_batch(
    *,
    subjects: Subjects,
    out: OutFile,
    batch: Annotated[str, typer.Option("--name", help="Name of the batch.")],
    only: Annotated[tuple[str, ...], typer.Option(help="Only this subject; repeatable."), Read(list[str], tuple)] = (),
) -> None:
    """Write the rows of one batch.

    Args:
        subjects, batch: as annotated.
        only: select these instead of the subjects of the batch: names as in the columns subject or participant (all
            visits). Without a salt these are the names of the sheet.
        out: `cohort/batches/{batch}.parquet`.

    Raises:
        UsageError: a name in `only` is no subject or participant of the cohort.
    """
    table = read_table(subjects)
    refuse_unknown(only, {*table["subject"], *table["participant"]})
    if only:
        rows = table[table["subject"].isin(only) | table["participant"].isin(only)]
    else:
        rows = table[table["batch"] == batch]
    write_table(out, rows.reset_index(drop=True), stamp({"batch": batch, "only": sorted(only)}))


def refuse_unknown(only: Iterable[str], known: set[str]) -> None:
    """Refuse names of no known subject or participant.

    Raises:
        UsageError: a name is unknown; the message gives the first such name, and the most similar known one.
    """
    for name in only:
        if name not in known:
            close = difflib.get_close_matches(name, sorted(known), n=1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            raise UsageError(f"the cohort has no subject or participant '{redact(name)}'{hint}")


def names_of_sheets(sheets: Sequence[Path], settings: CohortSettings) -> set[str]:
    """Return the names that the subjects and participants of sheets will have, before the cohort is made.

    Raises:
        UsageError: as `build_cohort`.
    """
    table = _read_sheets(sheets)
    return known_names(table["participant"], table["visit"], settings)


def known_names(participants: Iterable[str], visits: Iterable[int], settings: CohortSettings) -> set[str]:
    """Return the names that the subjects and participants in rows of a sheet will have in the cohort."""
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


def _read_sheets(paths: Sequence[Path]) -> pd.DataFrame:
    """Read and check sheets; return their rows, indexed by row number, and by sheet too where there are several."""
    tables = []
    for path in paths:
        try:
            table = _read_sheet(path)
        except UsageError as error:
            raise error if len(paths) == 1 else UsageError(f"{path}: {error}") from None
        if len(paths) > 1:
            table.index = pd.Index([f"{row} of {path}" for row in table.index])
        tables.append(table)
    table = pd.concat(tables)
    for row, repeated in table.duplicated(["participant", "visit"]).items():
        if repeated:
            raise _fault(row, "subject", "an earlier row has the same subject and visit")
    return table


def _read_sheet(path: Path) -> pd.DataFrame:
    """Read and check a sheet. Return participant, visit, paths or "", split or "", ed_frame, es_phase or NaN, and
    whether it is of the synthetic cohort, indexed by row number."""
    if not path.is_file():
        raise UsageError(f"there is no subject sheet {path}")
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
        raise UsageError(f"the subject sheet is not valid CSV: {redact(str(error).strip())}") from None
    cells = cells.fillna("").map(str.strip)
    columns = list(cells.iloc[0])
    _check_columns(columns)
    table = cells.iloc[1:].set_axis(columns, axis=1).set_axis(range(2, len(cells) + 1), axis=0)
    table = table[(table != "").any(axis=1)]
    if table.empty:
        raise UsageError("the subject sheet has no row below the header")
    for column in OPTIONAL:
        if column not in table:
            table[column] = ""

    for row, cell in table["subject"].items():
        if not cell:
            raise _fault(row, "subject", "the cell is empty; name the participant")
    table = table.rename(columns={"subject": "participant"})
    table["visit"] = [_whole_number(row, "visit", cell) for row, cell in table["visit"].items()]
    table["ed_frame"] = pd.array(
        [_whole_number(row, "ed_frame", cell) if cell else pd.NA for row, cell in table["ed_frame"].items()], "Int64"
    )
    for row, cell in table["split"].items():
        if cell not in ("", *SPLITS):
            raise _fault(row, "split", f"'{cell}' is not one of {', '.join(SPLITS)}")
    for row, cell in table["origin"].items():
        if cell not in ("", *ORIGINS):
            raise _fault(row, "origin", f"'{cell}' is not one of {', '.join(ORIGINS)}")
    table["labels_map"] = [_codes(row, cell) for row, cell in table["labels_map"].items()]
    table["es_phase"] = [_phase(row, cell) if cell else math.nan for row, cell in table["es_phase"].items()]
    for row, cell in table["group"].items():
        if cell and (not PLAIN_NAME.fullmatch(cell) or redact(cell) != cell):
            raise _fault(row, "group", f"'{cell}' is not allowed: use at most 64 letters, digits, '-' and '_'")
    _check_files(table)
    table["synthetic"] = _is_synthetic(path.parent)
    # Paths stay relative where the sheet's path is: such a run can be moved, and is the same on every machine.
    folder = path.parent
    for column in _FILES:
        table[column] = [str(folder / cell) if cell else "" for cell in table[column]]
    return table


def _check_columns(columns: list[str]) -> None:
    for column in REQUIRED:
        if column not in columns:
            raise UsageError(f"the subject sheet has no column '{column}'; required are {', '.join(REQUIRED)}")
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
        raise _fault(row, column, f"'{cell}' is not a whole number from 0 to 999")
    return int(cell)


def _phase(row: Hashable, cell: str) -> float:
    try:
        phase = float(cell)
    except ValueError:
        phase = math.nan
    if not 0 < phase < 1:
        raise _fault(row, "es_phase", f"'{cell}' is not a phase of end systole: give a number between 0 and 1")
    return phase


def _codes(row: Hashable, cell: str) -> str:
    try:
        return write_map(read_map(cell)) if cell else ""
    except ValueError as error:
        raise _fault(row, "labels_map", str(error)) from None


def _check_files(table: pd.DataFrame) -> None:
    """Check which files each subject names, before any of them is opened."""
    columns = ["cine", "anchor", "annotation", "ed_frame", "es_phase"]
    for row, cine, anchor, annotation, ed_frame, es_phase in table[columns].itertuples():
        if not cine and not anchor:
            raise _fault(row, "cine", "the cell is empty, and there is no anchor either: give one of them")
        if not cine and annotation:
            raise _fault(row, "annotation", "an annotation belongs to a cine, and this subject has none")
        if not cine and not pd.isna(ed_frame) and ed_frame:
            raise _fault(row, "ed_frame", "an anchor has only one frame: leave the cell empty")
        if not pd.isna(es_phase):
            if not cine or anchor:
                raise _fault(row, "es_phase", "a pair of ED and ES is one file, in the column 'cine': name no anchor")
            if not pd.isna(ed_frame) and ed_frame:
                raise _fault(row, "ed_frame", "a pair of ED and ES begins with ED: leave the cell empty")


def _pseudonyms(participants: pd.Series, salt_file: str | None) -> dict[str, str]:
    """Return the name of every participant under `results/`."""
    if salt_file is None:
        for row, name in participants.items():
            if redact(name) != name:
                raise _fault(row, "subject", "this looks like a participant id; set cohort.salt_file for pseudonyms")
            if not PLAIN_NAME.fullmatch(name):
                raise _fault(row, "subject", "use at most 64 letters, digits, '-' and '_', or set cohort.salt_file")
        names = {name: name for name in participants}
    else:
        salt = _read_salt(salt_file)
        names = {name: f"sub-{_letters(salt, name)}" for name in participants}
    # Some file systems do not distinguish upper and lower case.
    if len({name.lower() for name in names.values()}) < len(names):
        raise UsageError(
            "two participants get the same pseudonym; use another salt in cohort.salt_file"
            if salt_file
            else "the names of two participants differ only in upper and lower case; rename one"
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
    """Return eight letters of a keyed hash. Without the salt, nobody can invert them or test ids against them."""
    number = int.from_bytes(hmac.new(salt, name.encode(), hashlib.sha256).digest())
    letters = []
    for _ in range(_LETTERS):
        number, letter = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[letter])
    return "".join(letters)


def _uniform(purpose: str, name: str) -> float:
    """Return a number in [0, 1) that depends only on purpose and name."""
    return int.from_bytes(hashlib.sha256(f"{purpose}:{name}".encode()).digest()[:6]) / 2**48


def _splits(table: pd.DataFrame, settings: CohortSettings) -> tuple[pd.Series, dict[str, int]]:
    """Return the split of every row, the same for all visits of a participant, and the number of rows per reason."""
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
