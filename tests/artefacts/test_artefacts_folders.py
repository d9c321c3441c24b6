"""Artefacts appear whole or not at all, whenever their writer dies."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from cof.artefacts.folders import Batches, find, whole_file, whole_folder

Writer = Callable[[Path], AbstractContextManager[Path]]


def fill(aside: Path, text: str) -> None:
    """Write text as the file, or into a file of the folder."""
    (aside / "content" if aside.is_dir() else aside).write_text(text)


def content(path: Path) -> str:
    return (path / "content" if path.is_dir() else path).read_text()


@pytest.fixture(params=[whole_file, whole_folder], ids=["file", "folder"])
def writer(request: pytest.FixtureRequest) -> Writer:
    return request.param


def test_an_artefact_appears_at_the_end_and_nothing_else(tmp_path: Path, writer: Writer) -> None:
    out = tmp_path / "new" / "artefact"
    for text in ("first", "second"):
        before = content(out) if out.exists() else None
        with writer(out) as aside:
            fill(aside, text)
            assert (content(out) if out.exists() else None) == before
        assert content(out) == text
    assert [path.name for path in out.parent.iterdir()] == ["artefact"]


def test_an_error_leaves_what_was_there(tmp_path: Path, writer: Writer) -> None:
    with writer(tmp_path / "artefact") as aside:
        fill(aside, "whole")
    with pytest.raises(ZeroDivisionError), writer(tmp_path / "artefact") as aside:  # noqa: PT012
        fill(aside, "half")
        raise ZeroDivisionError
    assert content(tmp_path / "artefact") == "whole"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_does_not_keep_what_was_in_its_predecessor(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with whole_folder(tmp_path / "out") as folder:
            (folder / name).touch()
    assert [path.name for path in (tmp_path / "out").glob("[!.]*")] == ["b"]


def test_a_killed_writer_leaves_nothing_that_counts_and_the_next_one_tidies(tmp_path: Path, writer: Writer) -> None:
    code = (
        "import sys, time; from pathlib import Path; from cof.artefacts import folders\n"
        f"with folders.{writer.__name__}(Path(sys.argv[1])) as aside:\n"
        "    (aside / 'content' if aside.is_dir() else aside).write_text('half')\n"
        "    print(flush=True); time.sleep(60)"
    )
    out, neighbour = tmp_path / "b000", tmp_path / "b000.json"
    neighbour.write_text("of another writer")
    killed = subprocess.Popen([sys.executable, "-c", code, str(out)], stdout=subprocess.PIPE)
    assert killed.stdout is not None
    killed.stdout.readline()
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not out.exists()
    left = set(tmp_path.iterdir()) - {neighbour}
    assert len(left) == 1
    assert left.pop().name.startswith(".b000.")
    with writer(out) as aside:
        fill(aside, "whole")
    assert set(tmp_path.iterdir()) == {out, neighbour}


def test_workers_of_the_synthetic_cohort_end_with_their_killed_parent(tmp_path: Path) -> None:
    code = (
        "import multiprocessing, time\nfrom concurrent.futures import ProcessPoolExecutor\n"
        "from cof.phantom.stage import _end_with_parent\n"
        "if __name__ == '__main__':\n"
        "    pool = ProcessPoolExecutor(1, multiprocessing.get_context('spawn'), initializer=_end_with_parent)\n"
        "    pool.submit(int).result(); print(*pool._processes, flush=True); time.sleep(60)"
    )
    (tmp_path / "parent.py").write_text(code)
    parent = subprocess.Popen([sys.executable, str(tmp_path / "parent.py")], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 30
    while alive(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(worker)


def alive(pid: int) -> bool:
    """Tell whether a process runs; one that ended and was not waited for does not."""
    state = subprocess.run(["ps", "-o", "state=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return state not in ("", "Z")


def test_batches_are_searched_in_their_order_and_listed_once(tmp_path: Path) -> None:
    for batch, name in (("b000", "one"), ("b000", "two"), ("b001", "two"), ("b999", "three")):
        (tmp_path / batch).mkdir(exist_ok=True)
        (tmp_path / batch / name).touch()
    folders = [tmp_path / batch for batch in ("b001", "b000", "b1000")]
    for name in ("one", "two", "three"):
        assert find(Batches(folders), name) == find(folders, name)
    assert find(folders, "two") == tmp_path / "b001/two"
    assert find(Batches(folders), "three") is None
