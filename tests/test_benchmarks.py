"""Benchmarks are run by hand, and must not be left behind by what they measure: each can be imported."""

import importlib.util
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = sorted(BENCHMARKS.glob("*/*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.relative_to(BENCHMARKS).as_posix())
def test_what_it_imports_is_there(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (BENCHMARKS / "shared", script.parent):
        monkeypatch.syspath_prepend(folder)
    for other in SCRIPTS:  # two folders may have modules of one name
        monkeypatch.delitem(sys.modules, other.stem, raising=False)
    name = f"benchmark_{script.parent.name}_{script.stem}"
    spec = importlib.util.spec_from_file_location(name, script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    assert module.__doc__
