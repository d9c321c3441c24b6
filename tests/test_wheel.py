"""The wheel: the package and what it reads, nothing else; installed elsewhere it makes the same heart."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import numpy as np
import pytest

import cof
from cof.artefacts.folders import MANIFEST
from cof.twins.artefacts import BESIDE, FILES
from unseen import BENCH, REPOSITORY, Unseen

PACKAGE = REPOSITORY / "src/cof"
# As somebody's checkout may hold them.
STRAY = (
    "src/cof/cine/sub-0001.nii.gz",
    "src/cof/ecg/sub-0001.xml",
    "src/cof/twins/sub-0001.json",
    "src/cof/models/weights.safetensors",
    "src/cof/labels/checkpoint_final.pth",
    "src/subjects.csv",
    "results/cohort/key.parquet",
    "weights/bench/labeller/labeller.json",
    "tests/test_rooms.py",
    "tests/__init__.py",
)
ELSEWHERE = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}


def run(*command: str | Path, at: Path) -> str:
    done = subprocess.run(command, cwd=at, env=ELSEWHERE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built in a copy: setuptools leaves folders where it builds, and would put what lies there into the next wheel."""
    root = tmp_path_factory.mktemp("wheel")
    checkout = root / "checkout"
    shutil.copytree(PACKAGE, checkout / "src/cof", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, checkout)
    for name in STRAY:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("{}")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
    run(*pip, "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", root, ".", at=checkout)
    (made,) = root.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel, which finds the packages that it needs in the one that runs the tests."""
    root = tmp_path_factory.mktemp("fresh") / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", root, at=root.parent)
    python = root / "bin/python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python, "install", "--quiet"]
    run(*pip, "--no-deps", "--no-index", wheel, at=root.parent)
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", at=root.parent).strip())
    # Files named .pth of that folder are not followed, and so neither is the editable installation of the checkout.
    (site / "needed.pth").write_text("\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}))
    return root


@pytest.mark.slow
def test_it_holds_the_package_and_what_that_reads_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    files = {path.relative_to(PACKAGE.parent).as_posix() for path in PACKAGE.rglob("*") if path.is_file()}
    package = {name for name in files if "__pycache__" not in name}
    assert {name for name in held if ".dist-info/" not in name} == package
    assert {"cof/py.typed", "cof/tables/paper.yaml", "cof/report/templates/report.html"} <= package
    assert {Path(name).suffix for name in package} <= {".py", ".typed", ".yaml", ".html", ".css", ".js"}
    inside = {name.partition(".dist-info/")[2] for name in held - package}
    assert inside == {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "top_level.txt", "licenses/LICENSE"}


@pytest.mark.slow
def test_it_runs_from_where_it_is_installed(environment: Path) -> None:
    python = environment / "bin/python"
    place = Path(run(python, "-c", "import cof; print(cof.__file__)", at=environment).strip())
    assert place.is_relative_to(environment)
    assert run(environment / "bin/cof", "--version", at=environment).startswith("cof ")


@pytest.mark.slow
def test_it_makes_the_heart_that_the_checkout_makes(
    environment: Path, unseen: Unseen, one_heart: tuple[Path, str], tmp_path: Path
) -> None:
    """The command line of the wheel, and Python in the checkout; the number of threads decides the last bits."""
    raw = ["--ecg", unseen.ecg, "--scan", unseen.scan, "--weights", BENCH]
    run(environment / "bin/cof", "twin", *raw, "--out", "heart", at=tmp_path)
    folders = tmp_path / "heart", one_heart[0]
    made, same = map(cof.Heart.read, folders)
    expected = sorted([*FILES, *BESIDE, MANIFEST])
    assert [sorted(path.name for path in folder.iterdir()) for folder in folders] == [expected] * 2
    np.testing.assert_allclose(made.frames.astype(int), same.frames, atol=2)
    np.testing.assert_allclose(made.displacement, same.displacement, atol=0.01)
    np.testing.assert_allclose(made.volumes, same.volumes, atol=0.2)
    assert made.summary["provenance"] == same.summary["provenance"]
    assert made.summary["trained_on"] == same.summary["trained_on"]
