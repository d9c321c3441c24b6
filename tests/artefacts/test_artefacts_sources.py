"""Every module of a copy of the package is edited in turn; grimp, a reader of imports, tells who must notice."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import grimp
import pytest

import cof
from cof.artefacts import sources
from cof.config.families import FAMILIES, settings_of
from cof.twins.exports.formats import FORMATS
from cof.verbs import GROUPS

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
    for writer, *_ in FORMATS.values():
        built.add_import(importer="cof.twins.exports.formats", imported=writer.partition(":")[0])
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
    sources._graph.cache_clear()
    return {verb: sources.source_of(verb, root) for verb in sources.entries(root)}


def modules() -> Iterator[str]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_every_verb_is_known() -> None:
    assert set(sources.entries()) == {verb for verbs in GROUPS.values() for verb in verbs}
    assert sources.entries()["twins"] == ("cof.twins.stage",)
    with pytest.raises(KeyError):
        sources.source_of("twinz")


@pytest.mark.slow
def test_an_edit_changes_the_verbs_that_import_the_module_and_no_other(copy: Path) -> None:
    memory = copy.parent / "imports.json"
    entries = sources.entries(copy)
    before = sources.Graph(copy, memory).verbs
    changed_by: dict[str, set[str]] = {}
    for module in modules():
        path = copy.joinpath(*module.split("."))
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        text = file.read_bytes()
        file.write_bytes(text + b"\n# edited\n")
        after = sources.Graph(copy, memory).verbs
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


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A folder that holds a package of two verbs, of which one imports what the other is."""
    (tmp_path / "small/cof").mkdir(parents=True)
    for name, text in {
        "__init__": "",
        "verbs": 'GROUPS: dict = {"all": {"one": ("cof.first:f", ""), "two": ("cof.second:f", "")}}\n',
        "first": "from cof.second import x\n",
        "second": "x = 1\n",
    }.items():
        (tmp_path / f"small/cof/{name}.py").write_text(text)
    return tmp_path / "small"


def test_what_is_remembered_changes_no_hash_and_spares_the_reading(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, edited = tmp_path / "inner/imports.json", small / "cof/first.py"
    fresh = sources.Graph(small).verbs
    assert sources.Graph(small, memory).verbs == fresh
    written = memory.stat().st_mtime_ns
    parsed: list[int] = []
    read = sources._named
    monkeypatch.setattr(sources, "_named", lambda tree: parsed.append(1) or read(tree))
    assert sources.Graph(small, memory).verbs == fresh
    assert (parsed, memory.stat().st_mtime_ns) == ([], written)
    # Of the same size and time as before: only the text tells.
    text, times = edited.read_text(), edited.stat()
    edited.write_text("from cof import second  \n")
    os.utime(edited, ns=(times.st_atime_ns, times.st_mtime_ns))
    changed = sources.Graph(small, memory).verbs
    assert (len(parsed), changed["two"]) == (1, fresh["two"])
    assert changed["one"] != fresh["one"]
    assert edited.stat().st_size == len(text)
    edited.write_text(text)
    assert sources.Graph(small, memory).verbs == fresh


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"reader": "other", "imports": {}}', '{"reader": 1'])
def test_what_is_remembered_badly_is_forgotten(small: Path, tmp_path: Path, content: str) -> None:
    memory = tmp_path / "imports.json"
    memory.write_text(content)
    assert sources.Graph(small, memory).verbs == sources.Graph(small).verbs
    assert len(json.loads(memory.read_text())["imports"]) == 2


def test_a_memory_without_a_place_is_left_out(small: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert sources.Graph(small, tmp_path / "file/imports.json").verbs == sources.Graph(small).verbs


def test_no_rule_names_its_sources_by_hand() -> None:
    verbs = set()
    for rules in (PACKAGE.parents[1] / "workflow/rules").glob("*.smk"):
        for block in re.split(r"(?m)^\s*(?:use )?rule ", rules.read_text())[1:]:
            called = re.search(r"\*\*cof\(\s*\"([a-z-]+)\"", block)
            if "shell:" in block and called is None:
                assert "{params.command}" not in block, block[:60]
                assert not re.search(r'"[^"]*\bcof ', block.partition("shell:")[2]), block[:60]
            verbs |= {called[1]} if called else set()
    assert verbs <= set(sources.entries())
    assert {"ecg", "train", "toppr", "twins", "table", "report"} <= verbs
