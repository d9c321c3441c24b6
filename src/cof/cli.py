"""The command line: the verbs of `cof.verbs`, in groups.

A verb's module is imported only when the verb is called or its help is shown, so that `cof --help` is fast.
"""

import errno
import logging
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from cof import __version__
from cof.errors import CofError, UsageError, redact
from cof.renamed import with_new_names
from cof.verbs import CONTEXT, GROUPS, PARENTS


class Verb(TyperCommand):
    """A verb of which only name and summary are loaded until it is called or its help is shown."""

    def __init__(self, name: str, target: str, summary: str, group: str) -> None:
        super().__init__(name.split()[-1], help=summary, rich_help_panel=group)
        self.whole, self.target, self.summary = name, target, summary

    def make_context(self, *arguments: Any, **more: Any) -> Any:
        """Build the command from the verb's function and return its context."""
        from cof.commands import command_of

        return command_of(self.whole, self.target, self.summary).make_context(*arguments, **more)


class Parent(TyperGroup):
    """A verb with sub-commands. Arguments that do not begin with one of them go to the first sub-command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert the first sub-command where the arguments do not begin with one."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)


class Verbs(TyperGroup):
    """The group of all verbs, in the order of `cof.verbs.GROUPS`."""

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
    """Print the version and exit, if `asked`."""
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
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # its messages quote values, which may name the patient


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line. An error that a user can act on becomes one line on standard error, with exit code 2."""
    try:
        return app(args=with_new_names(sys.argv[1:] if arguments is None else arguments))
    except (UsageError, CofError) as error:
        said = str(error)
    except OSError as error:  # a full disk, a missing permission, a file that disappeared
        if error.filename is None and error.errno != errno.ENOSPC:
            raise
        said = f"{error.filename or 'the disk'}: {error.strerror}"
    logging.getLogger(__name__).debug("traceback", exc_info=True)
    print(f"cof: error: {redact(said)}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
