"""The documentation says what the code does: reasons, verbs, columns, settings and links."""

import re
from pathlib import Path

import pytest
import yaml

from cof import cohort, config
from cof.config.flow import OdeSettings, VelocitySettings
from cof.errors import Reason
from cof.verbs import GROUPS

ROOT = Path(__file__).parents[2]
DOCS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "results/README.md"])
VERBS = {name.split()[0] for verbs in GROUPS.values() for name in verbs}


@pytest.fixture(params=DOCS, ids=lambda path: path.relative_to(ROOT).as_posix())
def document(request: pytest.FixtureRequest) -> Path:
    return request.param


def _anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere(document: Path) -> None:
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("http"):
            continue
        address, _, anchor = target.partition("#")
        linked = document.parent / address if address else document
        # The picture of the README is made from a run.
        assert linked.exists() or linked.suffix == ".png", f"{target} leads nowhere"
        if anchor:
            assert anchor in _anchors(linked), f"{target}: no such heading"


def test_verbs_exist(document: Path) -> None:
    for verb in re.findall(r"(?:^|`|\bbin/)cof ([a-z][a-z-]*)", document.read_text(), re.M):
        assert verb in VERBS, f"cof {verb} is no verb"


def test_settings_exist(document: Path) -> None:
    """`group.key` in code quotes names a key of the configuration."""
    groups = {
        **{name: field.annotation for name, field in config.Config.model_fields.items()},
        "field": VelocitySettings,
        "ode": OdeSettings,
    }
    for group, key in re.findall(r"`([a-z]+)\.(?!py`)([a-z_]+)(?::[^`]*)?`", document.read_text()):
        if group in groups and hasattr(groups[group], "model_fields"):
            assert key in groups[group].model_fields, f"{group}.{key} is no setting"


def test_every_reason_is_explained_once() -> None:
    explained = re.findall(r"^\| `([a-z_]+)` \|", (ROOT / "docs/reference/exclusions.md").read_text(), re.M)
    assert sorted(explained) == sorted(Reason)


def test_every_column_of_the_sheet_is_documented() -> None:
    text = (ROOT / "docs/start/your-data.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| (yes|no) \|", text, re.M))
    assert rows == dict.fromkeys(cohort.REQUIRED, "yes") | dict.fromkeys(cohort.OPTIONAL, "no")


def test_every_verb_has_its_page() -> None:
    text = (ROOT / "docs/reference/command-line.md").read_text()
    assert {verb for verb in VERBS if f"## `cof {verb}`" not in text} == set()


def test_configuration_of_a_new_row_is_valid() -> None:
    """The new row of docs/how-to/tables.md fits into the demo's configuration."""
    demo = yaml.safe_load((ROOT / "config.yaml").read_text())
    block = re.search(r"```yaml\n(models:.*?)```", (ROOT / "docs/how-to/tables.md").read_text(), re.S)
    assert block is not None
    added = yaml.safe_load(block[1])
    demo["models"] |= added["models"]
    demo["tables"]["table1"]["models"] |= added["tables"]["table1"]["models"]
    parsed = config.parse(demo)
    assert parsed.models["anchor_only"].field.ecg == "none"  # type: ignore[union-attr]


def test_licence_and_citation() -> None:
    licence = (ROOT / "LICENSE").read_text()
    assert "Apache License" in licence
    assert "END OF TERMS AND CONDITIONS" in licence
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = (ROOT / "pyproject.toml").read_text()
    assert citation["license"] in project
    assert f'version = "{citation["version"]}"' in project
