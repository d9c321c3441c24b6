"""Source files behind a command or a module, by the graph of imports: Snakemake runs a rule again when one changes.

Imports within functions count, and so do the classes that modules name as text: the settings of `cof.config.families`
where they are named, and the models that these settings name where `cof.models.registry` imports them. Of a package
that a module only passes through, the `__init__` counts, and what it imports for others does not.
"""

import ast
import hashlib
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_COMMANDS = "cof.cli"
_MODELS, _REGISTRY = "cof.models.", "cof.models.registry"
_DATA = frozenset((".html", ".css", ".js", ".json", ".yaml"))
# A class named as text, such as cof.config.flow:CofSettings, or cof.models.flow.cof:CofFamily.
_NAMED = re.compile(r"(cof(?:\.\w+)+):\w+")


def source(*modules: str, root: Path = _ROOT) -> str:
    """Twelve hex digits of the SHA-256 of the source of some modules of `cof` and of all that they import.

    Args:
        modules: by their dotted names, such as `cof.motion.stage`.
        root: folder that holds the package.
    """
    names = behind(modules, root)
    files = {_file(name, root) for name in names}
    files |= {data for folder in {file.parent for file in files} for data in _data(folder)}
    sha = hashlib.sha256()
    for file in sorted(files):
        sha.update(file.relative_to(root).as_posix().encode())
        sha.update(file.read_bytes())
    return sha.hexdigest()[:12]


def source_of(verb: str, root: Path = _ROOT) -> str:
    """The same of everything that a verb of the command line imports.

    Raises:
        KeyError: there is no such verb.
    """
    return source(*entries(root)[verb], root=root)


def behind(modules: Iterable[str], root: Path = _ROOT) -> set[str]:
    """Names of some modules, of all that they import, and of the packages on the way."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _imports(name, root)
        if not waiting and _REGISTRY in found:
            waiting = [model for name in found for model in _models(name, root) if model not in found]
    return found | {parent for name in found for parent in _parents(name)}


@cache
def entries(root: Path = _ROOT) -> dict[str, tuple[str, ...]]:
    """Verb to the modules that its command imports."""
    commands = (node for node in _parsed(_COMMANDS, root).body if isinstance(node, ast.FunctionDef))
    verbs: dict[str, tuple[str, ...]] = {}
    for command in commands:
        for decorator in command.decorator_list:
            if isinstance(decorator, ast.Call) and getattr(decorator.func, "id", "") == "verb":
                named = [argument.value for argument in decorator.args if isinstance(argument, ast.Constant)]
                verbs[str(named[0]) if named else command.name] = tuple(sorted(set(_imported(command, root))))
    return verbs


@cache
def _imports(name: str, root: Path) -> tuple[str, ...]:
    """Modules of `cof` that a module imports anywhere, or names as text but for models."""
    tree = _parsed(name, root)
    settings = (named for named in _named(tree, root) if not named.startswith(_MODELS))
    return tuple(sorted({*_imported(tree, root), *settings} - {name}))


@cache
def _models(name: str, root: Path) -> tuple[str, ...]:
    """Modules of models that a module names as text."""
    return tuple(named for named in _named(_parsed(name, root), root) if named.startswith(_MODELS))


def _imported(tree: ast.AST, root: Path) -> Iterator[str]:
    for node in _run(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "cof")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "cof":
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if _file(inner, root).is_file() else str(node.module)


def _named(tree: ast.AST, root: Path) -> Iterator[str]:
    for node in _run(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            named = _NAMED.fullmatch(node.value)
            if named and _file(named[1], root).is_file():
                yield named[1]


def _run(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those that only a type checker reads."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            continue
        yield node
        yield from _run(node)


@cache
def _parsed(name: str, root: Path) -> ast.Module:
    return ast.parse(_file(name, root).read_bytes())


@cache
def _file(name: str, root: Path) -> Path:
    """The file of a module or of a package's `__init__`."""
    path = root.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _data(folder: Path) -> tuple[Path, ...]:
    """Templates, styles and tables of a package, without those of packages within it."""
    return tuple(
        path
        for path in folder.rglob("*.*")
        if path.suffix in _DATA and not any((inner / "__init__.py").is_file() for inner in _within(path, folder))
    )


def _within(path: Path, folder: Path) -> Iterator[Path]:
    """The folders between a file and one that holds it."""
    return (parent for parent in path.parents if parent != folder and parent.is_relative_to(folder))


def _parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    yield from (".".join(parts[:count]) for count in range(1, len(parts)))
