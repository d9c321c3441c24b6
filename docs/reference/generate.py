"""Write the generated pages: configuration, metrics, command line and Python of this folder, and the notebook's page.

`make docs` runs it before the site is built; `tests/test_docs_reference.py` compares its output with what is committed.
"""

import html
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import griffe
import typer
from pydantic import BaseModel
from typer.cli import get_docs_for_click

from cof import cli, config
from cof.commands import command_of
from cof.config.families import FAMILIES, settings_of
from cof.config.metrics import METRICS
from cof.config.training import TrainingSettings
from cof.quality.catalogue import MEASURES

HERE = Path(__file__).parent
NOTEBOOK = "../how-to/notebook"
NOTE = "<!-- Written by docs/reference/generate.py (`make docs`): change the code that it describes, not this page. -->"
# Types of the JSON schema in words.
TYPES = {"integer": "integer", "number": "number", "string": "text", "boolean": "`true`, `false`", "null": "`null`"}
_MEASURES = {
    one.key: f"limit of this measure: {one.definition} Values that are too {one.worse} are beyond it."
    for one in MEASURES
}
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def pages() -> dict[str, str]:
    """Return the content of each generated page by its path, seen from this folder."""
    made = {
        "configuration.md": configuration(),
        "metrics.md": metrics(),
        "command-line.md": command_line(),
        "python.md": python(),
        f"{NOTEBOOK}.md": notebook(),
    }
    return {name: f"{NOTE}\n\n{text.rstrip()}\n" for name, text in made.items()}


def configuration() -> str:
    """Return the page of all configuration keys with default, allowed values and meaning."""
    blocks = [
        "# Configuration",
        "YAML files describe a run: `config.yaml` of the repository, and the files after `--configfile`, each merged "
        "over those before it. `cof config [FILE ...]` checks them and prints every key with its value. An unknown key "
        "is an error, and the message names the closest known key. `null` in place of a model, registration, table "
        "or row removes it. `like: NAME` makes a changed copy of another model or registration.",
        "The defaults below are those of the code; `config.yaml` and the files of `workflow/config/` set other values "
        "for some keys. `NAME` stands for a name of your choice.",
    ]
    groups = dict(_groups())
    for kind, title in groups.items():
        blocks += [f"## {title}", inspect.cleandoc(kind.__doc__ or "")]
        parent = next((base for base in kind.__mro__[1:] if base in groups), None)
        common = parent.model_json_schema()["properties"] if parent else {}
        properties = kind.model_json_schema()["properties"].items()
        shown = [(key, told) for key, told in properties if told != common.get(key) and key != "family"]
        if parent:
            blocks += [f"All keys of [{groups[parent]}](#{_anchor(groups[parent])}) are allowed here too"
                       + ("; further keys and those with other defaults follow." if shown else ".")]  # fmt: skip
        if shown:
            blocks += [_table(("key", "default", "allowed", "meaning"), [_row(kind, *one, groups) for one in shown])]
    return "\n\n".join(blocks)


def _groups() -> Iterator[tuple[type[BaseModel], str]]:
    """Yield every group of settings with its heading: each class once, under the first path that leads to it."""
    yield config.Config, "Top level"
    yield TrainingSettings, "A training"
    seen: set[type[BaseModel]] = {config.Config, TrainingSettings}

    def below(kind: type[BaseModel], path: str) -> Iterator[tuple[type[BaseModel], str]]:
        for name, field in kind.model_fields.items():
            families = kind is config.Config and name == "models"
            for inner in _families() if families else _classes(field.annotation):
                if inner not in seen:
                    seen.add(inner)
                    inner_path = f"{path}{name}{'.NAME' if str(field.annotation).startswith('dict') else ''}"
                    family = f" of the family `{inner.model_fields['family'].default}`" if families else ""
                    yield inner, f"`{inner_path}`{family}"
                    yield from below(inner, f"{inner_path}.")

    yield from below(TrainingSettings, "")
    yield from below(config.Config, "")


def _families() -> tuple[type[BaseModel], ...]:
    """Return the settings classes of all model families of this package."""
    return tuple(settings for name in FAMILIES if (settings := settings_of(name)))


