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
from cof.models.registry import FAMILIES
from cof.verbs import GROUPS

PACKAGE = Path(cof.__file__).parent


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds a copy of the package."""
    root = tmp_path_factory.mktemp("copy")
    shutil.copytree(PACKAGE, root / "cof", ignore=shutil.ignore_patterns("__pycache__"))
    return root


@cache
def graph() -> grimp.ImportGraph:
    built = grimp.build_graph("cof", cache_dir=None, exclude_type_checking_imports=True)
    for named in FAMILIES.values():  # imported by their names at run time
        built.add_import(importer="cof.models.registry", imported=named.partition(":")[0])
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
    assert {named.partition(":")[0] for named in FAMILIES.values()} <= learns
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


def test_what_is_remembered_changes_no_hash_and_spares_the_reading(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = tmp_path / "inner/imports.json"
    fresh = sources.Graph(copy).verbs
    assert sources.Graph(copy, memory).verbs == fresh
    written = memory.stat().st_mtime_ns
    edited = copy / "cof/progress.py"
    text = edited.read_text()
    with monkeypatch.context() as patch:
        read = sources._named
        patch.setattr(sources, "_named", lambda _: pytest.fail("a module was read again"))
        assert sources.Graph(copy, memory).verbs == fresh
        assert memory.stat().st_mtime_ns == written
        seen: list[int] = []
        patch.setattr(sources, "_named", lambda tree: seen.append(1) or read(tree))
        # The same size and time as before: only the text tells.
        edited.write_text(text[:-1] + " ")
        os.utime(edited, ns=(written, written))
        changed = sources.Graph(copy, memory).verbs
        assert len(seen) == 1
    edited.write_text(text)
    assert {verb for verb in fresh if changed[verb] != fresh[verb]} >= {"train", "ecg"}
    assert sources.Graph(copy, memory).verbs == fresh


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"reader": "other", "imports": {}}', '{"reader": 1'])
def test_what_is_remembered_badly_is_forgotten(copy: Path, tmp_path: Path, content: str) -> None:
    memory = tmp_path / "imports.json"
    memory.write_text(content)
    assert sources.Graph(copy, memory).verbs == sources.Graph(copy).verbs
    assert len(json.loads(memory.read_text())["imports"]) > 100


def test_a_memory_without_a_place_is_left_out(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert sources.Graph(copy, tmp_path / "file/imports.json").verbs == sources.Graph(copy).verbs


def test_no_rule_names_its_sources_by_hand() -> None:
    for rules in (PACKAGE.parents[1] / "workflow/rules").glob("*.smk"):
        for block in re.split(r"(?m)^\s*(?:use )?rule ", rules.read_text())[1:]:
            called = re.search(r'"[^"]*\bcof ([a-z-]+) ', block.partition("shell:")[2])
            if called:
                assert f'source=source_of("{called[1]}")' in block, block[:60]
