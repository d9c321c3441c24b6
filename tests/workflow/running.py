"""The real workflow, run by tests in folders of their own."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
TINY = REPOSITORY / "workflow/config/tiny.yaml"
FEWER = Path(__file__).with_name("fewer.yaml")
# The number of threads decides the last bits of a training; more than one gains nothing on networks this small.
ONE_THREAD = ("--set-threads", "labeller=1", "toppr=1", "train=1")

Run = Callable[..., subprocess.CompletedProcess[str]]


ENVIRONMENT = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "PYTHONUNBUFFERED": "1"}


def command(directory: Path, *arguments: str, config: Path = TINY, more: Path | None = None) -> list[str]:
    """What runs the real workflow in `directory`, its results below it; `more` is laid over the configuration."""
    called = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile")]
    files = [str(file) for file in (config, more) if file]
    return [*called, "--directory", str(directory), "--configfile", *files, *arguments]


def snakemake(
    directory: Path, *arguments: str, config: Path = TINY, more: Path | None = None, check: bool = True
) -> subprocess.CompletedProcess:
    """Run the real workflow in `directory`, its results below it."""
    called = command(directory, *arguments, config=config, more=more)
    done = subprocess.run(called, cwd=REPOSITORY, env=ENVIRONMENT, text=True, capture_output=True)
    if check:
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return done


def fingerprints(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below `folder`, except run times and logs."""
    skipped = ("logs", "benchmarks", "cost")
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "cost.html"]
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.relative_to(folder).parts[0] not in skipped
    }
