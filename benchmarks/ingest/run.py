"""Seconds per subject from raw files to beat and canonical cine, compared with the usual public tools in one run.

Run with `--help`; README.md explains the comparison.
"""

import argparse
import os
import statistics
import tempfile
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK
import xmltodict
from scipy.ndimage import zoom

from cof.cine.archive import read_members
from cof.cine.elements import read_elements
from cof.cine.grid import make_grid, write_grid
from cof.cine.reader import read_cine_source
from cof.cine.volume import Cine, read_cine, uniform_times, write_cine
from cof.config.data import BeatSettings, GridSettings, PhantomSettings
from cof.ecg.cycle import representative_cycle
from cof.ecg.reader import read_ecg
from cof.phantom.stage import Member, make_subject

GRID = GridSettings(shape=(12, 96, 96), spacing_mm=(10.0, 1.8, 1.8), frames=50)
SUBJECTS = 10_000


def make_raw(folder: Path) -> tuple[Path, Path]:
    """Make ECG and cine archive of one synthetic subject at paper scale, once."""
    cine, ecg = folder / "raw/cine/sub-0001_20209_2_0.zip", folder / "raw/ecg/sub-0001_20205_2_0.xml"
    if not (cine.is_file() and ecg.is_file()):
        settings = PhantomSettings(train=1, test=1, frames=50, slices=12, matrix=208)
        make_subject(Member("sub-0001", "train", False), folder, settings, 0)
    return ecg, cine


def stand_in_labels(shape: tuple[int, ...]) -> np.ndarray:
    """Return labels [Z, Y, X] that place the crop: a disc of LV in a ring of myocardium in the middle of each slice."""
    y, x = np.ogrid[: shape[1], : shape[2]]
    radius = np.hypot(y - shape[1] / 2, x - shape[2] / 2)
    return np.broadcast_to(np.where(radius < 12, 1, np.where(radius < 18, 2, 0)).astype(np.uint8), shape)


def by_pydicom(archive: Path, folder: Path) -> np.ndarray:
    """Return the stack [T, Z, Y, X] by `dcmread` in a loop over the extracted files."""
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder)
    slices = defaultdict(list)
    for path in folder.glob("*.dcm"):
        data = pydicom.dcmread(path)
        slices[int(data.SeriesDescription.rsplit("_b", 1)[1])].append(data)
    stack = []
    for number in sorted(slices):
        frames = sorted(slices[number], key=lambda data: float(data.TriggerTime))
        stack.append(np.stack([data.pixel_array for data in frames]))
    return np.stack(stack, axis=1).astype(np.int16)


def by_simpleitk(archive: Path, folder: Path) -> np.ndarray:
    """Return the stack [T, Z, Y, X] by SimpleITK's series reader over the extracted files, one series per slice."""
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder)
    reader = SimpleITK.ImageSeriesReader()
    stack = []
    # The synthetic series UIDs ascend from base to apex, and file names in a series follow time.
    for series in sorted(reader.GetGDCMSeriesIDs(str(folder))):
        reader.SetFileNames(sorted(reader.GetGDCMSeriesFileNames(str(folder), series)))
        stack.append(SimpleITK.GetArrayFromImage(reader.Execute()))
    return np.stack(stack, axis=1).astype(np.int16)


