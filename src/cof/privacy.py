"""The privacy check, which finds what is shaped like a participant id in files, in their names and in a git history.

It reports places and never prints a number. Digits inside a decimal, a longer number, a hash or a UUID are not an id.
"""

import gzip
import io
import re
import stat
import subprocess
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from PIL import Image, UnidentifiedImageError

from cof.errors import UsageError, raise_if_broken, redact
from cof.progress import Progress

# The only file that may hold ids, as long as nobody but its owner can read it.
KEY = "key.parquet"

# An id read as a float ends in .0; a number with any other fraction or exponent is a measurement.
_ID = re.compile(rb"(?<![0-9])(?<![0-9]\.)[1-6][0-9]{6}(?![0-9])(?!\.(?!0+(?![0-9]))[0-9])(?![eE][+-]?[0-9])")
# Hashes, and the names that matplotlib gives to the elements of an SVG: a letter and ten digits of a hash.
_HASH = re.compile(rb"(?=[0-9]*[a-fA-F])[0-9a-fA-F]{12,}|[a-z][0-9a-f]{10}")
_LAYOUT = re.compile(rb'"(?:shape|data_offsets)":\[[0-9,]*\]')  # shapes and offsets in the header of safetensors
_PLACES = re.compile(rb'"byte(?:Offset|Length)": ?[0-9]+')  # where arrays lie in the binary part of a glTF file
_WORD_BEFORE = re.compile(rb"[0-9A-Za-z]*\Z")
_WORD_AFTER = re.compile(rb"[0-9A-Za-z]*")
_OPAQUE = re.compile(
    rb"base64,[0-9A-Za-z+/=]+|(?<![0-9a-fA-F-])[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?![0-9a-fA-F-])"
)  # embedded files, and the random UUIDs with which Snakemake names its runs
_LONGEST_WORD = 256

_IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".gif")  # only metadata: compressed pixels can spell any number
_HEAD_BYTES = 2**20  # so much of a binary file is read: headers and their texts
_PACKED = re.compile(rb"^encoding: *(raw|gz|gzip|bz2|bzip2) *$", re.MULTILINE)  # the array of an NRRD file is binary
_GLB_HEAD = 12  # magic, version and length, before the length and the type of the JSON
_PREAMBLE, _DICOM, _DEFLATED = 128, b"DICM", b"1.2.840.10008.1.2.1.99"
_SNIFFED_BYTES = 8192  # as in git, a file with a zero byte up to here is binary


def numbers(text: bytes) -> Iterator[int]:
    """Yield the offsets of everything in `text` that is shaped like a participant id."""
    opaque = [match.span() for match in _OPAQUE.finditer(text)]
    for match in _ID.finditer(text):
        start, end = match.span()
        before = _WORD_BEFORE.search(text[max(start - _LONGEST_WORD, 0) : start])
        after = _WORD_AFTER.match(text[end : end + _LONGEST_WORD])
        hashed = before and after and _HASH.fullmatch(before[0] + match[0] + after[0])
        if not hashed and not any(low <= start < high for low, high in opaque):
            yield start


def check_privacy(
    *,
    paths: Annotated[list[Path] | None, typer.Argument(help="Files and folders to check, such as results.")] = None,
    history: Annotated[bool, typer.Option(help="Also check the whole history of this git repository.")] = False,
) -> None:
    """Print the places of ids in files, folders and the history; exit with code 1 if there are any.

    Raises:
        UsageError: neither paths nor the history are to be checked.
    """
    if not paths and not history:
        raise UsageError("name files or folders to check, or --history")
    found = 0
    files, objects = Progress("privacy", count_files(paths or []), "file"), Progress("history", None, "object")
    with files:
        for place in check_paths(paths or [], files.step):
            typer.echo(place)
            found += 1
    if history:
        with objects:
            for place in check_history(Path(), objects.step):
                typer.echo(place)
                found += 1
    looked = f"{files.done:.0f} file{'' if files.done == 1 else 's'}"
    looked += f" and {objects.done:.0f} objects of the history" if history else ""
    if found:
        typer.echo(f"{found} places look like participant ids; write a number that is none as 10**6 or 1_000_000")
        raise typer.Exit(1)
    typer.echo(f"looked at {looked}: no number shaped like a participant id")


