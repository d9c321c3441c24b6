"""Writer of the subject sheet: which visits are complete, where paths begin, and who may read the sheet."""

import csv
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cof.artefacts.folders import private_files, whole_file
from cof.cohort import OPTIONAL, PLAIN_NAME, REQUIRED
from cof.errors import UsageError, redact
from cof.heart.codes import write_map

# Participant and visit; and for each column of the sheet, the path relative to the folder of the files.
Visit = tuple[str, int]
Files = dict[str, str]

_SHOWN = 3
_HEAD_BYTES = 1000  # most that is read of the line with the columns


@dataclass(frozen=True)
class Listing:
    """Files that were found in a folder.

    Attributes:
        visits: files of each visit.
        remarks: what was left out or chosen, one line each.
        named: whether subjects' names may be printed; False where they are participants' ids.
    """

    visits: Mapping[Visit, Files]
    remarks: tuple[str, ...]
    named: bool


def counted(number: int, kind: str) -> str:
    """Return a number with the noun that it counts, such as `1,204 visits`."""
    return f"{number:,} {kind}{'s' * (number != 1)}"


def some(names: Iterable[str], kind: str) -> str:
    """Return the number of names with the first few of them, such as `4 visits (a-v1, b-v1, c-v1, ...)`."""
    ordered = sorted(name.encode(errors="replace").decode() for name in names)
    more = ", ..." if len(ordered) > _SHOWN else ""
    return f"{counted(len(ordered), kind)} ({', '.join(ordered[:_SHOWN])}{more})"


def write_sheet(
    listing: Listing, folder: Path, out: Path, codes: Mapping[int, int] | None = None, overwrite: bool = False
) -> str:
    """Write the sheet of all visits with an ECG and a scan or an anchor, readable by its owner only (mode 0600).

    Args:
        listing: the files.
        folder: folder to which their paths are relative.
        out: path of the sheet. Paths in the sheet are relative to its folder, or absolute where the two folders have
            only the root in common.
        codes: map from the codes of the annotations to ours, if they differ.
        overwrite: whether to replace an existing sheet.

    Returns:
        Content of the sheet, what is missing, and the next command, one line each, without ids.

    Raises:
        UsageError: no visit is complete, `out` exists or cannot be written, or it would hold participants' ids in a git
            checkout that does not ignore it.
    """
    unpaired: dict[str, list[str]] = {}
    complete = []
    for visit in sorted(listing.visits):
        if lacks := _lacks(listing.visits[visit]):
            unpaired.setdefault(lacks, []).append(f"{visit[0]}-v{visit[1]}")
        else:
            complete.append(visit)
    remarks = [*(_unpaired(lacks, names, listing.named) for lacks, names in unpaired.items()), *listing.remarks]
    if not complete:
        raise UsageError("; ".join((f"no visit below {folder} has both an ECG and a scan", *remarks)))

    texts = (text for visit in complete for text in (visit[0], *listing.visits[visit].values()))
    private = not listing.named or any(redact(text) != text for text in texts)
    check_place(out, private, overwrite)
    optional = [column for column in OPTIONAL if any(column in listing.visits[visit] for visit in complete)]
    columns = [*REQUIRED, *optional, *(["labels_map"] if codes and "annotation" in optional else [])]
    start = start_of_paths(folder, out)

    def rows() -> Iterator[dict[str, str | int]]:
        for name, number in complete:
            files = listing.visits[name, number]
            cells: dict[str, str | int] = {column: start + path for column, path in files.items()}
            cells |= {"subject": name, "visit": number}
            if codes and "annotation" in files:
                cells["labels_map"] = write_map(codes)
            yield cells

    write_rows(out, columns, rows())
    return "\n".join((_contents(listing, complete, out), *remarks, *_next(complete, out)))


