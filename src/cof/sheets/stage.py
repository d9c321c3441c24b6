"""The verbs that write a subject sheet: `cof sheet`, with one function for each source of names."""

from pathlib import Path
from typing import Annotated

import typer

from cof.errors import UsageError, redact
from cof.heart.codes import read_map
from cof.options import Overwrite
from cof.sheets.patterns import list_by_patterns
from cof.sheets.table import write_sheet
from cof.sheets.ukb import list_ukb

Raw = Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder below which the files lie; it is only read.")]
# `write_sheet` makes sure of the sheet, which is nobody's artefact.
SheetOut = Annotated[Path, typer.Option("--out", help="The sheet.")]


def sheet_of_files(
    *,
    folder: Raw,
    ecg: Annotated[
        list[str], typer.Option(help="Pattern of the ECGs, such as '{subject}/ecg_{visit}.xml'; repeatable.")
    ],
    scan: Annotated[
        list[str] | None, typer.Option(help="Pattern of the cines: files, or folders of DICOM files; repeatable.")
    ] = None,
    anchor: Annotated[
        list[str] | None, typer.Option(help="Pattern of anchors, for subjects without a cine; repeatable.")
    ] = None,
    annotation: Annotated[list[str] | None, typer.Option(help="Pattern of expert annotations; repeatable.")] = None,
    labels_map: Annotated[
        str | None, typer.Option(help="From the codes of the annotations to ours: 1:3,2:2,3:1 for ACDC's.")
    ] = None,
    out: SheetOut = Path("subjects.csv"),
    overwrite: Overwrite = False,
) -> None:
    """Write the sheet of files that patterns find.

    Raises:
        UsageError: a pattern or the map of codes is none, there is no scan to look for, or the sheet has no place.
    """
    if not scan and not anchor:
        raise UsageError("name the scans by --scan, or anchors by --anchor")
    try:
        codes = read_map(labels_map) if labels_map else None
    except ValueError as error:
        raise UsageError(f"--labels-map: {error}") from None
    patterns = {"ecg": ecg, "cine": scan, "anchor": anchor, "annotation": annotation}
    listing = list_by_patterns(_folder(folder), {column: texts for column, texts in patterns.items() if texts})
    typer.echo(redact(write_sheet(listing, folder, out, codes, overwrite)))


def sheet_of_ukb(
    *,
    folder: Raw,
    withdrawn: Annotated[
        list[Path] | None, typer.Option(help="List of participants who have withdrawn, an id a line; repeatable.")
    ] = None,
    out: SheetOut = Path("subjects.csv"),
    overwrite: Overwrite = False,
) -> None:
    """Write the sheet of UK Biobank's bulk files.

    Raises:
        UsageError: the folder or a list is not there, or the sheet has no place.
    """
    listing = list_ukb(_folder(folder), withdrawn or ())
    typer.echo(redact(write_sheet(listing, folder, out, overwrite=overwrite)))


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise UsageError(f"{path} is {'a file' if path.exists() else 'not there'}; a folder is asked for")
    return path
