"""The verbs that write a subject sheet: `cof sheet`, with one function for each way to find files."""

from pathlib import Path
from typing import Annotated

import typer

from cof.errors import UsageError, redact
from cof.heart.codes import read_map
from cof.options import Overwrite
from cof.sheets.acdc import write_acdc
from cof.sheets.patterns import list_by_patterns
from cof.sheets.table import write_sheet
from cof.sheets.ukb import list_ukb

Raw = Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder that holds the files; nothing is written into it.")]
# A sheet carries no provenance, so that `write_sheet` checks its path, and not `cof.outputs`.
SheetOut = Annotated[Path, typer.Option("--out", help="Path of the sheet.")]


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
        str | None, typer.Option(help="Map from the codes of the annotations to ours: 1:3,2:2,3:1 for ACDC.")
    ] = None,
    out: SheetOut = Path("subjects.csv"),
    overwrite: Overwrite = False,
) -> None:
    """Write the sheet of the files that match patterns.

    Raises:
        UsageError: a pattern or the map of codes is not valid, there is no pattern for scans or anchors, no visit is
            complete, or the sheet may not be written.
    """
    if not scan and not anchor:
        raise UsageError("give a pattern for the scans by --scan, or for anchors by --anchor")
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
        list[Path] | None, typer.Option(help="List of participants who have withdrawn, one id per line; repeatable.")
    ] = None,
    out: SheetOut = Path("subjects.csv"),
    overwrite: Overwrite = False,
) -> None:
    """Write the sheet of UK Biobank's bulk files.

    Raises:
        UsageError: the folder or a list does not exist, no visit is complete, or the sheet may not be written.
    """
    listing = list_ukb(_folder(folder), withdrawn or ())
    typer.echo(redact(write_sheet(listing, folder, out, overwrite=overwrite)))


def sheet_of_acdc(
    *,
    folder: Raw,
    cines: Annotated[
        bool, typer.Option("--cines", help="Use whole 4D cines, unchanged, in place of the pairs of ED and ES.")
    ] = False,
    out: SheetOut = Path("subjects.csv"),
    overwrite: Overwrite = False,
) -> None:
    """Write the sheet of ACDC's patients, and their images and annotations into a folder beside it.

    Raises:
        UsageError: the folder has no patient, or the sheet or its folder may not be written.
    """
    typer.echo(write_acdc(_folder(folder), out, cines, overwrite))


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise UsageError(f"{path} is {'a file' if path.exists() else 'missing'}; give the folder that holds the files")
    return path
