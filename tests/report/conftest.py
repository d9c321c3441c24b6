from pathlib import Path

import pytest
from ring_hearts import make_results


@pytest.fixture(scope="session")
def tiny_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_results(tmp_path_factory.mktemp("run") / "results")
