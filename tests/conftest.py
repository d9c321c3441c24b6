"""How tests share the machine's cores, and what several files of tests share."""

import os
from pathlib import Path

# Before torch is imported: with pytest-xdist as many tests run side by side as there are cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

from sharing import made_once
from unseen import BENCH, Unseen, run_example

HERE = Path(__file__).parent
# The files of tests that take minutes; the first two begin at once, and one of them makes what others wait for.
LONGEST = (
    "workflow/test_workflow_slurm.py",
    "workflow/test_workflow_run.py",
    "workflow/test_workflow_kills.py",
    "workflow/test_workflow_first_day.py",
    "workflow/test_workflow_privacy.py",
    "workflow/test_workflow_controls.py",
    "workflow/test_workflow_faults.py",
    "training/test_training_loop.py",
    "motion/test_motion_training.py",
    "models/test_models_echodiffusion.py",
    "models/test_models_learning.py",
    "twins/test_twins_surfaces.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest: then no worker is left alone with it at the end."""
    turns = {HERE / name: turn for turn, name in enumerate(LONGEST)}
    items.sort(key=lambda item: turns.get(item.path, len(turns)))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which the smallest run has gone from raw files to the report, with all its networks trained.

    All workers share it: for reading only. Tests in `tests/workflow` add to a copy, `continued`.
    """
    from running import FEWER, ONE_THREAD, snakemake

    def run(directory: Path) -> None:
        snakemake(directory, *ONE_THREAD, "--cores", "2", "--keep-going", "--", "all", more=FEWER)

    return made_once(tmp_path_factory, "tiny", run)


@pytest.fixture(scope="session")
def unseen(tmp_path_factory: pytest.TempPathFactory) -> Unseen:
    """A phantom that no training has seen."""
    return Unseen.find(made_once(tmp_path_factory, "unseen", Unseen.make))


@pytest.fixture(scope="session")
def one_heart(unseen: Unseen, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of its heart, which the example has made by shipped weights, and what the example said."""

    def make(folder: Path) -> None:
        said = run_example("one_heart.py", unseen.ecg, unseen.scan, BENCH, folder / "heart")
        (folder / "said.txt").write_text(said)

    folder = made_once(tmp_path_factory, "one_heart", make)
    return folder / "heart", (folder / "said.txt").read_text()
