"""Fuzzing of the cine reader: mutated DICOM archives and NIfTIs must give a cine or a typed error, soon and in little
memory.

    python tests/torture/fuzz_cine.py --inputs 20000 --seed 0

Input k of seed s is always the same bytes; `--first` shows one input again. Fails on any exception but `CofError`, on a
cine that breaks the contract, on an input that takes longer than 10 s of CPU time (a traceback of where it hangs is
printed, and the file stays), and on a peak of memory above 2 GiB.
"""

import argparse
import faulthandler
import gzip
import io
import json
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from cof.cine.ed import find_ed
from cof.cine.reader import read_cine_source
from cof.cine.volume import Cine, read_cine, sidecar, write_cine
from cof.errors import CofError
from cof.phantom.dicom import Oddities, write_cine_zip
from cof.phantom.population import sample
from cof.phantom.stack import SLICE_DISTANCE_MM, Stack

sys.path.insert(0, str(Path(__file__).parents[1] / "cine"))
from coded import LOSSLESS, compressed, enhanced, run_length

# Of CPU time, which a busy machine does not stretch; and of waiting, for what hangs without working.
LIMIT_S, WAITING_S = 10, 300
LIMIT_BYTES = 2 * 2**30
FRAMES, SLICES, MATRIX = 6, 3, 12

Files = dict[str, bytes]


def make_files(folder: Path, seed: int) -> Files:
    """The members of a valid archive of the phantom's writer, at tiny size."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.normal(size=(3, 3)))[0].T
    if axes[2] @ [1, -1, -1] < 0:
        axes[2] *= -1
    axes[0] = np.cross(axes[1], axes[2])
    stack = Stack(
        matrix=MATRIX,
        spacing_mm=1.8,
        height_mm=-SLICE_DISTANCE_MM * np.arange(SLICES, dtype=np.float32),
        shift_mm=np.zeros((SLICES, 2), np.float32),
        centre=(6.0, 6.0),
        rotation=0.0,
        orientation=axes[:2],
        position_mm=SLICE_DISTANCE_MM * np.arange(SLICES)[:, None] * axes[2],
        box=(0, MATRIX, 0, MATRIX),
    )
    frames = rng.integers(0, 4000, (FRAMES, SLICES, MATRIX, MATRIX)).astype(np.uint16)
    path = folder / "valid.zip"
    write_cine_zip(path, sample("sub-0001", seed, "population"), stack, frames, frames > 2000, Oddities(), rng)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def encoded(data: Dataset) -> bytes:
    """A dataset as a file; what pydicom refuses to write comes out as nothing."""
    buffer = io.BytesIO()
    try:
        data.save_as(buffer, enforce_file_format=True, overwrite=True)
    except Exception:
        return b""
    return buffer.getvalue()


class Seeds:
    """Valid inputs of every kind that mutations start from."""

    def __init__(self, folder: Path, seed: int) -> None:
        plain = make_files(folder, seed)
        self.datasets = [pydicom.dcmread(io.BytesIO(data)) for name, data in plain.items() if name.endswith(".dcm")]
        self.archives: list[Files] = [plain]
        for syntax, encode in LOSSLESS.items():
            coded = [compressed(data, syntax, encode) for data in self.datasets]
            self.archives.append({f"{k}.dcm": encoded(data) for k, data in enumerate(coded)})
        self.archives.append({f"{k}.dcm": encoded(run_length(data)) for k, data in enumerate(self.datasets)})
        self.archives.append({"all.dcm": encoded(enhanced(self.datasets))})
        values = np.random.default_rng(seed).integers(0, 900, (MATRIX, MATRIX, SLICES, FRAMES)).astype(np.int16)
        image = nib.Nifti1Image(values, np.diag([1.8, 1.8, -10.0, 1.0]))
        image.header.set_zooms((1.8, 1.8, 10.0, 0.15))
        self.nifti = image.to_bytes()
        frames = np.ascontiguousarray(values.transpose(3, 2, 1, 0))
        write_cine(folder / "own.nii", Cine(frames, np.eye(4), np.arange(FRAMES) * 150.0, 900.0))
        self.own = (folder / "own.nii").read_bytes()
        self.sidecar = sidecar(folder / "own.nii").read_text()


def flip(rng: np.random.Generator, data: bytes) -> bytes:
    """Some bytes changed, more often near the front where headers are."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 9))):
        if changed:
            changed[int(len(changed) * rng.random() ** 2)] = int(
                rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.integers(256)])
            )
    return bytes(changed)


