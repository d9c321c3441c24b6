import shutil
from pathlib import Path

import pytest


@pytest.fixture
def continued(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, for tests that add to it."""
    return shutil.copytree(finished, tmp_path / "continued", symlinks=True)
