"""Commands made from the functions of verbs: annotated parameters become options, and paths are checked first."""

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
    """One option or argument of a verb, made from a parameter of its function.

    Attributes:
        key: name of the parameter.
        told: declaration for typer, with the help text.
        kind: type on the command line.
        default: default on the command line; `inspect.Parameter.empty` where a value is required.
        wanted: type that the function takes.
        form: form of an output path; None for all other options.
        needs: kind of file or folder that an input path must be; None for all other options.
        typed: conversion from the command line's value to the function's argument; None where typer needs no help.
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
        declared = (
            self.told.default,
            *(self.told.param_decls or ()),
        )  # typer stores an annotation's first name here
        return next((str(one) for one in declared if str(one).startswith("--")), f"--{self.key.replace('_', '-')}")


def function_at(target: str) -> Callable[..., Any]:
    """Return the function at `module:name`."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def options_of(function: Callable[..., Any]) -> Iterator[Option]:
    """Yield the options of a function: its parameters annotated with `typer.Option` or `typer.Argument`."""
    hints = get_type_hints(function, include_extras=True)
    for key, parameter in inspect.signature(function).parameters.items():
        marks = getattr(hints[key], "__metadata__", ())
        told = _first(marks, (OptionInfo, ArgumentInfo))
        if told is None:
            continue
        form, needs, typed = _first(marks, Form), _first(marks, KINDS), _first(marks, Typed)
        if form or needs:
            told = copy.copy(told)
            told.readable = False  # `check` and the stages report it in one line that cannot name a participant
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
    """Return the command of a verb.

    A path annotated with a `Form` is an output, and adds `--overwrite` to the command. A path annotated with a kind of
    `cof.inputs` must be of that kind. The command prints what the function `shows`, and ends with its closing line.
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
        made = function(**given)
        if shown_text := getattr(function, "shows", None):
            typer.echo(redact(shown_text(made, given)))
        said = _said(function, made, given)
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
    """Print a command's closing line on standard error; of several training processes only the first prints it."""
    if all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "RANK", "SLURM_PROCID")):
        typer.echo(redact(f"{what}: {said}"), err=True)


def _said(function: Callable[..., Any], made: Any, given: dict[str, Any]) -> str | None:
    """Return the closing line: made by the function's `says`, or the text that it returned; None without either."""
    sentence = getattr(function, "says", None)
    return sentence(made, given) if sentence else made if isinstance(made, str) else None


def _written(given: dict[str, Any]) -> str:
    """Return a stage's closing line: its output, and the number of subjects left out."""
    exclusions = given.get("exclusions")
    if exclusions is None:
        return f"wrote {given['out']}"
    from cof.artefacts.parquet import read_table

    rows = read_table(exclusions, ["subject"])
    left_out = f"{rows['subject'].nunique()} subjects left out, see {exclusions}" if len(rows) else "nobody left out"
    return f"wrote {given['out']}; {left_out}"


def _first(marks: tuple[Any, ...], kind: Any) -> Any:
    return next((mark for mark in marks if isinstance(mark, kind)), None)
