"""Programs of others that read what this one writes: the pinned packages of `envs/checkers.txt`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REQUIRED = "COF_CHECKERS"


def checker(name: str) -> str:
    """Path of a program; without it the test is skipped, and fails in continuous integration."""
    found = shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if found is None:
        said = f"there is no {name}: uv pip install -r envs/checkers.txt"
        if os.environ.get(REQUIRED) == "required":
            pytest.fail(said)
        pytest.skip(said)
    return found


def said_by(name: str, *words: object) -> str:
    """What a program prints, to standard output and standard error; the test fails if the program does."""
    done = subprocess.run([checker(name), *map(str, words)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
