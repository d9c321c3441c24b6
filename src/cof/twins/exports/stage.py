"""The verb that writes a generated heart in the formats of other software."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cof.artefacts.folders import whole_folder
from cof.inputs import Folder
from cof.options import Out, Read, says
from cof.twins.exports.formats import ALL, FORMATS, export, formats_of
from cof.twins.exports.heart import Heart


def formats_named(typed: str) -> tuple[str, ...]:
    """Return the formats that a text names, separated by commas."""
    return formats_of([name.strip() for name in typed.split(",") if name.strip()])


def _told(written: Mapping[str, list[Path]], given: Mapping[str, Any]) -> str:
    """Return the last line of the command: what was written, where, and what this heart cannot have."""
    files = ", ".join(f"{name} ({len(paths)} file{'s' * (len(paths) > 1)})" for name, paths in written.items())
    left_out = [name for name in FORMATS if name not in written and given.get("formats", ()) in ((), (ALL,))]
    why = f"; no {', '.join(left_out)}: the model generates images and no motion" if left_out else ""
    return f"wrote {files} to {given['out']}{why}. Generated, not for diagnosis"


@says(_told)
def export_twin(
    *,
    twin: Annotated[Path, typer.Argument(help="Folder of a heart, as `cof twin --out` writes it."), Folder()],
    out: Out,
    formats: Annotated[
        tuple[str, ...],
        typer.Option(
            help=f"Formats, separated by commas: {', '.join(FORMATS)}. Default: {ALL} that the heart can have."
        ),
        Read(str, formats_named),
    ] = (),
) -> dict[str, list[Path]]:
    """Write a generated heart in the formats of other software.

    Args:
        twin: as annotated.
        out: folder of a folder for each format.
        formats: keys of `cof.twins.exports.formats.FORMATS`. None of them stands for all; a heart without a
            displacement then lacks those of surfaces.

    Returns:
        The files written, by format.

    Raises:
        UsageError: `twin` holds no heart, a format is unknown, or one of surfaces is named and the heart has none.
        CofError: the heart cannot be read, or its labels of ED lack a structure.
    """
    heart = Heart.read(twin)
    with whole_folder(out) as folder:
        written = export(heart, folder, formats)
    return {name: [out / path.relative_to(folder) for path in paths] for name, paths in written.items()}
