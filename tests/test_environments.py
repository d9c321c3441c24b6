"""The lock, the declared dependencies, and the recipes of environments and containers say the same."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[1]
ENVS = REPOSITORY / "envs"
RECIPES = ("Containerfile", "apptainer.def")


def lock() -> dict[str, str]:
    """The pinned version of every package."""
    lines = [line for line in (ENVS / "lock.txt").read_text().splitlines() if line and not line.startswith("#")]
    pins = dict(line.split("==") for line in lines)
    assert len(pins) == len(lines)
    return {canonicalize_name(name): version for name, version in pins.items()}


def declared(*extras: str) -> list[Requirement]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    chosen = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    return [Requirement(line) for line in chosen]


def imported() -> set[str]:
    """Top-level modules outside the package and the standard library that the package's source imports."""
    found = set()
    for path in (REPOSITORY / "src/cof").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return found - {"cof", *sys.stdlib_module_names}


def test_every_declared_dependency_is_pinned_within_its_bounds() -> None:
    pins = lock()
    for requirement in declared("dev", "docs"):
        version = pins.get(canonicalize_name(requirement.name))
        assert version is not None, requirement.name
        assert requirement.specifier.contains(version), f"{requirement} and {version}"


def test_every_import_of_the_package_is_in_the_environment_that_runs_it() -> None:
    pins, providers = lock(), packages_distributions()
    modules = imported()
    assert {"torch", "nibabel", "pydicom"} <= modules
    for module in modules:
        names = {canonicalize_name(name) for name in providers[module]}
        assert names & pins.keys(), f"the lock has nothing that provides {module}"


def test_checkers_are_pinned_and_stay_out_of_the_lock() -> None:
    lines = [line for line in (ENVS / "checkers.txt").read_text().splitlines() if not line.startswith("#")]
    names = {canonicalize_name(line.split("==")[0]) for line in lines}
    assert all("==" in line for line in lines)
    assert names == {"dcm2niix", "dcmqi", "dicom3tools"}
    assert not names & lock().keys()
    printed = subprocess.run([sys.executable, ENVS / "lock.py"], capture_output=True, text=True, check=True).stdout
    assert not [line for line in printed.splitlines() if line.split("==")[0] in names]


def test_every_rule_runs_in_an_environment_made_from_the_lock() -> None:
    named = set()
    for path in (REPOSITORY / "workflow/rules").glob("*.smk"):
        rules = len(re.findall(r"^ *rule \w+:", path.read_text(), re.MULTILINE))
        files = re.findall(r'conda:\s+"([^"]+)"', path.read_text())
        assert len(files) == rules, path.name
        named |= {(path.parent / file).resolve() for file in files}
    for environment in named:
        made = yaml.safe_load(environment.read_text())["dependencies"]
        assert made[-1] == {"pip": ["-r lock.txt", "-e .."]}


def test_recipes_install_the_lock_and_the_package_and_nothing_else() -> None:
    python = re.search(r"Python (\d+\.\d+)", (ENVS / "lock.txt").read_text())
    assert python is not None
    assert f"python={python[1]}" in yaml.safe_load((ENVS / "cof.yaml").read_text())["dependencies"]
    for name in RECIPES:
        text = (ENVS / name).read_text()
        assert re.findall(r"^from:?\s+(\S+)", text, re.MULTILINE | re.IGNORECASE) == [f"python:{python[1]}-slim"]
        installed = [re.sub(r"\s--\S+", "", line).strip() for line in re.findall(r"pip install([^&\n]*)", text)]
        assert installed == ["-r envs/bootstrap.txt", "-r envs/lock.txt", "."], name
        assert "--no-deps" in text.splitlines()[[i for i, li in enumerate(text.splitlines()) if " ." in li[-3:]][-1]]
    for line in (ENVS / "bootstrap.txt").read_text().split("\n"):
        assert not line or line.startswith("#") or "==" in line