def cut(rng: np.random.Generator, data: bytes) -> bytes:
    return data[: int(len(data) * rng.random())]


def splice(rng: np.random.Generator, data: bytes) -> bytes:
    """A stretch repeated, dropped, or replaced by noise."""
    one, other = sorted(int(at) for at in rng.integers(0, len(data) + 1, 2))
    middle = [data[one:other] * 2, b"", rng.bytes(min(other - one, 64))][int(rng.integers(3))]
    return data[:one] + middle + data[other:]


def length_fields(rng: np.random.Generator, data: bytes) -> bytes:
    """The length of a random DICOM element changed."""
    tag = struct.pack("<HH", *[(0x28, 0x10), (0x20, 0x32), (0x7FE0, 0x10), (8, 0x18), (2, 0x10)][int(rng.integers(5))])
    at = data.find(tag, 132)
    if at < 0:
        return data
    value = int(rng.choice([0, 1, 3, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFE]))
    where, packed = (
        (at + 8, struct.pack("<I", value)) if rng.random() < 0.5 else (at + 6, struct.pack("<H", value % 65536))
    )
    return data[:where] + packed + data[where + len(packed) :]


def value_representation(rng: np.random.Generator, data: bytes) -> bytes:
    """The VR of a random element changed."""
    places = [at + 4 for at in range(132, min(len(data) - 6, 2000)) if data[at + 4 : at + 6].isupper()]
    if not places:
        return data
    at = places[int(rng.integers(len(places)))]
    vr = [b"SQ", b"UN", b"OB", b"US", b"DS", b"IS", b"FD", b"XX", b"AT", b"UT"][int(rng.integers(10))]
    return data[:at] + vr + data[at + 2 :]


NUMBERS = ["nan", "inf", "-inf", "0", "-1", "1e300", "1e-300", "", "x", "1\\2\\3\\4\\5\\6\\7", "9" * 400, "٣", "0.0"]
ELEMENTS: list[tuple[str, str, list]] = [
    ("PixelSpacing", "DS", [["nan", "1"], ["inf", "inf"], ["0", "0"], ["-1", "-1"], ["1e-9", "1e9"], "1", ["1"] * 3]),
    ("ImagePositionPatient", "DS", [["nan"] * 3, ["inf", "0", "0"], ["1e300"] * 3, ["0"] * 2, ["0"] * 3]),
    ("ImageOrientationPatient", "DS", [["0"] * 6, ["1"] * 6, ["nan"] * 6, ["1", "0", "0", "0", "1", "0"], ["1"] * 5]),
    ("Rows", "US", [0, 1, 11, 13, 65535]),
    ("Columns", "US", [0, 1, 11, 13, 65535]),
    ("BitsAllocated", "US", [0, 1, 8, 12, 32, 64, 65535]),
    ("BitsStored", "US", [0, 1, 16, 17, 65535]),
    ("SamplesPerPixel", "US", [0, 2, 3, 65535]),
    ("PixelRepresentation", "US", [1, 2, 65535]),
    ("NumberOfFrames", "IS", ["0", "2", "-1", "2147483647", "1" * 12, "x"]),
    ("PhotometricInterpretation", "CS", ["RGB", "PALETTE COLOR", "", "YBR_FULL_422"]),
    ("TriggerTime", "DS", NUMBERS),
    ("InstanceNumber", "IS", NUMBERS),
    ("NominalInterval", "IS", NUMBERS),
    ("RescaleSlope", "DS", NUMBERS),
    ("RescaleIntercept", "DS", NUMBERS),
    (
        "SeriesDescription",
        "LO",
        ["", "LAX", "InlineVF", "SAX_b0", "SAX_b999", "SAX_b2", "\udc80", "a" * 5000, "CINE_SAX"],
    ),
    ("SeriesInstanceUID", "UI", ["", "1", "x", "1.2." * 40]),
    ("SOPInstanceUID", "UI", ["", "1", "x"]),
]
SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian,
            JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless, RLELossless]  # fmt: skip