def canonical_by_zoom(stack: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Return the canonical cine by crop around the middle, `scipy.ndimage.zoom` per frame, and scaling to [0, 1]."""
    low, high = np.percentile(stack[0], (1, 99))
    factors = [1.0, spacing_mm[1] / GRID.spacing_mm[1], spacing_mm[2] / GRID.spacing_mm[2]]
    half = [int(np.ceil(size / factor / 2)) + 1 for size, factor in zip(GRID.shape[1:], factors[1:])]
    y, x = stack.shape[2] // 2, stack.shape[3] // 2
    crop = stack[:, :, y - half[0] : y + half[0], x - half[1] : x + half[1]].astype(np.float32)
    frames = np.stack([zoom(frame, factors, order=1) for frame in crop])[:, :, : GRID.shape[1], : GRID.shape[2]]
    return np.rint(np.clip((frames - low) / (high - low), 0, 1) * 10_000).astype(np.int16)


def strip_by_xmltodict(path: Path) -> dict[str, np.ndarray]:
    """Return the strip's leads in mV by xmltodict of the whole file."""
    strip = xmltodict.parse(path.read_bytes())["CardiologyXML"]["StripData"]
    scale = float(strip["Resolution"]["#text"]) / 1000
    return {lead["@lead"]: np.array(lead["#text"].split(","), float) * scale for lead in strip["WaveformData"]}


class Timer:
    """Wall and CPU seconds of named pieces of work, one pair per round."""

    def __init__(self) -> None:
        self.wall: dict[str, list[float]] = defaultdict(list)
        self.cpu: dict[str, list[float]] = defaultdict(list)

    def run(self, name: str, work: Callable[[], object]) -> object:
        """Return the result of `work`, and record its time under `name`."""
        wall, cpu = time.perf_counter(), time.process_time()
        result = work()
        self.wall[name].append(time.perf_counter() - wall)
        self.cpu[name].append(time.process_time() - cpu)
        return result

    def ratio(self, slow: tuple[str, ...], fast: tuple[str, ...]) -> tuple[float, float]:
        """Return the median over rounds of the time of all of `slow` over that of `fast`, as wall and CPU time."""
        wall, cpu = (
            statistics.median(
                sum(one) / sum(other)
                for one, other in zip(zip(*(times[name] for name in slow)), zip(*(times[name] for name in fast)))
            )
            for times in (self.wall, self.cpu)
        )
        return wall, cpu


def measure(ecg: Path, archive: Path, rounds: int) -> Timer:
    """Time all pieces of work in turn, round by round, so that a busy machine slows all of them alike."""
    timer = Timer()
    reference = read_cine_source(archive, 0.1)
    labels, spacing = stand_in_labels(reference.frames.shape[1:]), reference.spacing_mm
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as scratch:
            out = Path(scratch)
            native, grid = out / "native.nii", out / "grid.nii"

            def stack(native: Path = native) -> Cine:
                cine = read_cine_source(archive, 0.1)
                write_cine(native, cine)
                return cine

            def canonical(native: Path = native, grid: Path = grid) -> None:
                cine = read_cine(native)
                write_grid(grid, *make_grid(cine, labels, GRID), cine)

            def save(frames: np.ndarray, out: Path = out) -> None:
                write_cine(out / "other.nii", Cine(frames, np.eye(4), uniform_times(len(frames), 1000.0), 1000.0))

            def loop(out: Path = out) -> np.ndarray:
                frames = by_pydicom(archive, out / "loop")
                save(frames)
                return frames

            def itk(out: Path = out) -> np.ndarray:
                frames = by_simpleitk(archive, out / "itk")
                save(frames)
                return frames

            mine = timer.run("cof: zip to native stack", stack)
            timer.run("cof: native stack to canonical cine", canonical)
            for name, other in (("pydicom loop", loop), ("SimpleITK", itk)):
                frames = timer.run(f"{name}: zip to native stack", other)
                if not np.array_equal(frames, mine.frames):  # type: ignore[attr-defined]
                    raise SystemExit(f"{name} gives another stack: nothing to compare")
            timer.run("zoom: native stack to canonical cine", lambda f=frames: save(canonical_by_zoom(f, spacing)))
        timer.run("bound: bytes from disk", archive.read_bytes)
        timer.run("bound: and decompression", lambda: list(read_members(archive)))
        timer.run(
            "bound: and headers", lambda: [read_elements(c) for n, c in read_members(archive) if n[-4:] == ".dcm"]
        )
        record = timer.run("cof: XML to record", lambda: read_ecg(ecg))
        timer.run("cof: record to beat", lambda r=record: representative_cycle(r, BeatSettings()))
        timer.run("xmltodict: XML to leads", lambda: strip_by_xmltodict(ecg))
    return timer


def report(timer: Timer, rounds: int) -> str:
    """Return the tables as Markdown."""
    lines = [f"{rounds} rounds, {os.cpu_count()} cores; medians.", "", "| work | wall, s | CPU, s |", "|---|---|---|"]
    for name in timer.wall:
        wall, cpu = statistics.median(timer.wall[name]), statistics.median(timer.cpu[name])
        lines.append(f"| {name} | {wall:.3f} | {cpu:.3f} |")
    lines += ["", "| how many times longer than `cof` | wall | CPU |", "|---|---|---|"]
    stack, canonical = "zip to native stack", "native stack to canonical cine"
    for what, slow, fast in (
        (f"pydicom loop: {stack}", (f"pydicom loop: {stack}",), (f"cof: {stack}",)),
        (f"SimpleITK: {stack}", (f"SimpleITK: {stack}",), (f"cof: {stack}",)),
        (f"zoom: {canonical}", (f"zoom: {canonical}",), (f"cof: {canonical}",)),
        (
            "pydicom loop and zoom: zip to canonical cine",
            (f"pydicom loop: {stack}", f"zoom: {canonical}"),
            (f"cof: {stack}", f"cof: {canonical}"),
        ),
        ("xmltodict: XML to leads, against record", ("xmltodict: XML to leads",), ("cof: XML to record",)),
    ):
        wall, cpu = timer.ratio(slow, fast)
        lines.append(f"| {what} | {wall:.1f} | {cpu:.1f} |")
    own = [name for name in timer.cpu if name.startswith("cof")]
    seconds = sum(statistics.median(timer.cpu[name]) for name in own)
    lines += ["", f"{SUBJECTS:,} subjects, XML to beat and zip to canonical cine, labels not counted: "
              f"{seconds * SUBJECTS / 3600:.1f} core-hours ({seconds:.2f} s of CPU time a subject)."]  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    """Make the subject if it does not exist, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for the synthetic subject")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    ecg, archive = make_raw(arguments.work)
    print(report(measure(ecg, archive, arguments.rounds), arguments.rounds))


if __name__ == "__main__":
    main()