def count_files(paths: Iterable[Path]) -> int:
    """Return the number of files that `check_paths` checks."""
    return sum(_looked_at(path) for root in paths for path in (root.rglob("*") if root.is_dir() else [root]))


def _looked_at(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and ".git" not in path.parts


def check_paths(paths: Iterable[Path], looked: Callable[[], None] = lambda: None) -> Iterator[str]:
    """Yield the places of ids in files and folders and in their names, each as text without the id.

    The protected key is skipped if nobody but its owner may read it. Links are not followed.

    Args:
        paths: files and folders.
        looked: called after each file, to show progress.

    Raises:
        UsageError: a path does not exist.
    """
    for root in paths:
        if not root.exists():
            raise UsageError(f"no such file or folder: {redact(str(root))}")
        shown = root.name if root.is_absolute() else root.as_posix()
        yield from _names([shown])
        inside = sorted(root.rglob("*")) if root.is_dir() else [root]
        for path in inside:
            relative = path.relative_to(root)
            if ".git" in relative.parts:
                continue
            yield from _names([path.name] if path != root else [])
            if path.is_symlink() or not path.is_file():
                continue
            name = redact((Path(shown) / relative).as_posix())
            if path.name == KEY:
                if stat.S_IMODE(path.stat().st_mode) & 0o077:
                    yield f"{name}: the key can be read by others"
                continue
            try:
                with path.open("rb") as file:
                    yield from (f"{name}{place}" for place in _content(path.name, file))
            except OSError as error:
                yield f"{name}: cannot be read ({error.strerror})"
            looked()


def check_history(repository: Path, looked: Callable[[], None] = lambda: None) -> Iterator[str]:
    """Yield the places of ids in all files, file names, commit messages, authors and committers of HEAD's history.

    Each blob is read once.

    Args:
        repository: folder of the repository.
        looked: called after each object, to show progress.

    Raises:
        UsageError: the folder is not a git repository with a commit.
    """
    git = ["git", "-C", str(repository)]
    known = subprocess.run([*git, "rev-parse", "--verify", "HEAD"], capture_output=True)
    if known.returncode:
        raise UsageError("--history: this folder is not a git repository with a commit")
    names = set()
    for sha, kind, path, content in _objects(git):
        if kind == "commit":
            author, _, message = content.partition(b"\n\n")
            yield from (f"commit {sha[:10]}, its message{place}" for place in _lines(message))
            people = b"\n".join(row for row in author.split(b"\n") if row.startswith((b"author ", b"committer ")))
            yield from (f"commit {sha[:10]}, its author or committer" for _ in numbers(people))
        elif kind == "tree":
            names |= {entry.decode(errors="replace") for entry in re.findall(rb"[0-7]+ ([^\0]+)\0.{20}", content, re.S)}
        elif kind == "blob":
            yield from (f"blob {sha[:10]} ({redact(path)}){place}" for place in _content(path, io.BytesIO(content)))
        looked()
    yield from _names(sorted(names))


def _objects(git: list[str]) -> Iterator[tuple[str, str, str, bytes]]:
    """Yield hash, kind, path and content of every object of HEAD's history."""
    listed = subprocess.run([*git, "rev-list", "--objects", "HEAD"], stdout=subprocess.PIPE, check=True).stdout
    form = "--batch=%(objectname) %(objecttype) %(objectsize) %(rest)"
    with tempfile.TemporaryFile() as asked:
        asked.write(listed)
        asked.seek(0)
        with subprocess.Popen([*git, "cat-file", form, "--buffer"], stdin=asked, stdout=subprocess.PIPE) as reading:
            for line in reading.stdout or ():
                sha, kind, size, path = line.rstrip(b"\n").decode(errors="replace").split(" ", 3)
                content = reading.stdout.read(int(size) + 1)[:-1]  # type: ignore[union-attr]
                yield sha, kind, path, content


def _names(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        if _found(name.encode(errors="replace")):
            yield f"the name {redact(name)}"


def _found(text: bytes) -> bool:
    return next(numbers(text), None) is not None


def _content(name: str, file: IO[bytes]) -> Iterator[str]:
    """Yield the places inside one file, each as text that continues the file's name."""
    try:
        if name.endswith(".parquet"):
            yield from _table(pq.ParquetFile(file))
        elif name.endswith(_IMAGES):
            with Image.open(file) as image:
                if _found(repr(image.info).encode()):
                    yield ", its metadata"
        elif name.endswith(".safetensors"):
            # Only names and metadata are checked: shapes, offsets and values of tensors can spell any number.
            length = int.from_bytes(file.read(8), "little")
            header = file.read(min(length, _HEAD_BYTES))
            if _found(_LAYOUT.sub(b"", header)):
                yield ", its header"
        elif name.endswith(".glb") and file.read(_GLB_HEAD).startswith(b"glTF"):
            # Only the JSON in front: after it comes a binary array, whose bytes can spell any number.
            length = int.from_bytes(file.read(4), "little")
            file.read(4)
            if _found(_PLACES.sub(b"", file.read(length))):
                yield ", its JSON"
        elif name.endswith(".nrrd"):
            # Only the header: after its empty line comes a binary array, whose bytes can spell any number.
            text, packed, _ = file.read(_HEAD_BYTES).partition(b"\n\n")
            file.seek(0)
            yield from _lines(text) if packed and _PACKED.search(text) else _text(file)
        elif (content := _without_pixels(file)) is not None:
            yield from (f", byte {offset}" for offset in numbers(content))
        elif name.endswith(".gz"):
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield from _text(unpacked)
        elif name.endswith((".zip", ".npz")):
            with zipfile.ZipFile(file) as archive:
                for member in archive.namelist():
                    yield from (f": {place}" for place in _names([member]))
                    with archive.open(member) as inside:
                        yield from (f", {redact(member)}{place}" for place in _text(inside))
        else:
            file.seek(0)
            yield from _text(file)
    except (
        pa.ArrowException,
        zipfile.BadZipFile,
        gzip.BadGzipFile,
        zlib.error,
        EOFError,
        RuntimeError,
        UnidentifiedImageError,
    ):
        file.seek(0)
        yield from _text(file)


def _without_pixels(file: IO[bytes]) -> bytes | None:
    """Return a DICOM file without the bytes of its pixels, which can spell any number; None for any other file."""
    begin = file.read(_PREAMBLE + len(_DICOM))
    file.seek(0)
    if begin[_PREAMBLE:] != _DICOM:
        return None
    import pydicom

    content = file.read()
    file.seek(0)
    if _DEFLATED in content[:_SNIFFED_BYTES]:
        return None
    read = io.BytesIO(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they may quote an id
            header = pydicom.dcmread(read, stop_before_pixels=True)
        implicit, little = header.original_encoding
        at = read.tell() + (4 if implicit else 8)
        length = int.from_bytes(content[at : at + 4], "little" if little else "big")
    except Exception as error:  # the parser can raise anything
        raise_if_broken(error)
        return None
    return content[:at] + b"\n" + content[at + 4 + length :]


def _text(file: IO[bytes] | gzip.GzipFile) -> Iterator[str]:
    head = file.read(_HEAD_BYTES)
    if b"\0" in head[:_SNIFFED_BYTES]:
        yield from (f", byte {offset}" for offset in numbers(head))
    else:
        yield from _lines(head + file.read())


def _lines(text: bytes) -> Iterator[str]:
    line = 1
    last = 0
    for offset in numbers(text):
        line += text.count(b"\n", last, offset)
        last = offset
        yield f", line {line}"


def _table(table: pq.ParquetFile) -> Iterator[str]:
    metadata = table.schema_arrow.metadata or {}
    if any(_found(text) for item in metadata.items() for text in item):
        yield ", its metadata"
    for batch in table.iter_batches():
        for name, column in zip(batch.schema.names, batch.columns):
            if _holds_ids(column):
                yield f", column '{redact(name)}'"
            yield from (f": {place}" for place in _names([name]))


def _holds_ids(column: pa.Array) -> bool:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _holds_ids(column.dictionary)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _holds_ids(column.flatten())
    if pa.types.is_struct(kind):
        return any(_holds_ids(field) for field in column.flatten())
    values = column.drop_null()
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        found = values.to_numpy(zero_copy_only=False)
        return bool(((found >= 10**6) & (found < 7 * 10**6) & (found == np.trunc(found))).any())
    return _found("\n".join(map(str, values.to_pylist())).encode(errors="replace"))
