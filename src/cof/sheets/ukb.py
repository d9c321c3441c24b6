"""Search for UK Biobank's bulk files by their names, `EID_FIELD_VISIT_ARRAY.zip`, which hold participants' ids."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from cof.errors import UsageError, redact
from cof.sheets.table import Files, Listing, Visit, counted
from cof.sheets.walk import size, walk

# A participant's id has at least one digit, since a folder may be called ecg_20205_2_0.
_ID = re.compile(r"[0-9A-Za-z-]*[0-9][0-9A-Za-z-]*")
_NAME = re.compile(rf"({_ID.pattern})_([0-9]{{3,6}})_([0-9]{{1,3}})_([0-9]{{1,3}})(\.[A-Za-z]+)?")
# Column of each field, and endings of its files; None: a scan may have been unpacked to a folder of the same name.
_FIELDS = {"20209": ("cine", (".zip", None)), "20205": ("ecg", (".xml",))}
_CALLED = {"cine": "scan", "ecg": "ECG"}
# Branches of the Research Analysis Platform's tree that are needed; the tree also holds genomes.
_TREE = {
    "Bulk": ("Heart MRI", "Electrocardiogram"),
    "Heart MRI": ("Short axis",),
    "Electrocardiogram": ("Resting",),
}

_SEPARATORS = re.compile(r"[,;\s]")


def list_ukb(folder: Path, withdrawn: Sequence[Path] = ()) -> Listing:
    """Find the short-axis cine (field 20209) and the resting ECG (20205) of every participant and visit.

    Files may be in one folder, in folders by the first digits of the id, or in the tree of the Research Analysis
    Platform (`Bulk/Heart MRI/Short axis/12/`, `Bulk/Electrocardiogram/Resting/12/`), whose other branches are not
    searched. Of several arrays, the latest that is not empty is used.

    Args:
        folder: folder that holds all files.
        withdrawn: lists (`read_withdrawn`) of participants who have withdrawn; they are left out.

    Raises:
        UsageError: a list of withdrawn participants is not valid.
    """
    left_out = {name: path for path in withdrawn for name in read_withdrawn(path)}
    platform, top = (folder / "Bulk").is_dir(), folder.resolve().name

    def enter(path: str) -> bool:
        above, _, name = path.rpartition("/")
        if platform and not above:
            return name == "Bulk"
        known = _TREE.get(above.rpartition("/")[2] if above else top)
        return name in known if known else not _NAME.fullmatch(name)

    latest: dict[Visit, dict[str, tuple[int, str]]] = {}
    arrays: Counter[tuple[Visit, str]] = Counter()
    empty: Counter[str] = Counter()
    twice: Counter[str] = Counter()
    unreadable: list[str] = []
    missed = set()
    for path, entry in tqdm(walk(folder, enter, unreadable), desc="sheet", unit=" files", disable=None):
        name = _NAME.fullmatch(entry.name)
        if not name or name[2] not in _FIELDS:
            continue
        column, endings = _FIELDS[name[2]]
        ending = name[5] and name[5].lower()
        if ending not in endings or entry.is_dir() != (ending is None):
            continue
        if name[1] in left_out:
            missed.add(name[1])
            continue
        if ending and not (bytes_ := size(entry)):
            if bytes_ is None:
                unreadable.append(path)
            else:
                empty[column] += 1
            continue
        visit, array = (name[1], int(name[3])), int(name[4])
        before = latest.setdefault(visit, {}).get(column)
        if before is not None and before[0] == array:
            twice[column] += 1
            path = min(path, before[1])
        else:
            arrays[visit, column] += 1
        if before is None or before[0] <= array:
            latest[visit][column] = (array, path)

    shapeless = next((path for name, path in left_out.items() if redact(name) == name), None)
    if shapeless and any(redact(name) != name for name, _ in latest):
        raise UsageError(f"--withdrawn: {shapeless}: a line does not begin with a participant's id")
    several = Counter(column for (_, column), count in arrays.items() if count > 1)
    remarks = [
        f"several arrays, the latest is used: {_counts(several)}" if several else "",
        f"found twice, the first path is used: {_counts(twice)}" if twice else "",
        f"left out, empty (0 bytes): {_counts(empty)}" if empty else "",
        f"left out, withdrawn: {counted(len(missed), 'participant')} here, of {len(left_out):,} on the list"
        if withdrawn
        else "no list of withdrawn participants was given (--withdrawn)",
        f"left out, cannot be read: {counted(len(unreadable), 'path')}" if unreadable else "",
    ]
    visits: dict[Visit, Files] = {
        visit: {column: path for column, (_, path) in columns.items()} for visit, columns in latest.items()
    }
    return Listing(visits, tuple(remark for remark in remarks if remark), named=False)


def _counts(counter: Counter[str]) -> str:
    return ", ".join(counted(count, _CALLED[column]) for column, count in sorted(counter.items()))


def read_withdrawn(path: Path) -> frozenset[str]:
    """Read the participants on a list of withdrawals: one id per line, as its first word, with or without a header.

    Raises:
        UsageError: the file cannot be read, or a line holds no id; the message gives only its number.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise UsageError(f"--withdrawn: {error.strerror}: {path}") from None
    except UnicodeDecodeError:
        raise UsageError(f"--withdrawn: {path} is not UTF-8 text") from None
    ids = set()
    header = True
    for number, line in enumerate(lines, 1):
        word = _SEPARATORS.split(line.strip(), maxsplit=1)[0].strip("\"'").removesuffix(".0")
        if not line.strip():
            continue
        if _ID.fullmatch(word):
            ids.add(word)
        elif not header:
            raise UsageError(f"--withdrawn: {path}, line {number} does not begin with a participant id")
        header = False
    return frozenset(ids)
