"""Source files that a command or module depends on, by the graph of imports. Snakemake reruns a rule if one changes.

Imports inside functions are included, and so are classes that modules name as text: the settings that
`cof.config.families` names, and the models that these settings name, if `cof.models.registry` is imported. Of a package
on the path to an imported module, only the `__init__` is included, without its own imports. The command line itself is
not included, since it influences no result.
"""

import ast
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from functools import cache, cached_property
from pathlib import Path

from cof.artefacts.folders import whole_file

_ROOT = Path(__file__).parents[2]
_TABLE, _GROUPS = "cof.verbs", "GROUPS"
_MODELS, _REGISTRY = "cof.models.", "cof.models.registry"
_DATA = frozenset((".html", ".css", ".js", ".json", ".yaml"))
# A class that is named as text, such as cof.config.flow:CofSettings, or cof.models.flow.cof:CofFamily.
_NAMED = re.compile(r"(cof(?:\.\w+)+):\w+")


def source(*modules: str, root: Path = _ROOT) -> str:
    """Return twelve hex digits of the SHA-256 of the source of modules of `cof` and of everything that they import.

    Args:
        modules: dotted names, such as `cof.motion.stage`.
        root: folder that holds the package.
    """
    return _graph(root).digest(modules)


def source_of(verb: str, root: Path = _ROOT, remembered: Path | None = None) -> str:
    """Return the same digest of everything that a verb of the command line imports.

    Args:
        verb: verb of the command line.
        root: folder that holds the package.
        remembered: JSON file with the imports of each module by the hash of its text, which spares the next process
            the parsing. It is written again when a module has changed, and skipped where it cannot be written.

    Raises:
        KeyError: there is no such verb.
    """
    return _graph(root, remembered).verbs[verb]


def behind(modules: Iterable[str], root: Path = _ROOT) -> set[str]:
    """Return the names of modules, of everything that they import, and of the packages that contain these."""
    return _graph(root).behind(modules)


def entries(root: Path = _ROOT) -> dict[str, tuple[str, ...]]:
    """Return the modules that the command of each verb imports."""
    return _graph(root).entries


