"""A verb's function made a command: its annotated parameters are the options, its paths are made sure of before."""

import copy
import inspect
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any, get_type_hints

import typer
from typer.models import ArgumentInfo, OptionInfo

from cof.errors import redact
from cof.inputs import KINDS, Kind, check
from cof.options import TO_BE_TYPED, Overwrite, Typed
from cof.outputs import Form, Output, claim
from cof.verbs import CONTEXT


@dataclass(frozen=True)
class Option:
    """One option or argument of a verb, by its function's parameter.

    Attributes:
        key: name of the parameter.
        told: what the help says.
        kind: type on the command line.
        default: on the command line; `inspect.Parameter.empty` where one has to be typed.
        wanted: type that the function takes.
        form: of an output.
        needs: of an input.
        typed: how what is typed becomes what the function takes, where the command line knows no such type.
    """

    key: str
    told: OptionInfo | ArgumentInfo
    kind: Any
    default: Any
    wanted: Any
    form: Form | None
    needs: Kind | None
    typed: Typed | None

    @property
    def name(self) -> str:
        """The name as typed: --cine, or FIXED."""
        if isinstance(self.told, ArgumentInfo):
            return self.key.upper()
        declared = (self.told.default, *(self.told.param_decls or ()))  # an annotation's first name is its default
        return next((str(one) for one in declared if str(one).startswith("--")), f"--{self.key.replace('_', '-')}")


def function_at(target: str) -> Callable[..., Any]:
    """The function that `module:name` names."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def options_of(function: Callable[..., Any]) -> Iterator[Option]:
    """The options of a function: those of its parameters that are annotated as such."""
    hints = get_type_hints(function, include_extras=True)
    for key, parameter in inspect.signature(function).parameters.items():
        marks = getattr(hints[key], "__metadata__", ())
        told = _first(marks, (OptionInfo, ArgumentInfo))
        if told is None:
            continue
        form, needs, typed = _first(marks, Form), _first(marks, KINDS), _first(marks, Typed)
        if form or needs:
            told = copy.copy(told)
            told.readable = False  # `check` and the stages say it in one line, without what may name a participant
        kind = wanted = hints[key].__origin__
        default = parameter.default
        if typed is not None:
            own = tuple(mark for mark in marks if not isinstance(mark, (OptionInfo, ArgumentInfo, *KINDS, Typed)))
            wanted = Annotated[wanted, *own] if own else wanted
            kind, default = typed.kind, typed.default(wanted)
            if default is TO_BE_TYPED or (default is None and parameter.default is inspect.Parameter.empty):
                default = inspect.Parameter.empty
            elif default is None:
                kind = kind | None
        yield Option(key, told, kind, default, wanted, form, needs, typed)


def command_of(verb: str, target: str, summary: str) -> Any:
    """The command of a verb.

    Every path with a `Form` is an output, and gives the command `--overwrite`; every one with a kind of `cof.inputs`
    has to be of it. What the function says of its result is said last.
    """
    function = function_at(target)
    options = {option.key: option for option in options_of(function)}
    shown: dict[str, tuple[Any, Any]]
    shown = {key: (one.default, Annotated[one.kind, one.told]) for key, one in options.items()}
    if any(one.form for one in options.values()):
        shown["overwrite"] = (False, Overwrite)

    def run(**arguments: Any) -> None:
        given = {key: arguments[key] for key in options if arguments[key] is not None}
        read = [
            (options[key], path)
            for key, value in given.items()
            if options[key].needs
            for path in (value if isinstance(value, list) else [value])
        ]
        outputs = [Output(options[key].name, path, form) for key, path in given.items() if (form := options[key].form)]
        claim(outputs, [path for _, path in read], arguments.get("overwrite", False))
        for option, path in read:
            check(option.name, path, option.needs)  # type: ignore[arg-type]
        for key, value in given.items():
            if typed := options[key].typed:
                given[key] = typed.read(value, options[key].wanted, given)
        said = _said(function, function(**given), given)
        if said or outputs:
            close(verb, said or _written(given))

    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for key, (default, annotation) in shown.items()
        ]
    )
    run.__annotations__ = {}
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    alone.command(verb.split()[-1], help=summary, context_settings=CONTEXT)(run)
    return typer.main.get_command(alone)


def close(what: str, said: str) -> None:
    """Say last, on standard error, what a command has made; of processes that share a training the first does."""
    if all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "RANK", "SLURM_PROCID")):
        typer.echo(redact(f"{what}: {said}"), err=True)


def _said(function: Callable[..., Any], made: Any, given: dict[str, Any]) -> str | None:
    """The last sentence that a function has for what it made, or that it returned."""
    sentence = getattr(function, "says", None)
    return sentence(made, given) if sentence else made if isinstance(made, str) else None


def _written(given: dict[str, Any]) -> str:
    """Summary of a stage: its output, and the number of subjects left out."""
    exclusions = given.get("exclusions")
    if exclusions is None:
        return f"wrote {given['out']}"
    from cof.artefacts.parquet import read_table

    rows = read_table(exclusions, ["subject"])
    left_out = f"{rows['subject'].nunique()} subjects left out, see {exclusions}" if len(rows) else "nobody left out"
    return f"wrote {given['out']}; {left_out}"


def _first(marks: tuple[Any, ...], kind: Any) -> Any:
    return next((mark for mark in marks if isinstance(mark, kind)), None)
