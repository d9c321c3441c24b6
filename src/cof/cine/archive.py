"""Files inside a zip archive or a folder, read in memory: nothing is ever extracted, and no member is trusted."""

import lzma
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from cof.errors import CofError, Reason

# Far above any short-axis archive (750 files, 0.2 GB), far below what harms a machine.
MAX_MEMBERS = 20_000
MAX_MEMBER_BYTES = 256 * 2**20
MAX_TOTAL_BYTES = 4 * 2**30
# Black images compress a thousandfold, so that the ratio only counts for what would fill memory.
MAX_RATIO = 200
RATIO_FROM_BYTES = 256 * 2**20


def read_members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of every regular file in the archive or folder at `path`, sorted by name.

    Hidden files (among them the doubles that some systems put into archives) are passed over.

    Raises:
        CofError: CINE_MISSING, or CINE_UNREADABLE for an archive that is broken, encrypted, oversized (in members,
            bytes or compression ratio), or whose members point out of it.
    """
    if not path.exists():
        raise CofError(Reason.CINE_MISSING, "the cine is not there")
    if path.is_dir():
        yield from _read_folder(path)
    else:
        yield from _read_zip(path)


def _read_folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    root = folder.resolve()
    files = []
    for file in sorted(folder.rglob("*")):
        if file.name.startswith("."):
            continue
        if not file.resolve().is_relative_to(root):
            raise _refused("a link in the folder leads out of it")
        if file.is_file():
            files.append(file)
    _check_sizes([file.stat().st_size for file in files])
    for file in files:
        yield file.relative_to(folder).as_posix(), file.read_bytes()


def _read_zip(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = sorted((info for info in archive.infolist() if not info.is_dir()), key=lambda info: info.filename)
            for info in members:
                _check_member(info)
            # Reading stops at the declared size, so that these sums cannot be exceeded.
            sizes = [info.file_size for info in members]
            _check_sizes(sizes)
            packed = sum(info.compress_size for info in members)
            if sum(sizes) > RATIO_FROM_BYTES and sum(sizes) > MAX_RATIO * max(packed, 1):
                raise _refused("the archive is compressed beyond what images can be")
            for info in members:
                if not PurePosixPath(info.filename).name.startswith("."):
                    yield info.filename, archive.read(info)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, OSError) as error:
        raise _refused(f"the archive is broken ({type(error).__name__})") from None


def _check_member(info: zipfile.ZipInfo) -> None:
    name = PurePosixPath(info.filename.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts or (name.parts and ":" in name.parts[0]):
        raise _refused("a member of the archive points out of it")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise _refused("a member of the archive is a link")
    if info.flag_bits & 0x1:
        raise _refused("the archive is encrypted")


def _check_sizes(sizes: list[int]) -> None:
    if len(sizes) > MAX_MEMBERS:
        raise _refused(f"{len(sizes)} files; at most {MAX_MEMBERS} are read")
    if any(size > MAX_MEMBER_BYTES for size in sizes) or sum(sizes) > MAX_TOTAL_BYTES:
        raise _refused(f"{sum(sizes) / 2**20:.0f} MiB unpacked is too large for a cine")


def _refused(message: str) -> CofError:
    return CofError(Reason.CINE_UNREADABLE, message)