class Graph:
    """The modules of a package with their imports; each file is read once."""

    def __init__(self, root: Path, remembered: Path | None = None) -> None:
        self._root = root
        self._remembered = remembered
        self._known = _recall(remembered)
        self._new = False
        self._texts: dict[Path, tuple[str, bytes]] = {}
        self._files: dict[str, Path] = {}
        self._imports: dict[str, tuple[tuple[str, bool], ...]] = {}
        self._data: dict[Path, tuple[Path, ...]] = {}

    @cached_property
    def entries(self) -> dict[str, tuple[str, ...]]:
        """Modules that the command of each verb imports."""
        for node in ast.parse(self._read(self._file(_TABLE))[1]).body:
            if isinstance(node, ast.AnnAssign) and node.value and getattr(node.target, "id", "") == _GROUPS:
                groups = ast.literal_eval(node.value)
                return {verb: (one[0].partition(":")[0],) for verbs in groups.values() for verb, one in verbs.items()}
        raise KeyError(f"{_TABLE} has no {_GROUPS}")

    @cached_property
    def verbs(self) -> dict[str, str]:
        """Digest, for each verb, of everything that its command imports."""
        found = {verb: self.digest(modules) for verb, modules in self.entries.items()}
        self._remember()
        return found

    def behind(self, modules: Iterable[str]) -> set[str]:
        """Return the names of modules, of everything that they import, and of the packages that contain these."""
        found: set[str] = set()
        waiting = list(modules)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += self._imported(name)
            if not waiting and _REGISTRY in found:
                waiting = [model for one in found for model in self._models(one) if model not in found]
        return found | {parent for name in found for parent in _parents(name)}

    def digest(self, modules: Iterable[str]) -> str:
        """Return twelve hex digits of the SHA-256 of the source of modules and of everything that they import."""
        files = {self._file(name) for name in self.behind(modules)}
        files |= {data for folder in {file.parent for file in files} for data in self._data_of(folder)}
        sha = hashlib.sha256()
        for path, file in sorted((file.relative_to(self._root).as_posix(), file) for file in files):
            sha.update(f"{path}:{self._read(file)[0]}\n".encode())
        return sha.hexdigest()[:12]

    def _remember(self) -> None:
        """Save the imports of the modules, if they have changed."""
        if self._new and self._remembered is not None:
            self._new = False
            used = {sha: self._known[sha] for sha, _ in self._texts.values() if sha in self._known}
            try:
                with whole_file(self._remembered) as aside:
                    aside.write_text(json.dumps({"reader": _reader(), "imports": used}))
            except OSError:
                pass  # the next process reads the modules again

    def _imported(self, name: str) -> tuple[str, ...]:
        """Return the modules of `cof` that a module imports anywhere or names as text, except models named as text."""
        return tuple(one for one, is_model in self._mentioned(name) if not is_model)

    def _models(self, name: str) -> tuple[str, ...]:
        """Return the modules of models that a module names as text."""
        return tuple(one for one, is_model in self._mentioned(name) if is_model)

    def _mentioned(self, name: str) -> tuple[tuple[str, bool], ...]:
        """Return the modules of `cof` that a module imports or names, each with whether it is a model named as text."""
        if name not in self._imports:
            sha, text = self._read(self._file(name))
            if sha not in self._known:
                self._known[sha] = sorted(set(_named(ast.parse(text))))
                self._new = True
            found = {
                (self._module(module, inner), inner == "" and module.startswith(_MODELS))
                for module, inner in self._known[sha]
            }
            self._imports[name] = tuple(sorted(one for one in found if one[0] not in (name, "")))
        return self._imports[name]

    def _module(self, module: str, inner: str) -> str:
        """Return the module of `from module import inner`, or of a text (`inner` is then ""); "" if there is none."""
        if inner == "":
            return module if self._file(module).is_file() else ""
        return f"{module}.{inner}" if inner != "." and self._file(f"{module}.{inner}").is_file() else module

    def _read(self, file: Path) -> tuple[str, bytes]:
        """Return hash and content of a file."""
        if file not in self._texts:
            content = file.read_bytes()
            self._texts[file] = (hashlib.sha256(content).hexdigest(), content)
        return self._texts[file]

    def _file(self, name: str) -> Path:
        """Return the file of a module, or of a package's `__init__`."""
        if name not in self._files:
            path = self._root.joinpath(*name.split("."))
            self._files[name] = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        return self._files[name]

    def _data_of(self, folder: Path) -> tuple[Path, ...]:
        """Return templates, styles and tables of a package, without those of packages inside it."""
        if folder not in self._data:
            self._data[folder] = tuple(
                path
                for path in folder.rglob("*.*")
                if path.suffix in _DATA
                and not any((inner / "__init__.py").is_file() for inner in _within(path, folder))
            )
        return self._data[folder]


@cache
def _graph(root: Path, remembered: Path | None = None) -> Graph:
    return Graph(root, remembered)


def _reader() -> str:
    """Return the hash of this file, which determines what is found in a module."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


def _recall(remembered: Path | None) -> dict[str, list[tuple[str, str]]]:
    """Read the imports of modules by the hash of their text; nothing if another version of this file wrote them."""
    try:
        record = json.loads(remembered.read_text()) if remembered else {}
        if record.get("reader") != _reader():
            return {}
        return {sha: [(str(module), str(name)) for module, name in named] for sha, named in record["imports"].items()}
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return {}


def _named(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield a module's imports of `cof`: `(module, name)`, `(module, ".")` for a whole module, `(text, "")`."""
    for node in _run(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, ".") for alias in node.names if alias.name.split(".")[0] == "cof")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "cof":
            yield from ((str(node.module), alias.name) for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            named = _NAMED.fullmatch(node.value)
            if named:
                yield named[1], ""


def _run(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield every node except those that only a type checker reads."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            continue
        yield node
        yield from _run(node)


def _within(path: Path, folder: Path) -> Iterator[Path]:
    """Return the folders between a file and a folder that contains it."""
    return (parent for parent in path.parents if parent != folder and parent.is_relative_to(folder))


def _parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    yield from (".".join(parts[:count]) for count in range(1, len(parts)))
