"""Kill a run again and again, then type the plain command once more: the results are those of an undisturbed run.

    python tests/torture/kills.py --kills 20            # over the whole smallest workflow
    python tests/torture/kills.py --kills 3 --ingest    # over the stages that read raw files, as CI runs it

A run of the smallest configuration is killed at random moments, spread over its steps: in turn everything at once (as
when the power goes) and one random process of it (as when memory runs out), soon followed by all others. Each time it
is started again as a user would, and the next kill follows. Exit code 1, and the differences, where the results are not
the same in the end.
"""

import argparse
import itertools
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))

from running import ENVIRONMENT, REPOSITORY, command, fingerprints, snakemake

PROFILE = ("--profile", str(REPOSITORY / "workflow/profiles/local"), "--cores", "2")
INGEST = tuple(f"results/tiny/{kind}" for b in ("b000", "b001") for kind in (f"beats/{b}.parquet", f"cine/{b}"))
RESULTS = "results/tiny"
GOES_ON_S = 5
PATIENCE_S = 15  # for orphans to notice that their parent is gone


class Run:
    """One start of the workflow, whose progress can be watched."""

    def __init__(self, directory: Path, targets: tuple[str, ...]) -> None:
        self.done = 0
        self.steps: int | None = None
        self.log = ""
        self.process = subprocess.Popen(
            command(directory, *PROFILE, "--", *targets), cwd=REPOSITORY, env=ENVIRONMENT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.log = (self.log + line)[-20_000:]
            if found := re.match(r"(\d+) of (\d+) steps", line):
                self.done, self.steps = int(found[1]), int(found[2])
            elif found := re.match(r"total\s+(\d+)", line):
                self.steps = int(found[1])

    def left(self) -> int | None:
        """Steps that are still to be done; unknown before the workflow has counted them."""
        return None if self.steps is None else self.steps - self.done

    def wait(self, seconds: float) -> int:
        """The exit status.

        Raises:
            subprocess.TimeoutExpired: it hangs.
        """
        status = self.process.wait(seconds)
        self.reader.join(PATIENCE_S)
        return status

    def family(self) -> list[psutil.Process]:
        """The processes below the workflow's own."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def kill(self, everything: bool, chance: random.Random) -> str:
        """SIGKILL to all processes, or to a random one; what it was, in words."""
        family = self.family()
        if everything or not family:
            os.killpg(self.process.pid, signal.SIGKILL)
            return "everything"
        victim = chance.choice(family)
        try:
            words = victim.cmdline()
            victim.kill()
        except psutil.NoSuchProcess:
            return "a process that had just ended"
        verb = next((after for word, after in itertools.pairwise(words) if word.endswith("/cof")), "")
        return f"cof {verb}" if verb else "a worker" if "multiprocessing" in str(words) else Path(words[0]).name


def survivors(family: list[psutil.Process]) -> list[int]:
    """Process ids of what still runs after some patience, and is then ended, too."""
    deadline = time.monotonic() + PATIENCE_S
    while (alive := [process for process in family if runs(process)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    for process in alive:
        process.kill()
    return [process.pid for process in alive]


def runs(process: psutil.Process) -> bool:
    """Whether it runs; what ended and was not waited for does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def torture(directory: Path, kills: int, targets: tuple[str, ...], seed: int) -> list[str]:
    """Run undisturbed, then with kills; the faults found, in words."""
    chance = random.Random(seed)
    faults = []
    begun = time.monotonic()
    calm = Run(directory / "undisturbed", targets)
    if status := calm.wait(6 * 3600):
        return [f"the undisturbed run ended with {status}: {calm.log[-3000:]}"]
    duration = time.monotonic() - begun
    limit = 600 + 10 * duration
    steps = calm.done
    print(f"undisturbed: {steps} steps in {duration:.0f} s", flush=True)

    disturbed = directory / "disturbed"
    moments = sorted(chance.sample(range(steps), min(kills, steps)) + [0] * max(0, kills - steps))
    count = 0
    for number, moment in enumerate(moments, 1):
        run = Run(disturbed, targets)
        deadline = time.monotonic() + limit
        while run.process.poll() is None and ((left := run.left()) is None or steps - left < moment):
            if time.monotonic() > deadline:
                faults.append(f"start {number} hangs")
                break
            time.sleep(0.05)
        later = time.monotonic() + chance.uniform(0, min(2 * duration / steps, GOES_ON_S))
        while time.monotonic() < later and (run.left() or steps) > 1:
            time.sleep(0.02)
        family = run.family()
        if run.process.poll() is not None:
            print(f"{number}: had ended before it was killed", flush=True)
            continue
        killed = run.kill(everything=number % 2 == 1, chance=chance)
        count += 1
        try:
            # The workflow goes on without the one job that was killed, until it is killed, too.
            run.wait(limit if killed == "everything" else chance.uniform(0, 2 * GOES_ON_S))
        except subprocess.TimeoutExpired:
            if killed == "everything":
                faults.append(f"kill {number}: the run hangs after everything was killed")
            os.killpg(run.process.pid, signal.SIGKILL)
            run.wait(limit)
        faults += [f"kill {number}: process {pid} lives on" for pid in survivors(family)]
        print(f"{number}: killed {killed} with {run.left()} steps to go", flush=True)
        snakemake(disturbed, "--unlock")  # what the workflow itself asks for after a kill

    run = Run(disturbed, targets)
    if status := run.wait(limit):
        return [*faults, f"the plain re-run ended with {status}: {run.log[-3000:]}"]
    expected, found = (fingerprints(directory / name / RESULTS) for name in ("undisturbed", "disturbed"))
    faults += [
        f"{name} is not the same" for name in sorted(expected.keys() & found.keys()) if expected[name] != found[name]
    ]
    faults += [f"{name} is missing" for name in sorted(expected.keys() - found.keys())]
    faults += [f"{name} is left over" for name in sorted(found.keys() - expected.keys())]
    print(f"{count} kills, {len(expected)} files compared, {len(faults)} faults", flush=True)
    return faults


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--ingest", action="store_true", help="only the stages that read raw files")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        faults = torture(Path(directory), asked.kills, INGEST if asked.ingest else ("all",), asked.seed)
    print(*faults, sep="\n")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