def element(rng: np.random.Generator, data: bytes) -> bytes:
    """An element set to something absurd, or gone, or another transfer syntax claimed."""
    try:
        whole = pydicom.dcmread(io.BytesIO(data))
        if rng.random() < 0.1:
            whole.file_meta.TransferSyntaxUID = SYNTAXES[int(rng.integers(len(SYNTAXES)))]
        name, vr, values = ELEMENTS[int(rng.integers(len(ELEMENTS)))]
        if rng.random() < 0.15:
            whole.pop(name, None)
        else:
            tag = pydicom.datadict.tag_for_keyword(name)
            whole[tag] = DataElement(tag, vr, values[int(rng.integers(len(values)))])
    except Exception:
        return data
    return encoded(whole) or data


MEMBER: list[Callable[[np.random.Generator, bytes], bytes]] = [
    element, element, element, flip, cut, splice, length_fields, value_representation,
]  # fmt: skip
NAMES = [
    "../out.dcm",
    "/abs.dcm",
    "a\\..\\..\\b.dcm",
    "C:x.dcm",
    "\u00e9\u4e2d.dcm",
    "x" * 300,
    "",
    ".",
    "a//b.dcm",
    "n.txt",
]


def mutate_archive(rng: np.random.Generator, seeds: Seeds) -> bytes:
    files = dict(seeds.archives[int(rng.integers(len(seeds.archives)))])
    names = sorted(files)
    # One member alone is often just left out; a change of all of them goes deeper.
    chosen = (
        names if rng.random() < 0.3 else [names[int(at)] for at in rng.integers(0, len(names), int(rng.integers(1, 4)))]
    )
    mutation, state = MEMBER[int(rng.integers(len(MEMBER)))], int(rng.integers(2**31))
    for name in dict.fromkeys(chosen):
        files[name] = mutation(np.random.default_rng(state), files[name])
    if rng.random() < 0.2:
        for name in names[: int(rng.integers(len(names) + 1))]:
            files.pop(name)
    buffer = io.BytesIO()
    method = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA][
        int(rng.choice(4, p=[0.5, 0.4, 0.05, 0.05]))
    ]
    with zipfile.ZipFile(buffer, "w", method, compresslevel=1) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            if rng.random() < 0.004:
                info.filename = NAMES[int(rng.integers(len(NAMES)))]
            if rng.random() < 0.002:
                info.external_attr = 0o120777 << 16
            archive.writestr(info, content)
    data = buffer.getvalue()
    kind = rng.random()
    if kind < 0.1:
        return [flip, cut, splice][int(rng.integers(3))](rng, data)
    if kind < 0.3:
        return directory(rng, data)
    return data


