"""Same seed, same bytes: the whole smallest workflow, run again elsewhere."""

from pathlib import Path

import pytest
from conftest import fingerprints, snakemake


@pytest.mark.slow
def test_another_directory_gets_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    snakemake(tmp_path, "--cores", "2", "--keep-going", "all")
    first, second = (fingerprints(directory / "results/tiny") for directory in (finished, tmp_path))
    # Tests before this one may have run chosen subjects in the first directory.
    first = {name: digest for name, digest in first.items() if "only-" not in name}
    assert len(second) > 100
    assert sorted(first) == sorted(second)
    assert [name for name in second if first[name] != second[name]] == []
