"""The mission's own command, typed as a user types it: in a fresh copy of the repository, on the test cluster."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
from cluster import Cluster, rule, wait_until

REPOSITORY = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    "OMP_WAIT_POLICY": "PASSIVE",
    "PYTHONUNBUFFERED": "1",
}
TINY = ("--configfile", "workflow/config/tiny.yaml", "tests/workflow/fewer.yaml")
# What differs from a real cluster: no accounting; jobs of seconds, which are asked after more often; and one thread, as
# the local runs have that we compare with, since the number of threads decides the last bits of a training.
HERE = (
    *("--slurm-no-account", "--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "1"),
    *("--set-threads", "phantom=2", "labeller=1", "toppr=1", "train=1"),
)
LIMIT_S = 1500


def fresh_copy(folder: Path) -> Path:
    """What a clone of the repository would hold, changes that are not committed among it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY, text=True, capture_output=True, check=True,
    )  # fmt: skip
    for name in listed.stdout.split("\0"):
        if name and (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)
    return folder


class Submission:
    """One copy of the repository, what is typed there, and SLURM's records of the jobs that come of it."""

    def __init__(self, copy: Path, cluster: Cluster) -> None:
        self.copy, self.cluster = copy, cluster
        self.results = copy / "results/tiny"
        self.log = copy.parent / f"{copy.name}.log"
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Type `snakemake --profile slurm`, with further arguments."""
        with self.log.open("ab") as said:
            run = subprocess.Popen(
                ["snakemake", "--profile", "slurm", *TINY, *HERE, *arguments],
                cwd=self.copy, env=ENVIRONMENT, stdout=said, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self.started.append(run)
        return run

    def finish(self, run: subprocess.Popen[bytes]) -> None:
        """Wait until a run has ended well.

        Raises:
            RuntimeError: it has not.
        """
        if status := run.wait(LIMIT_S):
            raise RuntimeError(f"ended with {status}: {self.log.read_text()[-6000:]}")

    def stop(self) -> None:
        """`kill -9` whatever still runs of Snakemake; then `scancel` its jobs, which outlive it."""
        for run in self.started:
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)
                run.wait()
        if left := [job["JobId"] for job in self.jobs() if job["JobState"] in {"PENDING", "RUNNING", "COMPLETING"}]:
            subprocess.run(["scancel", *left], check=True)

    def jobs(self, of: str = "") -> list[dict[str, str]]:
        """The jobs, oldest first; only those of one rule or group, where one is named."""
        mine = [job for job in self.cluster.jobs() if job["WorkDir"] == str(self.copy)]
        return [job for job in mine if rule(job) == of] if of else mine

    def wait_for(self, of: str, nth: int = 1) -> str:
        """The id of the nth job of a rule or group, once it runs."""

        def runs() -> bool:
            jobs = self.jobs(of)
            return len(jobs) >= nth and jobs[nth - 1]["JobState"] == "RUNNING"

        wait_until(runs, f"job {nth} of {of} runs", LIMIT_S)
        return self.jobs(of)[nth - 1]["JobId"]

    def wait_for_checkpoint(self) -> str:
        """The id of the labeller's job, once its training has left a checkpoint."""
        job = self.wait_for("labeller")
        checkpoints = self.results / "checkpoints/labeller"
        wait_until(lambda: any(checkpoints.rglob("checkpoint_latest.pth")), "there is a checkpoint", LIMIT_S)
        return job

    def hold_at_first_step(self, of: str, curves: str) -> str:
        """The id of a training's job, which stands still in its first iterations; SLURM wakes what it ends."""
        job = self.wait_for(of)
        wait_until((self.results / curves / "events.tfevents").is_file, "the training has begun", LIMIT_S)
        for process in self.processes(of):
            process.suspend()
        return job

    def processes(self, verb: str) -> list[psutil.Process]:
        """What runs of `cof VERB`."""
        return [
            process
            for process in psutil.process_iter(["cmdline", "cwd"])
            if process.info["cwd"] == str(self.copy) and process.info["cmdline"][2:3] == [verb]  # python cof VERB
        ]
