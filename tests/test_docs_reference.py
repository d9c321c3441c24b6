"""The generated pages of the documentation are those that the code would write, and leave nothing unexplained."""

import importlib.util
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "docs/reference"


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("docs_reference", FOLDER / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: dict[str, str] = module.pages()
    return made


@pytest.mark.parametrize(
    "name", ["configuration.md", "metrics.md", "command-line.md", "python.md", "../how-to/notebook.md"]
)
def test_page_is_up_to_date(pages: dict[str, str], name: str) -> None:
    assert (FOLDER / name).read_text() == pages[name], "type `make docs` and commit what it has changed"


def test_every_key_says_what_it_means(pages: dict[str, str]) -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*\|(.*)\|$", pages["configuration.md"], re.M)
    assert len(rows) > 100
    assert [key for key, meaning in rows if not meaning.strip()] == []


def test_every_option_says_what_it_means(pages: dict[str, str]) -> None:
    options = re.findall(r"^\* `([^`]+)`:?(.*)$", pages["command-line.md"], re.M)
    assert len(options) > 100
    assert [option for option, meaning in options if not meaning.strip(" .") and "--" in option] == []
