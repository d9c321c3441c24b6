"""The short form of the kill test; docs/develop/testing.md has the long one."""

import subprocess
import sys

import pytest
from running import REPOSITORY


@pytest.mark.slow
def test_three_kills_change_nothing() -> None:
    called = [sys.executable, str(REPOSITORY / "tests/torture/kills.py"), "--kills", "3", "--ingest"]
    done = subprocess.run(called, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 kills" in done.stdout
    assert "killed everything" in done.stdout
