"""The committed script of the 3-D view is what its sources give, with the licence of what it contains."""

import shutil
import subprocess
from pathlib import Path

import pytest

from cof.twins.page.html import FOLDER

WEB = Path(__file__).parents[2] / "web"
BUNDLE = FOLDER / "surfaces.min.js"


def test_it_carries_the_licence_of_three() -> None:
    assert (WEB / "LICENSE.three.txt").read_text().strip() in BUNDLE.read_text()[:2000]


def test_it_can_stand_within_a_page() -> None:
    assert "</script" not in BUNDLE.read_text().lower()


@pytest.mark.skipif(shutil.which("node") is None, reason="the script of the 3-D view was not rebuilt: there is no node")
@pytest.mark.skipif(
    not (WEB / "node_modules").is_dir(),
    reason="the script of the 3-D view was not rebuilt: web/node_modules is missing (npm ci in web)",
)
def test_its_sources_give_the_same_bytes(tmp_path: Path) -> None:
    subprocess.run(["node", "build.mjs", tmp_path / "surfaces.min.js"], cwd=WEB, check=True, timeout=120)
    assert (tmp_path / "surfaces.min.js").read_bytes() == BUNDLE.read_bytes(), "run `make surfaces`"
