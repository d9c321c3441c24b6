"""Every module of a copy of the package is edited in turn; grimp, a reader of imports, tells who must notice."""

import re
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import grimp
import pytest

import cof
from cof import cli
from cof.artefacts import sources
from cof.config.families import FAMILIES, settings_of

PACKAGE = Path(cof.__file__).parent
SETTINGS = {named.partition(":")[0] for named in FAMILIES.values()}
MODELS = {settings_of(name).implementation.partition(":")[0] for name in FAMILIES}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds a copy of the package."""
    root = tmp_path_factory.mktemp("copy")
    shutil.copytree(PACKAGE, root / "cof", ignore=shutil.ignore_patterns("__pycache__"))
    return root


@cache
def graph() -> grimp.ImportGraph:
    built = grimp.build_graph("cof", cache_dir=None, exclude_type_checking_imports=True)
    for importer, modules in (("cof.config.families", SETTINGS), ("cof.models.registry", MODELS)):
        for module in modules:  # imported by their names at run time
            built.add_import(importer=importer, imported=module)
    return built


def importers(module: str) -> set[str]:
    """Modules that cannot be imported, or do their work, without this one, by grimp."""
    found = graph().find_downstream_modules(module) | {module}
    if graph().find_children(module) or module == "cof":  # a package that others pass through
        inner = set(graph().find_descendants(module))
        for name in inner:
            found |= graph().find_downstream_modules(name) | {name}
    return found


def hashes(root: Path) -> dict[str, str]:
    for cached in (sources.entries, sources._imports, sources._models, sources._parsed, sources._file, sources._data):
        cached.cache_clear()
    return {verb: sources.source_of(verb, root) for verb in sources.entries(root)}


def modules() -> Iterator[str]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_every_verb_is_known() -> None:
    registered = {command.name or command.callback.__name__ for command in cli.app.registered_commands}  # type: ignore[union-attr]
    assert set(sources.entries()) == registered


@pytest.mark.slow
def test_an_edit_changes_the_verbs_that_import_the_module_and_no_other(copy: Path) -> None:
    before = hashes(copy)
    entries = dict(sources.entries(copy))
    changed_by: dict[str, set[str]] = {}
    for module in modules():
        path = copy.joinpath(*module.split("."))
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        text = file.read_bytes()
        file.write_bytes(text + b"\n# edited\n")
        after = {verb: sources.source_of(verb, copy) for verb in entries}
        file.write_bytes(text)
        changed_by[module] = {verb for verb in entries if after[verb] != before[verb]}
    for module, changed in changed_by.items():
        noticing = importers(module)
        assert changed == {verb for verb, named in entries.items() if noticing & set(named)}, module


def test_a_template_belongs_to_the_report_alone(copy: Path) -> None:
    before = hashes(copy)
    page = copy / "cof/report/templates/report.html"
    page.write_text(page.read_text() + "<!-- edited -->")
    after = hashes(copy)
    assert {verb for verb in before if before[verb] != after[verb]} == {"report"}


def test_lazy_imports_and_families_named_as_text_count() -> None:
    learns = sources.behind(sources.entries()["train"])
    assert learns >= SETTINGS | MODELS
    assert not MODELS & sources.behind(sources.entries()["register"])
    assert "cof.labels.predict" in sources.behind(sources.entries()["twins"])  # imported within a function


def test_what_only_a_type_checker_imports_does_not_count(tmp_path: Path) -> None:
    package = tmp_path / "cof"
    package.mkdir()
    for name, text in {
        "__init__": "",
        "first": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from cof.second import x\n",
        "second": "x = 1\n",
    }.items():
        (package / f"{name}.py").write_text(text)
    assert sources.behind(["cof.first"], tmp_path) == {"cof", "cof.first"}


def test_no_rule_names_its_sources_by_hand() -> None:
    for rules in (PACKAGE.parents[1] / "workflow/rules").glob("*.smk"):
        for block in re.split(r"(?m)^\s*(?:use )?rule ", rules.read_text())[1:]:
            called = re.search(r'"[^"]*\bcof ([a-z-]+) ', block.partition("shell:")[2])
            if called:
                assert f'source=source_of("{called[1]}")' in block, block[:60]
