"""Wall time, memory and opened files of `cof sheet ukb` for cohorts of any size.

Run with `--help`; README.md explains the measurements.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FIRST = 10**6  # of the participants' numbers; the files hold a byte each
PLACES = {
    "flat": ("", ""),
    "digits": ("cine/{}", "ecg/{}"),
    "platform": ("Bulk/Heart MRI/Short axis/{}", "Bulk/Electrocardiogram/Resting/{}"),
}
COUNTED = """
import sys
from cof import cli
root, opened = sys.argv[-1], []
sys.addaudithook(lambda event, given: opened.append(0) if event == "open" and str(given[0]).startswith(root) else None)
try:
    cli.main(["sheet", "ukb", root, "--out", sys.argv[-2]])
finally:
    print("files opened:", len(opened), file=sys.stderr)
"""


def make_files(root: Path, participants: int, layout: str) -> None:
    """Write a scan and an ECG of every participant, named as UK Biobank names them."""
    made = set()
    for number in range(FIRST, FIRST + participants):
        for place, name in zip(PLACES[layout], (f"{number}_20209_2_0.zip", f"{number}_20205_2_0.xml")):
            folder = root / place.format(str(number)[:2])
            if folder not in made:
                folder.mkdir(parents=True, exist_ok=True)
                made.add(folder)
            descriptor = os.open(folder / name, os.O_CREAT | os.O_WRONLY)
            os.write(descriptor, b"x")
            os.close(descriptor)


def measure(root: Path, out: Path) -> tuple[float, float, float, str]:
    """Return wall and CPU seconds, peak resident memory in MiB, and the last line that the command printed."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", COUNTED, str(out), str(root)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    said = process.stderr.read().decode().splitlines()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit("\n".join(said))
    return time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, said[-1]


def main() -> None:
    """Make files, list them, and print one row per size and layout."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--participants", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--layouts", nargs="+", choices=PLACES, default=list(PLACES))
    parser.add_argument(
        "--work", type=Path, help="where the files are made and removed; by default the temporary folder"
    )
    asked = parser.parse_args()
    print("| participants | layout | wall s | CPU s | MiB | |\n|---:|---|---:|---:|---:|---|")
    for participants in asked.participants:
        for layout in asked.layouts:
            with tempfile.TemporaryDirectory(dir=asked.work) as work:
                make_files(Path(work) / "data", participants, layout)
                wall, cpu, memory, said = measure(Path(work) / "data", Path(work) / "subjects.csv")
                print(f"| {participants:,} | {layout} | {wall:.1f} | {cpu:.1f} | {memory:.0f} | {said} |", flush=True)


if __name__ == "__main__":
    main()
