"""Fixtures that several files of tests share."""

from pathlib import Path

import pytest

from unseen import BENCH, Unseen, run_example


@pytest.fixture(scope="session")
def unseen(tmp_path_factory: pytest.TempPathFactory) -> Unseen:
    """A phantom that no training has seen."""
    return Unseen.make(tmp_path_factory.mktemp("unseen"))


@pytest.fixture(scope="session")
def one_heart(unseen: Unseen, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of its heart, which the example has made by shipped weights, and what the example said."""
    folder = tmp_path_factory.mktemp("one_heart") / "heart"
    return folder, run_example("one_heart.py", unseen.ecg, unseen.scan, BENCH, folder)
