"""The commands of docs/start/file-to-heart.md, typed where the smallest run lies, print what stands below them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from running import REPOSITORY

PAGE = (REPOSITORY / "docs/start/file-to-heart.md").read_text()
SHOWN = re.findall(r"```sh\n((?:(?!```).)*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_shows_every_stage() -> None:
    stages = ["raw", "cohort", "ecg", "beats", "cine", "labels", "quality", "grid", "fields", "models", "twins"]
    typed = "".join(command for command, _ in SHOWN)
    assert [one for one in (*stages, "metrics", "tables") if f"/{one}" not in typed and f"'{one}'" not in typed] == []


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(SHOWN)))
def test_the_page_prints_what_it_says(finished: Path, number: int) -> None:
    command, said = SHOWN[number]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "LC_ALL": "C"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command], cwd=finished, env=environment, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    # The shared run has a table of its own (fewer.yaml), which a reader's has not.
    assert re.sub(r"\bdistances\.(csv|md|tex) ", "", done.stdout) == said
