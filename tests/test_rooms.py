"""Rooms of the package stand one above the other: no module imports one of a room above its own."""

from pathlib import Path

import grimp
import pytest

import cof

# From the ground up. Rooms of one line know nothing of each other.
FLOORS = (
    ("errors", "renamed", "verbs"),
    ("heart",),
    ("artefacts",),
    ("inputs", "outputs"),
    ("progress", "config"),
    ("options",),
    ("privacy", "training", "ecg", "cine"),
    ("cohort",),
    ("sheets", "phantom", "labels", "lookup", "overlap"),
    ("motion",),
    ("quality", "features", "truth", "viewer"),
    ("models",),
    ("models.flow", "models.video"),
    ("models.controls",),
    ("metrics",),
    ("twins", "tables"),
    ("figures",),
    ("report", "estimate"),
    ("commands",),
    ("cli", "api"),
    ("__main__",),
)
FLOOR = {f"cof.{room}": floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def room_of(module: str) -> str | None:
    """The room that holds a module; None for the package itself."""
    parts = module.split(".")
    return next((room for count in (3, 2) if (room := ".".join(parts[:count])) in FLOOR), None)


@pytest.fixture(scope="module")
def imports() -> set[tuple[str, str]]:
    graph = grimp.build_graph("cof", cache_dir=None, exclude_type_checking_imports=True)
    return {(module, used) for module in graph.modules for used in graph.find_modules_directly_imported_by(module)}


def test_every_module_is_in_a_room() -> None:
    package = Path(cof.__file__).parent
    names = {f"cof.{path.stem}" for path in package.glob("*.py")} | {
        f"cof.{path.parent.name}" for path in package.glob("*/__init__.py")
    }
    assert names - {"cof.__init__"} == {room for room in FLOOR if room.count(".") == 1}


def test_nothing_is_imported_from_above(imports: set[tuple[str, str]]) -> None:
    upwards = []
    for module, used in sorted(imports):
        own, other = room_of(module), room_of(used)
        if own and other and own != other and FLOOR[own] <= FLOOR[other]:
            upwards.append(f"{module} imports {used}")
    assert upwards == []


def test_no_modules_import_each_other_in_a_circle(imports: set[tuple[str, str]]) -> None:
    uses: dict[str, set[str]] = {}
    for module, used in imports:
        uses.setdefault(module, set()).add(used)
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        circle = path[path.index(module) :] if module in path else ()
        assert not circle, " imports ".join((*circle, module))
        if module not in done:
            for used in uses.get(module, ()):
                visit(used, (*path, module))
            done.add(module)

    for module in sorted(uses):
        visit(module, ())
