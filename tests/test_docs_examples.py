"""The commands of the guides, typed after the demo, name files that are there."""

import itertools
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from cof import config
from test_cli import KINDS, parameters

REPOSITORY = Path(__file__).parents[1]
PAGES = ("start/demo", "start/one-heart", "how-to/register", "how-to/stages", "how-to/tables")
BLOCKS = [
    block
    for page in PAGES
    for block in re.findall(r"```sh\n(.*?)```", (REPOSITORY / f"docs/{page}.md").read_text(), re.S)
    if re.search(r"^cof ", block, re.MULTILINE)
]
STUB = """#!/usr/bin/env python3
import json, os, sys
print(json.dumps(sys.argv[1:]), file=open(os.environ["TYPED"], "a"))
"""


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """The files of the demo's cohort, empty."""
    names = config.load(REPOSITORY / "config.yaml").phantom.participants
    files = ["ecg/b000.parquet"]
    for name in names:
        files += [f"phantom/raw/ecg/{name}_20205_2_0.xml", f"phantom/raw/cine/{name}_20209_2_0.zip"]
        files += [f"cine/b000/{name}-v2.nii", f"labels/b000/{name}-v2.nii.gz"]
    for file in [*files, "registrations/toppr/weights.safetensors", "labeller/labeller.json"]:
        path = tmp_path / "results" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "config.yaml").symlink_to(REPOSITORY / "config.yaml")
    (tmp_path / "workflow").symlink_to(REPOSITORY / "workflow")
    (tmp_path / "bin").mkdir()
    for stub in ("cof", "snakemake"):
        (tmp_path / "bin" / stub).write_text(STUB)
        (tmp_path / "bin" / stub).chmod(0o755)
    return tmp_path


def test_some_are_typed() -> None:
    assert len(BLOCKS) >= 3


@pytest.mark.parametrize("block", BLOCKS, ids=[re.findall(r"^cof (\S+)", block, re.MULTILINE)[0] for block in BLOCKS])
def test_every_file_of_an_example_is_there(demo: Path, block: str) -> None:
    environment = os.environ | {"PATH": f"{demo / 'bin'}:{os.environ['PATH']}", "TYPED": str(demo / "typed")}
    subprocess.run(["bash", "-euc", block], cwd=demo, env=environment, check=True)
    for words in map(json.loads, (demo / "typed").read_text().splitlines()):
        known = {one.flag: one for one in parameters(words[0]) if isinstance(one.mark, KINDS)}
        options = [path for flag, path in itertools.pairwise(words) if flag in known]
        named = [word for word in words if word.startswith(("results/", "workflow/"))]
        assert [path for path in (*options, *named) if not (demo / path).exists()] == []