def directory(rng: np.random.Generator, data: bytes) -> bytes:
    """The central directory of a zip made to lie: sizes, offsets, flags, methods, names."""
    changed = bytearray(data)
    entries = []
    at = data.find(b"PK\1\2")
    while at >= 0:
        entries.append(at)
        at = data.find(b"PK\1\2", at + 46)
    for entry in entries if rng.random() < 0.3 else entries[: int(rng.integers(1, 3))]:
        offset, form, values = [
            (8, "<H", [1, 0x20, 0x40, 0x800, 0x2000]),  # flags
            (10, "<H", [0, 8, 9, 12, 14, 99]),  # method
            (16, "<I", [0, 0xFFFFFFFF]),  # checksum
            (20, "<I", [0, 1, 0x7FFFFFFF, 0xFFFFFFFF]),  # packed size
            (24, "<I", [0, 1, 0x00FFFFFF, 0x17FFFFFF, 0x7FFFFFFF, 0xFFFFFFFF]),  # size
            (28, "<H", [0, 1, 0xFFFF]),  # length of the name
            (30, "<H", [1, 0xFFFF]),  # length of the extra field
            (42, "<I", [0, 1, 30, 0x7FFFFFFF, 0xFFFFFFFF]),  # offset
            (46, "<H", [0xFFFF, 0x80C3, 0]),  # the name itself
        ][int(rng.integers(9))]  # fmt: skip
        struct.pack_into(form, changed, entry + offset, values[int(rng.integers(len(values)))])
    if rng.random() < 0.2:
        end = data.rfind(b"PK\5\6")
        struct.pack_into(
            "<I", changed, end + int(rng.choice([12, 16])), int(rng.choice([0, 1, 2**24, 2**31, 2**32 - 1]))
        )
    return bytes(changed)


def mutate_nifti(rng: np.random.Generator, seeds: Seeds) -> bytes:
    data = bytearray(seeds.nifti)
    for _ in range(int(rng.integers(1, 4))):
        offset, form, values = [
            (0, "<i", [0, 540, -1]),
            (40 + 2 * int(rng.integers(8)), "<h", [0, 1, 2, 7, -1, 3, 32767, -32768]),
            (70, "<h", [0, 1, 2, 16, 32, 64, 128, 512, 768, 1024, 1536, 1792, 2304, 9999]),
            (72, "<h", [0, 1, 8, 32, 64, -1]),
            (76 + 4 * int(rng.integers(8)), "<f", [0, -1, np.nan, np.inf, 1e-30, 1e30, 0.5]),
            (108, "<f", [0, 1, 352, 353, 1e9, -1, np.nan, np.inf]),
            (112 + 4 * int(rng.integers(2)), "<f", [0, np.nan, np.inf, -1, 1e30, 0.001]),
            (123, "<B", [0, 1, 2, 8, 16, 24, 255]),
            (252 + 2 * int(rng.integers(2)), "<h", [0, 1, 2, -1, 30000]),
            (256 + 4 * int(rng.integers(18)), "<f", [0, np.nan, np.inf, -1, 1e30, 10]),
            (344, "<I", [0, 0x0031696E, 0xFFFFFFFF]),
            (348, "<I", [0, 1, 0xFFFFFFFF]),
        ][int(rng.integers(12))]  # fmt: skip
        struct.pack_into(form, data, offset, values[int(rng.integers(len(values)))])
    whole = bytes(data)
    if rng.random() < 0.3:
        whole = [flip, cut, splice][int(rng.integers(3))](rng, whole)
    return whole


def mutate_sidecar(rng: np.random.Generator, seeds: Seeds) -> str:
    record = json.loads(seeds.sidecar)
    name = sorted(record)[int(rng.integers(len(record)))]
    choice = int(rng.integers(4))
    if choice == 0:
        del record[name]
    elif choice == 1:
        record[name] = [None, "x", [], {}, -1, [1, "a"], 10**400, True, [[1]]][int(rng.integers(9))]
    text = json.dumps(record)
    if choice == 2:
        text = text[: int(rng.integers(len(text)))]
    return text if choice < 3 else ["[]", "null", "[" * 5000, "\ud800", ""][int(rng.integers(5))]


