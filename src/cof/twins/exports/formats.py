"""The table of the formats in which a generated heart is given away, and the export of one heart.

A format is an entry of `FORMATS` and a module with `write(heart, folder) -> list of the files written`. Modules are
imported when their format is asked for.
"""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from cof.errors import UsageError
from cof.twins.exports.heart import Heart


class Format(NamedTuple):
    """One format.

    Attributes:
        writer: module:function of `write(heart: Heart, folder: Path) -> list[Path]`. The folder exists and is empty;
            no other format writes into it.
        told: what is written, in a line.
        moves: True if it needs the surfaces, which only a heart with a displacement has.
    """

    writer: str
    told: str
    moves: bool = False


FORMATS = {
    "stl": Format("cof.twins.exports.stl:write", "surfaces of ED and ES as binary STL, RAS mm", moves=True),
    "vtp": Format("cof.twins.exports.vtp:write", "surfaces of every frame for ParaView, LPS mm", moves=True),
    "glb": Format("cof.twins.exports.glb:write", "one animated glTF file of all surfaces, metres", moves=True),
    "dicom": Format("cof.twins.exports.dicom:write", "the cine as DICOM MR images, one for each slice and frame"),
    "seg": Format(
        "cof.twins.exports.seg:write", "the labels as DICOM Segmentations of those images, one for each frame"
    ),
    "nrrd": Format("cof.twins.exports.nrrd:write", "cine and labels as volume sequences for 3D Slicer, LPS mm"),
    "tables": Format(
        "cof.twins.exports.tables:write", "LV and RV function, volume curves, regional function: CSV, JSON"
    ),
    "page": Format("cof.twins.exports.page:write", "one HTML file that shows the heart in a browser, without network"),
    "preview": Format("cof.twins.exports.preview:write", "all slices at ED and ES as PNG, three beating ones as GIF"),
}
# Stands for every format that a heart can have.
ALL = "all"


def formats_of(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of formats that are asked for; `ALL` alone stands for all that the heart can have.

    Raises:
        UsageError: there is no such format, or it is named twice.
    """
    if tuple(names) == (ALL,):
        return (ALL,)
    for name in names:
        if name == ALL:
            raise UsageError(f"'{ALL}' stands for every format: name no other beside it")
        if name not in FORMATS:
            raise UsageError(f"there is no format '{name}'; there are {', '.join(FORMATS)}, or {ALL}")
    if len(set(names)) < len(names):
        raise UsageError(f"a format is named twice: {', '.join(names)}")
    return tuple(names)


def chosen_of(heart: Heart, names: Sequence[str]) -> tuple[str, ...]:
    """Return the formats to write: those asked for or, without names or for `ALL`, every one that the heart can have.

    Raises:
        UsageError: as `formats_of`.
    """
    named = formats_of(names)
    if named not in ((), (ALL,)):
        return named
    return tuple(name for name, known in FORMATS.items() if not known.moves or heart.displacement is not None)


def export(heart: Heart, folder: Path, names: Sequence[str] = ()) -> dict[str, list[Path]]:
    """Write a heart in several formats, each into a folder of its own name.

    Args:
        heart: the heart.
        folder: folder that exists.
        names: keys of `FORMATS`; none of them, or `ALL`, for every format that this heart can have.

    Returns:
        The files written, by format. Where all are asked for, a heart without a displacement lacks those of surfaces.

    Raises:
        UsageError: a format is unknown, or one of surfaces is named and the heart has none.
    """
    chosen = chosen_of(heart, names)
    if not chosen or any(FORMATS[name].moves for name in chosen):
        heart.surfaces  # noqa: B018 refused before anything is written
    written = {}
    for name in chosen:
        module, _, function = FORMATS[name].writer.partition(":")
        (folder / name).mkdir()
        written[name] = getattr(import_module(module), function)(heart, folder / name)
    return written