def write_rows(out: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str | int | float]]) -> None:
    """Write a sheet that only its owner can read (mode 0600).

    Raises:
        UsageError: the sheet cannot be written, or cannot hold one of the paths.
    """
    try:
        with private_files(), whole_file(out) as aside, aside.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            for cells in rows:
                if any(str(cell) != str(cell).strip() for cell in cells.values()):
                    raise UsageError("a path begins or ends with a blank, which a sheet cannot hold: rename the file")
                writer.writerow([cells.get(column, "") for column in columns])
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}") from None
    except UnicodeEncodeError:
        raise UsageError("a path is not UTF-8 text, which a sheet needs: rename the file") from None


def _lacks(files: Files) -> str:
    """Return the reason why a visit cannot be in a sheet; empty for one that can."""
    if "ecg" not in files:
        return "without an ECG" if files.keys() & {"cine", "anchor"} else "with an annotation only"
    if "cine" not in files and "annotation" in files:
        return "with an annotation and without its cine"
    return "" if files.keys() & {"cine", "anchor"} else "without a scan"


def _unpaired(lacks: str, names: Sequence[str], named: bool) -> str:
    return f"left out, {lacks}: {some(names, 'visit') if named else counted(len(names), 'visit')}"


def _contents(listing: Listing, complete: Sequence[Visit], out: Path) -> str:
    drawn = sum("annotation" in listing.visits[visit] for visit in complete)
    subjects = len({name for name, _ in complete})
    said = f"{out}: {counted(subjects, 'subject')}, {counted(len(complete), 'visit')} with ECG and scan"
    return f"{said}, {drawn:,} of them with annotations" if drawn else said


def _next(complete: Sequence[Visit], out: Path) -> list[str]:
    """Return the next command, as lines."""
    if all(PLAIN_NAME.fullmatch(name) and redact(name) == name for name, _ in complete):
        return [f'next: snakemake --cores 2 --config "cohort={{sheet: {out}}}" -n all']
    return [
        "next, once, make a salt for the pseudonyms: head -c 32 /dev/urandom | base64 > salt.txt && chmod 600 salt.txt",
        f'then: snakemake --cores 2 --config "cohort={{sheet: {out}, salt_file: salt.txt}}" -n all',
    ]


def start_of_paths(folder: Path, out: Path) -> str:
    """Return the beginning of the paths in the sheet: "" where its folder is that of the files."""
    there, here = folder.resolve(), out.parent.resolve()
    if os.path.commonpath((there, here)) == there.anchor and here != Path(there.anchor):
        return f"{there}/"
    relative = os.path.relpath(there, here)
    return "" if relative == "." else f"{relative}/"


def check_place(out: Path, private: bool, overwrite: bool) -> None:
    """Raise UsageError if the sheet may not be written to this path."""
    if out.is_dir():
        raise UsageError(f"{out} is a folder; name the sheet in it")
    if out.exists() and not overwrite:
        raise UsageError(f"{out} exists; --overwrite replaces it")
    if out.exists() and not _is_sheet(out):
        raise UsageError(f"{out} is not a subject sheet, and --overwrite replaces only sheets: choose another name")
    if private and _may_be_committed(out):
        raise UsageError(
            f"{out} would hold participants' ids in a git checkout that does not ignore it; add it to .gitignore, or "
            "name another place by --out"
        )


def _is_sheet(path: Path) -> bool:
    """Tell whether a file begins with the columns of a sheet, or is empty."""
    with path.open("rb") as file:
        columns = file.readline(_HEAD_BYTES).decode("utf-8-sig", "replace").strip().split(",")
    return columns == [""] or set(REQUIRED) <= set(columns)


def _may_be_committed(path: Path) -> bool:
    """Tell whether a file is, or would be, in a git checkout that does not ignore it."""
    here = path.parent.resolve()
    while not here.is_dir():
        here = here.parent
    if not any((above / ".git").exists() for above in (here, *here.parents)):
        return False
    git = shutil.which("git")
    asked = [git or "", "-C", str(here), "check-ignore", "--quiet", str(path.absolute())]
    return git is None or subprocess.run(asked, capture_output=True).returncode != 0
