"""What workers share is made by one of them."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from sharing import made_once


@pytest.fixture
def workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    """Stand-ins of `tmp_path_factory` in three workers of one session."""
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    return [SimpleNamespace(getbasetemp=lambda name=name: tmp_path / name) for name in ("gw0", "gw1", "gw2")]


def test_the_first_makes_it_and_the_others_wait(workers: list[SimpleNamespace]) -> None:
    made = []

    def make(folder: Path) -> None:
        made.append(folder)
        time.sleep(0.2)
        (folder / "done").touch()

    def ask(worker: SimpleNamespace) -> bool:
        return (made_once(worker, "heart", make) / "done").exists()

    with ThreadPoolExecutor() as pool:
        assert list(pool.map(ask, workers)) == [True] * 3
    assert len(made) == 1


def test_what_could_not_be_made_is_not_tried_again(workers: list[SimpleNamespace]) -> None:
    def fail(folder: Path) -> None:
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        made_once(workers[0], "heart", fail)
    with pytest.raises(pytest.fail.Exception, match="no space"):
        made_once(workers[1], "heart", fail)


def test_one_process_makes_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    folder = made_once(tmp_path_factory, "own-heart", lambda folder: (folder / "done").touch())
    assert (folder / "done").exists()
