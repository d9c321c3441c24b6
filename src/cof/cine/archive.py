"""Reader of files in a zip archive or folder, in memory: nothing is extracted to disk, and no member is trusted."""

import stat
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from isal import isal_zlib

from cof.cine.foreign import SINGLE_DICOM, describe
from cof.errors import CofError, Reason, raise_if_broken

# Far above any short-axis archive (1,500 files, 0.15 GiB), and far below what harms a machine.
MAX_MEMBERS = 20_000
MAX_MEMBER_BYTES = 384 * 2**20
MAX_TOTAL_BYTES = 640 * 2**20
# Black images compress a thousandfold; the ratio is therefore checked only where the content would fill memory.
MAX_RATIO = 200
RATIO_FROM_BYTES = 256 * 2**20

# A directory of millions of entries would take minutes to read.
_MAX_DIRECTORY_BYTES = 16 * 2**20
_END_OF_DIRECTORY = b"PK\5\6"
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # of each member: signature, length of the name, length of the extra field
_SIGNATURE = b"PK\3\4"


def read_members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every regular file in an archive or folder, sorted by name, or of one DICOM file.

    Hidden files, such as the copies of metadata that some systems add to archives, are skipped.

    Raises:
        CofError: CINE_MISSING, or CINE_UNREADABLE for an archive that is broken, encrypted, oversized (in members,
            bytes or compression ratio), whose members overlap, or whose members point out of it.
    """
    if not path.exists():
        raise CofError(Reason.CINE_MISSING, "the file or folder of the cine does not exist")
    try:
        if path.is_dir():
            yield from _read_folder(path)
        elif zipfile.is_zipfile(path):
            yield from _read_zip(path)
        elif (kind := describe(path)) == SINGLE_DICOM:
            _check_sizes([path.stat().st_size])
            yield path.name, path.read_bytes()
        else:
            raise _refused(f"the file is {kind}; a scan is a zip or folder of DICOM files, or a NIfTI")
    except CofError:
        raise
    except Exception as error:  # reading foreign bytes can raise anything
        raise_if_broken(error)
        raise _refused(f"the archive is broken ({type(error).__name__})") from None


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
    if _directory_bytes(path) > _MAX_DIRECTORY_BYTES:
        raise _refused("the directory of the archive is too large for a cine")
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        members = sorted((info for info in archive.infolist() if not info.is_dir()), key=lambda info: info.filename)
        for info in members:
            _check_member(info)
        sizes = [info.file_size for info in members]
        _check_sizes(sizes)
        packed = sum(info.compress_size for info in members)
        if sum(sizes) > RATIO_FROM_BYTES and sum(sizes) > MAX_RATIO * max(packed, 1):
            raise _refused("the archive is compressed beyond what images can be")
        _check_overlap(members)
        for info in members:
            if not PurePosixPath(info.filename).name.startswith("."):
                yield info.filename, _unpack(file, info)


def _directory_bytes(path: Path) -> int:
    """Return the size of the archive's directory by its last record, which a comment of up to 64 KiB may follow."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2**16 - 22))
        tail = file.read()
    at = tail.rfind(_END_OF_DIRECTORY)
    return int.from_bytes(tail[at + 12 : at + 16], "little") if at >= 0 else 0


def _unpack(file: BinaryIO, info: zipfile.ZipInfo) -> bytes:
    """Return the content of a member; a member that unpacks to more than its declared size is refused.

    `zipfile` would take twice the time.
    """
    file.seek(info.header_offset)
    signature, name, extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    file.seek(name + extra, 1)
    content = file.read(info.compress_size)
    if info.compress_type == zipfile.ZIP_DEFLATED:
        content = isal_zlib.decompressobj(-15).decompress(content, info.file_size + 1)
    if signature != _SIGNATURE or len(content) != info.file_size or isal_zlib.crc32(content) != info.CRC:
        raise _refused("the archive is broken: a member is damaged")
    return content


def _check_member(info: zipfile.ZipInfo) -> None:
    name = PurePosixPath(info.filename.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts or (name.parts and ":" in name.parts[0]):
        raise _refused("a member of the archive points out of it")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise _refused("a member of the archive is a link")
    if info.flag_bits & 0x1:
        raise _refused("the archive is encrypted")
    # For other methods Python's unpacking cannot be stopped at a size.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _refused("a member of the archive is packed by another method than deflate: pack the archive again")


def _check_overlap(members: list[zipfile.ZipInfo]) -> None:
    """Refuse members that share bytes: they would unpack to far more than the archive holds."""
    end = 0
    for info in sorted(members, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise _refused("members of the archive overlap")
        end = info.header_offset + _LOCAL_HEADER.size + info.compress_size


def _check_sizes(sizes: list[int]) -> None:
    if len(sizes) > MAX_MEMBERS:
        raise _refused(f"{len(sizes)} files; at most {MAX_MEMBERS} are read")
    if any(size > MAX_MEMBER_BYTES for size in sizes) or sum(sizes) > MAX_TOTAL_BYTES:
        raise _refused(f"{sum(sizes) / 2**20:.0f} MiB unpacked is too large for a cine")


def _refused(message: str) -> CofError:
    return CofError(Reason.CINE_UNREADABLE, message)
