"""A real SLURM on this machine, for tests: munged, slurmctld and slurmd on loopback, with four "A100s".

    with running(folder) as cluster:
        ...  # sbatch, srun, scancel and `snakemake --profile slurm` work, here and in other processes

The jobs are real processes; only the node's size and its GPUs are declared, not there. The configuration has to lie in
/etc/slurm, because the Snakemake plugin takes SLURM_CONF away from its jobs; so one such cluster at a time.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import yaml

HERE = Path(__file__).parent
GROUPS = set(yaml.safe_load((HERE.parents[1] / "slurm/config.yaml").read_text())["groups"].values())
SITE = Path("/etc/slurm")
PACKAGES = ("slurm-wlm", "munge")
DAEMONS = ("munged", "slurmctld", "slurmd")
PATIENCE_S = 60


class Unavailable(Exception):
    """Why no SLURM can be started here."""


class Cluster:
    """Its daemons, and its own records of jobs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.node = socket.gethostname().split(".")[0]

    def start(self) -> None:
        """Start all daemons and wait until the node takes jobs."""
        munge = self.folder / "munge"
        munge.mkdir(parents=True)
        munge.chmod(0o755)
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        (munge / "key").write_bytes(os.urandom(1024))
        (munge / "key").chmod(0o400)
        for name in ("slurm.conf", "gres.conf"):
            filled = (HERE / name).read_text().format(folder=self.folder, node=self.node)
            (self.folder / name).write_text(filled)
            (SITE / name).symlink_to(self.folder / name)
        files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        # --force: the folders above may be open to others, which munge refuses in earnest.
        _call("munged", "--force", *(f"--{option}={munge / name}" for option, name in files.items()))
        _call("slurmctld", "-c")
        self.start_node()

    def start_node(self) -> None:
        """Start slurmd, and wait until its node takes jobs."""
        _call("slurmd", "-N", self.node)
        wait_until(lambda: _call("sinfo", "-h", "-o", "%T").strip() in {"idle", "mixed", "allocated"}, "the node is up")

    def kill_node(self) -> None:
        """`kill -9` of slurmd, as when a node's software fails; its jobs live on."""
        os.kill(int((self.folder / "slurmd.pid").read_text()), signal.SIGKILL)

    def stop(self) -> None:
        """End all jobs and daemons."""
        subprocess.run(["scancel", "--user=root", "--signal=KILL", "--full"], capture_output=True)
        for pid_file in (self.folder / "slurmd.pid", self.folder / "slurmctld.pid", self.folder / "munge/pid"):
            if _alive(pid_file):
                _end(int(pid_file.read_text()))
        for name in ("slurm.conf", "gres.conf"):
            (SITE / name).unlink(missing_ok=True)

    def jobs(self) -> list[dict[str, str]]:
        """Every job since the start, oldest first, as `scontrol show job` tells it.

        Among the keys: JobId, JobState, Comment (`rule_train_wildcards_cof`, `rule_place_grid_quality` for a group),
        TimeLimit, TRES (`cpu=8,mem=64000M,...`) and, where GPUs were asked for, TresPerJob or TresPerNode.
        """
        text = _call("scontrol", "--oneliner", "show", "job")
        lines = [line for line in text.splitlines() if line.startswith("JobId=")]
        jobs = [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines]
        return sorted(jobs, key=lambda job: int(job["JobId"]))


def rule(job: dict[str, str]) -> str:
    """The rule of a job, or the group of rules."""
    name, has_wildcards, _ = job["Comment"].removeprefix("rule_").partition("_wildcards_")
    group = name.split("_")[0]  # a group names its rules, too
    return group if not has_wildcards and group in GROUPS else name


def gpus(job: dict[str, str]) -> str:
    """What a job asked for: `gpu:a100:1`, or nothing."""
    asked = job.get("TresPerJob") or job.get("TresPerNode") or ""
    return asked.removeprefix("gres:")


@contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """A cluster whose files lie in `folder`, stopped whatever happens.

    Raises:
        Unavailable: no SLURM can be started here.
    """
    install()
    cluster = Cluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def install() -> None:
    """Install SLURM from the system's packages where it is missing.

    Raises:
        Unavailable: it is missing and cannot be installed, or this machine has a SLURM of its own.
    """
    if os.geteuid() != 0:
        raise Unavailable("starting a SLURM for tests needs root")
    if not all(shutil.which(name) for name in DAEMONS):
        if not shutil.which("apt-get"):
            raise Unavailable(
                f"a SLURM for tests needs {' and '.join(PACKAGES)}, and there is no apt-get to install them"
            )
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for words in (("update", "-qq"), ("install", "-y", "-qq", "--no-install-recommends", *PACKAGES)):
            done = subprocess.run(["apt-get", *words], env=environment, text=True, capture_output=True)
            if done.returncode:
                raise Unavailable(f"apt-get {words[0]} failed: {done.stderr[-500:]}")
    SITE.mkdir(exist_ok=True)
    for path in (SITE / "slurm.conf", SITE / "gres.conf"):
        if path.is_symlink() and not _alive(path.resolve().parent / "slurmctld.pid"):  # of a cluster that was killed
            path.unlink()
        if path.exists():
            raise Unavailable(f"this machine has a SLURM already: {path}")


def wait_until(true: Callable[[], bool], what: str, seconds: float = PATIENCE_S) -> None:
    """Look until it is so.

    Raises:
        TimeoutError: it never was.
    """
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s until {what}")
        time.sleep(0.25)


def _call(*words: str) -> str:
    done = subprocess.run(words, text=True, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def _alive(pid_file: Path) -> bool:
    text = pid_file.read_text().strip() if pid_file.is_file() else ""
    return text.isdigit() and psutil.pid_exists(int(text))


def _end(pid: int) -> None:
    try:
        process = psutil.Process(pid)
        process.terminate()
        try:
            process.wait(15)
        except psutil.TimeoutExpired:
            process.kill()
    except psutil.NoSuchProcess:
        return
