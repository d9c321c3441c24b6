"""The command line: the verbs of `cof.verbs`, in groups.

A verb's module is imported once the verb is called or its own help asked for, so that the first page comes at once.
"""

import errno
import logging
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from cof import __version__
from cof.errors import CofError, UsageError, redact
from cof.renamed import with_new_names
from cof.verbs import CONTEXT, GROUPS, PARENTS

# Waiting threads must not spin: side by side, two torch processes on two cores slow each other many times over.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


class Verb(TyperCommand):
    """A verb that is known by its name and its line until it is called, or its own help asked for."""

    def __init__(self, name: str, target: str, summary: str, group: str) -> None:
        super().__init__(name.split()[-1], help=summary, rich_help_panel=group)
        self.whole, self.target, self.summary = name, target, summary

    def make_context(self, *arguments: Any, **more: Any) -> Any:
        """Begin the command that the verb's function makes."""
        from cof.commands import command_of

        return command_of(self.whole, self.target, self.summary).make_context(*arguments, **more)


class Parent(TyperGroup):
    """A verb of several sub-commands; what is none of them goes to the first."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the first sub-command before what is none."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)


class Verbs(TyperGroup):
    """All verbs, in the order of the table."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        for group, verbs in GROUPS.items():
            for name, (target, summary) in verbs.items():
                parent, _, _ = name.rpartition(" ")
                if parent and parent not in self.commands:
                    self.add_command(
                        Parent(
                            name=parent,
                            help=PARENTS[parent],
                            rich_help_panel=group,
                            no_args_is_help=True,
                            context_settings=CONTEXT,
                        )
                    )
                place: Any = self.commands[parent] if parent else self
                place.add_command(Verb(name, target, summary, group))


app = typer.Typer(
    cls=Verbs,
    help="Chain of Flow: a beating, patient-specific 4D heart from a 12-lead ECG and one anatomical anchor volume.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=CONTEXT,
)


def print_version(asked: bool) -> None:
    """Print the version and stop, if that was asked for."""
    if asked:
        typer.echo(f"cof {__version__}")
        raise typer.Exit


@app.callback()
def setup(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log tracebacks and details.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Set up logging for every verb."""
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    logging.getLogger("cof").setLevel(logging.DEBUG if verbose else logging.INFO)
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # its remarks quote values, which may name the patient


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; faults that a user can act on end in one line on standard error and exit code 2."""
    try:
        return app(args=with_new_names(sys.argv[1:] if arguments is None else arguments))
    except (UsageError, CofError) as error:
        said = str(error)
    except OSError as error:  # a full disk, a right that is not given, a file that went away
        if error.filename is None and error.errno != errno.ENOSPC:
            raise
        said = f"{error.filename or 'the disk'}: {error.strerror}"
    logging.getLogger(__name__).debug("traceback", exc_info=True)
    print(f"cof: error: {redact(said)}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
