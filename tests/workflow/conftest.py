import shutil
from pathlib import Path

import pytest
from running import snakemake


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which the smallest run has gone from raw files to the report."""
    directory = tmp_path_factory.mktemp("tiny")
    snakemake(directory, "--cores", "2", "--keep-going", "all")
    return directory


@pytest.fixture
def continued(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, for tests that add to it."""
    return shutil.copytree(finished, tmp_path / "continued", symlinks=True)