def check(cine: Cine) -> None:
    """The contract of every cine that is let in."""
    frames, (count, *_) = cine.frames, cine.frames.shape
    assert frames.dtype == np.int16, "type"
    assert frames.ndim == 4, "axes"
    assert np.isfinite(cine.affine).all(), "affine"
    assert abs(np.linalg.det(cine.affine)) > 0, "affine"
    assert cine.frame_times_ms.shape == (count,), "times"
    assert count == 1 or 300 <= cine.rr_ms <= 2000, "RR"
    assert 0 <= find_ed(cine, None, None)[0] < count, "ED"


def run_one(index: int, seed: int, seeds: Seeds, folder: Path) -> str:
    """Make and read one input; the kind of its result."""
    rng = np.random.default_rng([seed, index])
    kind = rng.random()
    if kind < 0.7:
        path = folder / f"{index}.zip"
        path.write_bytes(mutate_archive(rng, seeds))
    elif kind < 0.95:
        data = mutate_nifti(rng, seeds)
        path = folder / f"{index}.nii"
        if rng.random() < 0.4:
            path, data = folder / f"{index}.nii.gz", gzip.compress(data, 1)
            if rng.random() < 0.3:
                data = [flip, cut, splice][int(rng.integers(3))](rng, data)
        path.write_bytes(data)
    else:
        path = folder / f"{index}.nii"
        path.write_bytes(flip(rng, seeds.own) if rng.random() < 0.3 else seeds.own)
        sidecar(path).write_text(mutate_sidecar(rng, seeds), errors="surrogatepass")
    try:
        if kind < 0.95:
            check(read_cine_source(path, 0.1))
        else:
            read_cine(path)
    except CofError as error:
        result = str(error.reason)
    else:
        result = "cine"
    path.unlink()
    sidecar(path).unlink(missing_ok=True)
    return result


def fuzz(inputs: int, seed: int, folder: Path, first: int = 0) -> tuple[Counter[str], list[str]]:
    """Run inputs `first` to `first + inputs - 1`.

    Returns:
        How often each result came, and a line for every fault.
    """
    # The timer's signal prints where the input hangs, and ends the process.
    faulthandler.register(signal.SIGPROF, chain=True)
    seeds = Seeds(folder, seed)
    results: Counter[str] = Counter()
    faults = []
    for index in range(first, first + inputs):
        signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
        faulthandler.dump_traceback_later(WAITING_S, exit=True)
        try:
            results[run_one(index, seed, seeds, folder)] += 1
        except Exception as error:
            results["FAULT"] += 1
            place = traceback.extract_tb(error.__traceback__)[-1]
            faults.append(f"input {index}: {type(error).__name__}: {error!s:.120} ({place.filename}:{place.lineno})")
        finally:
            faulthandler.cancel_dump_traceback_later()
            signal.setitimer(signal.ITIMER_PROF, 0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if peak > LIMIT_BYTES:
        faults.append(f"memory: {peak / 2**30:.2f} GiB at the peak")
    return results, faults


def main() -> int:
    """Fuzz as the command line says; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first input, to see one again")
    arguments = parser.parse_args()
    faulthandler.enable()
    warnings.simplefilter("ignore")  # of pydicom, on what is written here
    nib.imageglobals.logger.setLevel("CRITICAL")
    begun, cpu = time.monotonic(), time.process_time()
    with tempfile.TemporaryDirectory(prefix="fuzz_cine.") as folder:
        results, faults = fuzz(arguments.inputs, arguments.seed, Path(folder), arguments.first)
    seconds = time.monotonic() - begun
    for fault in faults:
        print(fault)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{arguments.inputs} inputs of seed {arguments.seed} in {seconds:.0f} s ({arguments.inputs / seconds:.1f}/s; "
        f"{arguments.inputs / (time.process_time() - cpu):.0f} a CPU second), "
        f"{len(faults)} faults, {peak:.2f} GiB at the peak: "
        + ", ".join(f"{name} {count}" for name, count in results.most_common())
    )
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
