"""CPU and wall seconds of `cof twin` and `cof export` for one synthetic person, by step and by format.

Run with `--help`; README.md explains the measurements.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "shared"))

from timing import timed

from cof.config.data import PhantomSettings
from cof.phantom.stage import make_cohort
from cof.twins import single
from cof.twins.exports.formats import FORMATS, export
from cof.twins.exports.heart import Heart

REPOSITORY = Path(__file__).parents[2]
# The person of `make heart`, who is in no cohort.
PERSON = PhantomSettings(first=9001, train=0, validation=0, test=1, frames=25, slices=10, matrix=144)
# Functions that `cof twin` calls, one after the other, by what they do.
STEPS = {
    "ECG and scan opened": "_check_kinds",
    "ECG read": "parse_batch",
    "cycle of the ECG": "beats_batch",
    "scan stacked": "stack_batch",
    "labels of the scan": "label_batch",
    "canonical grid": "grid_batch",
    "motion of the scan, if the model sees it": "register_batch",
    "heart generated and labelled": "generate_batch",
    "doubt, warnings, origin": "caution",
}
Spent = tuple[float, float]  # CPU and wall seconds


def command(*words: object) -> Spent:
    """Run `cof` in a process of its own, and return CPU and wall seconds with the start of Python."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "cof.cli", *map(str, words)], stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read().decode()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(said)
    return used.ru_utime + used.ru_stime, time.perf_counter() - began


def twin_by_step(**arguments: Any) -> dict[str, Spent]:
    """Make the heart in this process, and return the seconds of each step."""
    spent: dict[str, Spent] = {}

    def measured(name: str, function: Any, *given: Any, **named: Any) -> Any:
        result, *spent[name] = timed(partial(function, *given, **named))
        return result

    for name, function in STEPS.items():
        setattr(single, function, partial(measured, name, getattr(single, function)))
    single.twin_from_files(**arguments)
    return spent


def export_by_format(twin: Path, out: Path) -> dict[str, Spent]:
    """Export the heart in this process, and return the seconds of each format and of what several need."""
    heart, *read = timed(partial(Heart.read, twin))
    spent = {"read": tuple(read), "surfaces": timed(lambda: heart.surfaces)[1:]}
    out.mkdir()
    return spent | {name: timed(partial(export, heart, out, [name]))[1:] for name in FORMATS}


def report(commands: dict[str, Spent], parts: dict[str, dict[str, Spent]], at_once: Spent) -> str:
    """Return the table as Markdown: of each command its parts, then what its process needs besides."""
    whole = commands["twin"][0]
    lines = ["| | CPU s | wall s | CPU over that of `cof twin` |", "|---|---:|---:|---:|"]

    def row(name: str, cpu: float, wall: float) -> None:
        lines.append(f"| {name} | {cpu:.2f} | {wall:.1f} | {cpu / whole:.3f} |")

    for name, (cpu, wall) in commands.items():
        row(f"**`cof {name}`**", cpu, wall)
        for part, spent in parts[name].items():
            row(part, *spent)
        row("start of Python, imports, rest", *(all_ - sum(s[i] for s in parts[name].values())
                                               for i, all_ in enumerate((cpu, wall))))  # fmt: skip
    row("**both commands**", *(sum(spent[i] for spent in commands.values()) for i in range(2)))
    row("**`cof twin --formats all`**", *at_once)
    return "\n".join(lines)


def main() -> None:
    """Make the person, run both commands, then their parts, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, default=REPOSITORY / "weights/bench")
    weights = parser.parse_args().weights
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        make_cohort(out=work / "phantom", settings=PERSON, seed=0, workers=1)
        (ecg,), (scan,) = ((work / "phantom/raw" / kind).iterdir() for kind in ("ecg", "cine"))
        load = os.getloadavg()[0]
        files = ("--ecg", ecg, "--scan", scan, "--weights", weights)
        commands = {
            "twin": command("twin", *files, "--out", work / "twin"),
            "export": command("export", work / "twin", "--out", work / "exports"),
        }
        at_once = command("twin", *files, "--out", work / "both", "--formats", "all")
        parts = {
            "twin": twin_by_step(ecg=ecg, scan=scan, weights=weights, out=work / "again"),
            "export": export_by_format(work / "twin", work / "formats"),
        }
    print(report(commands, parts, at_once))
    print(f"\nload of the machine at the beginning {load:.1f}, at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
