"""Disturb runs on a real SLURM, then type the plain command once more: the results are those of an undisturbed run.

    python tests/torture/slurm.py                 # every disturbance
    python tests/torture/slurm.py scancel full    # some of them

It goes from the raw files of the smallest configuration through reading, nnU-Net training and labelling, on the cluster
of tests/slurm. Each disturbance starts from the same synthetic raw files, in a copy of the repository of its own. Exit
code 1, and the differences, where results are not the same in the end. Needs root, as the cluster does.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))
sys.path.insert(0, str(Path(__file__).parents[1] / "slurm"))

from cluster import Cluster, rule, running
from running import fingerprints
from submission import ENVIRONMENT, LIMIT_S, TINY, Submission, fresh_copy

RAW = "results/tiny/phantom/subjects.csv"
TARGETS = ("results/tiny/beats/b000.parquet", "results/tiny/labels/b000")
SHORT = ("--config", "labels={epochs: 4, iterations: 10, batch: 4, learning_rate: 0.1}")  # it need not learn anything


class Run(Submission):
    """One disturbed run: reading, training and labelling in a copy of the repository of its own."""

    def submit(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Type the command, with further arguments."""
        return self.start(*arguments, *SHORT, "--", *TARGETS)

    def ends(self, of: str = "") -> list[str]:
        """How its jobs ended, those of one rule where one is named."""
        return [f"{rule(job)} {job['JobState']}" for job in self.jobs(of)]


def undisturbed(run: Run) -> None:
    """Nothing happens."""
    run.finish(run.submit())


def scancel(run: Run) -> None:
    """The training is cancelled after its first checkpoint, then a reading job; both are tried again by themselves."""
    snakemake = run.submit()
    subprocess.run(["scancel", run.wait_for("ingest")], check=True)
    subprocess.run(["scancel", run.wait_for_checkpoint()], check=True)
    run.finish(snakemake)


def time_limit(run: Run) -> None:
    """The training stands still until it meets its limit; it goes on from its checkpoint in a second, longer job."""
    snakemake = run.submit("--set-resources", "labeller:runtime=2 * attempt")
    run.wait_for_checkpoint()
    for process in run.processes("labeller"):
        process.suspend()
    run.wait_for("labeller", nth=2)
    run.finish(snakemake)


def memory(run: Run) -> None:
    """Labelling asks for too little memory and is killed; a later attempt asks for enough."""
    run.finish(run.submit("--set-resources", "label:mem_mb=250 * attempt ** 2"))
    if len(run.jobs("label")) == 1:
        raise RuntimeError("labelling was meant to be killed")


def snakemake_killed(run: Run) -> None:
    """`kill -9` of Snakemake; then, as docs/how-to/cluster.md says: cancel its jobs, unlock, type the command again."""
    snakemake = run.submit()
    run.wait_for_checkpoint()
    os.killpg(snakemake.pid, signal.SIGKILL)
    if run.submit().wait(LIMIT_S) == 0:
        raise RuntimeError("a second run was let into a locked folder")
    run.stop()
    subprocess.run(["snakemake", "--unlock", *TINY], cwd=run.copy, env=ENVIRONMENT, check=True, capture_output=True)
    run.finish(run.submit())


def slurmd_killed(run: Run) -> None:
    """`kill -9` of slurmd under the training, which lives on; slurmd is started again a little later."""
    snakemake = run.submit()
    run.wait_for_checkpoint()
    run.cluster.kill_node()
    time.sleep(10)
    run.cluster.start_node()
    run.finish(snakemake)


def node_failed(run: Run) -> None:
    """The training's job is put back into the queue, as SLURM does by itself when a node is gone."""
    snakemake = run.submit()
    subprocess.run(["scontrol", "requeue", run.wait_for_checkpoint()], check=True)
    run.finish(snakemake)


def full(run: Run) -> None:
    """The disk of the results is full, at every attempt; then there is room, and the command is typed again."""
    results = run.copy / "results"
    size = sum(path.stat().st_size for path in results.rglob("*") if path.is_file())
    aside = results.rename(run.copy / "aside")
    results.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size + 3_000_000}", "tmpfs", str(results)], check=True)
    try:
        shutil.copytree(aside, results, dirs_exist_ok=True)
        if run.submit("--retries", "1").wait(LIMIT_S) == 0:
            raise RuntimeError("the disk was meant to be full")
        subprocess.run(["mount", "-o", "remount,size=2g", str(results)], check=True)
        run.finish(run.submit())
        kept = shutil.copytree(results, run.copy / "kept")
    finally:
        subprocess.run(["umount", "--lazy", str(results)], check=True)
    results.rmdir()
    kept.rename(results)


DISTURBANCES: dict[str, Callable[[Run], None]] = {
    "scancel": scancel,
    "time-limit": time_limit,
    "memory": memory,
    "snakemake-killed": snakemake_killed,
    "slurmd-killed": slurmd_killed,
    "node-failed": node_failed,
    "full": full,
}


def differences(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    """In words; what trainings leave beside their results does not count."""
    kept = (
        {name: mark for name, mark in files.items() if not name.startswith("checkpoints/")}
        for files in (expected, found)
    )
    expected, found = kept
    same = sorted(expected.keys() & found.keys())
    return [
        *(f"{name} is not the same" for name in same if expected[name] != found[name]),
        *(f"{name} is missing" for name in sorted(expected.keys() - found.keys())),
        *(f"{name} is left over" for name in sorted(found.keys() - expected.keys())),
    ]


def torture(folder: Path, cluster: Cluster, names: list[str]) -> list[str]:
    """Run undisturbed, then with each disturbance; the faults found, in words."""
    raw = Run(fresh_copy(folder / "raw"), cluster)
    raw.finish(raw.start("--", RAW))
    expected: dict[str, str] = {}
    faults = []
    for name, disturb in {"undisturbed": undisturbed, **{name: DISTURBANCES[name] for name in names}}.items():
        begun = time.monotonic()
        run = Run(shutil.copytree(raw.copy, folder / name), cluster)
        try:
            disturb(run)
            found = fingerprints(run.results)
            expected = expected or found
            new = differences(expected, found)
        except (RuntimeError, TimeoutError, subprocess.SubprocessError) as error:
            new = [str(error)]
            run.stop()
        faults += [f"{name}: {fault}" for fault in new]
        ends = Counter(run.ends())
        jobs = ", ".join(f"{count} {end}" for end, count in sorted(ends.items()))
        print(f"{name}: {len(new)} faults, {time.monotonic() - begun:.0f} s; jobs: {jobs}", flush=True)
    print(f"{len(expected)} files compared each time, {len(faults)} faults", flush=True)
    return faults


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("disturbances", nargs="*", metavar="DISTURBANCE", help=f"of {', '.join(DISTURBANCES)}")
    names = parser.parse_args().disturbances or list(DISTURBANCES)
    if unknown := set(names) - DISTURBANCES.keys():
        parser.error(f"no such disturbance: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as folder, running(Path(folder) / "cluster") as cluster:
        faults = torture(Path(folder), cluster, names)
    print(*faults, sep="\n")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