def _classes(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the settings classes within a type, also within unions and containers."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _classes(part)


def _row(kind: type[BaseModel], key: str, told: dict[str, Any], groups: dict[type[BaseModel], str]) -> list[str]:
    """Return the table row of one key: key, default, allowed values and meaning."""
    field = kind.model_fields[key]
    inner = list(_families() if kind is config.Config and key == "models" else _classes(field.annotation))
    links = [f"[{groups[one]}](#{_anchor(groups[one])})" for one in inner]
    if inner:
        optional = ["`null`"] if any(one.get("type") == "null" for one in told.get("anyOf", ())) else []
        allowed = "one of the families below" if len(links) > 1 else " or ".join([f"group {links[0]}", *optional])
        default = "required" if field.is_required() else "`null`" if field.default is None else ""
    else:
        allowed = _allowed(told)
        default = "required" if field.is_required() else f"`{json.dumps(told.get('default'))}`"
    meaning = field.description or (
        _MEASURES[key] if kind.__name__.startswith("Quality") and key in _MEASURES
        else inspect.cleandoc(inner[0].__doc__ or "").split("\n")[0] if len(inner) == 1
        else "the models: keys of the families below" if inner else ""
    )  # fmt: skip
    return [f"`{key}`", default, allowed, meaning]


def _allowed(told: dict[str, Any]) -> str:
    """Return the allowed values of a key in words, from its JSON schema."""
    if "anyOf" in told:
        return " or ".join(_allowed(one) for one in told["anyOf"])
    if "const" in told:
        return f"`{json.dumps(told['const'])}`"
    if "enum" in told:
        return ", ".join(f"`{value if isinstance(value, str) else json.dumps(value)}`" for value in told["enum"])
    if "prefixItems" in told:
        return f"list of {len(told['prefixItems'])}: {_allowed(told['prefixItems'][0])}"
    if told.get("type") == "array":
        return f"list: {_allowed(told['items'])}"
    if told.get("type") == "object":
        names = told.get("propertyNames", {}).get("enum")
        return f"mapping{' of ' + ', '.join(f'`{name}`' for name in names) if names else ''}"
    bounds = " and ".join(f"{sign} {told[bound]:g}" for bound, sign in BOUNDS.items() if bound in told)
    return f"{TYPES[told['type']]} {bounds}".rstrip()


def metrics() -> str:
    """Return the page of all metrics: every column that a table can have."""
    rows = [
        [f"`{one.key}`", one.label, one.unit, one.arrow, one.definition[:1].upper() + one.definition[1:]]
        for one in METRICS.values()
    ]
    return "\n\n".join(
        [
            "# Metrics",
            "Every metric can be a column of a table: name its key in `tables.NAME.metrics`. The arrow shows whether a "
            "higher (↑) or a lower (↓) value is better.",
            _table(("key", "printed as", "unit", "better", "definition"), rows),
        ]
    )


def _with_options(group: Any) -> Any:
    """Return a group with the options of all its verbs; the command line itself reads them when a verb is called."""
    for name, one in group.commands.items():
        verb = isinstance(one, cli.Verb)
        group.commands[name] = command_of(one.whole, one.target, one.summary) if verb else _with_options(one)
    return group


def command_line() -> str:
    """Return the page of all verbs of `cof`, from their `--help`."""
    command = _with_options(typer.main.get_command(cli.app))
    context = typer.Context(command)
    text = get_docs_for_click(obj=command, ctx=context, name="cof")
    text = html.unescape(text).replace("# `cof`", "# Command line", 1)

    def linked(match: re.Match[str]) -> str:
        short = command.get_command(context, match[1]).get_short_help_str(limit=1000)
        return f"* [`{match[1]}`](#cof-{match[1]}): {short}"

    verbs = "|".join(map(re.escape, command.list_commands(context)))
    return re.sub(rf"^\* `({verbs})`: .*$", linked, text, flags=re.MULTILINE)  # typer cuts the first sentence


def python() -> str:
    """Return the page of the Python API, from the docstrings of `cof`."""
    module = griffe.load("cof.api", docstring_parser="google")
    heart, twin = module["Heart"], module["twin"]
    blocks = [
        "# Python",
        "`import cof` is fast; `cof.twin` and `cof.Heart` are loaded when they are first used. "
        "[One heart](../start/one-heart.md) has an example. Every stage, metric and reader is also a function of the "
        "package, but only the functions on this page keep their interface from one release to the next.",
        f"## `cof.twin{_signature(twin)}`",
        *_docstring(twin),
        "## `cof.Heart`",
        *_docstring(heart),
    ]
    for name, member in heart.members.items():
        if (
            name.startswith("_")
            or not member.has_docstring
            or (member.is_attribute and "property" not in member.labels)
        ):
            continue
        call = "" if member.is_attribute else _signature(member)
        blocks += [f"### `{name}{call}`", *_docstring(member)]
    return "\n\n".join(blocks)


def notebook() -> str:
    """Return the notebook as a page: its text and its code, without outputs."""
    cells = json.loads((HERE / f"{NOTEBOOK}.ipynb").read_text(encoding="utf-8"))["cells"]
    shown = {"code": "```python\n{}\n```", "markdown": "{}"}
    blocks = [shown[cell["cell_type"]].format("".join(cell["source"])) for cell in cells]
    blocks.insert(1, "These are the cells of the notebook [notebook.ipynb](notebook.ipynb), which a test runs.")
    return "\n\n".join(blocks)


def _signature(function: Any) -> str:
    parameters = [one for one in function.parameters if one.name not in ("self", "cls")]
    keyword = ["*"] if parameters and all(one.kind.value == "keyword-only" for one in parameters) else []
    names = [one.name if one.default is None else f"{one.name}={one.default}" for one in parameters]
    return f"({', '.join(keyword + names)})"


def _docstring(thing: Any) -> list[str]:
    """Return the sections of a docstring as Markdown."""
    blocks = []
    for section in thing.docstring.parsed:
        if section.kind.value == "text":
            blocks.append(section.value)
        else:
            rows = [
                [f"`{getattr(one, 'name', '') or one.annotation}`", " ".join(one.description.split())]
                for one in section.value
            ]
            blocks.append(_table((section.kind.value, "meaning"), rows))
    return blocks


def _table(header: tuple[str, ...], rows: list[list[str]]) -> str:
    lines = [list(header), ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


if __name__ == "__main__":
    for name, text in pages().items():
        (HERE / name).write_text(text, encoding="utf-8")
