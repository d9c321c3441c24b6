"""Options of the command line, as annotations of the parameters of a verb's function.

An annotation holds the help text (`typer.Option`, `typer.Argument`), what an input path must be (`cof.inputs`) or what
an output path becomes (`cof.outputs.Form`), and how the typed value is converted for the function (`Typed`).
Annotations that several verbs share are here. A parameter without `typer.Option` or `typer.Argument` is for Python
only.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeVar, runtime_checkable

import typer
from pydantic import BaseModel

from cof import config
from cof.errors import UsageError
from cof.inputs import Batch, Folder, Table
from cof.outputs import Form

T = TypeVar("T")
_Function = TypeVar("_Function", bound=Callable[..., Any])
TO_BE_TYPED: Any = object()


@runtime_checkable
class Typed(Protocol):
    """A conversion from the typed value to the function's argument."""

    kind: Any  # type of the typed value

    def default(self, wanted: Any) -> Any:
        """Return the value of an option that is not given: None for the function's default, `TO_BE_TYPED` to refuse."""

    def read(self, typed: Any, wanted: Any, given: Mapping[str, Any]) -> Any:
        """Return the function's argument.

        Args:
            typed: typed value, of the type `kind`.
            wanted: annotation of the parameter.
            given: arguments of the command by name; those before this one are converted already.

        Raises:
            UsageError: the value is not valid.
        """


@dataclass(frozen=True)
class Read:
    """A short value that a function converts.

    Attributes:
        kind: type of the typed value.
        by: function from the typed value to the argument of the verb's function.
        unsaid: value of an option that is not given; None leaves the default to the verb's function.
    """

    kind: Any
    by: Callable[[Any], Any]
    unsaid: Any = None

    def default(self, wanted: Any) -> Any:
        """Return the value of an option that is not given."""
        return self.unsaid

    def read(self, typed: Any, wanted: Any, given: Mapping[str, Any]) -> Any:
        """Return the function's argument."""
        return self.by(typed)


@dataclass(frozen=True)
class SettingsText:
    """Settings, typed as inline JSON or as the path of a file, of the class that the parameter is annotated with."""

    kind: Any = str

    def default(self, wanted: Any) -> Any:
        """Return empty settings if the class has a default for every key; otherwise the option is required."""
        plain = isinstance(wanted, type) and issubclass(wanted, BaseModel)
        return "{}" if plain and not any(one.is_required() for one in wanted.model_fields.values()) else TO_BE_TYPED

    def read(self, typed: str, wanted: Any, given: Mapping[str, Any]) -> Any:
        """Return the settings."""
        return config.read_settings(typed, wanted)


def number_of(devices: str) -> int | Literal["auto"]:
    """Return the number of processes that `--devices` asks for, or "auto"."""
    if devices == "auto":
        return "auto"
    if not devices.isdecimal() or int(devices) < 1:
        raise UsageError(f"--devices: '{devices}' is neither auto nor a whole number of at least 1")
    return int(devices)


def says(sentence: Callable[[Any, Mapping[str, Any]], str]) -> Callable[[_Function], _Function]:
    """Give a verb's function its closing line: what was made, where it is, what to open.

    A function that returns text needs none: the text is the closing line. Without either, the command names `out` and
    counts the exclusions.

    Args:
        sentence: function of the result and of the arguments by name, which returns the closing line.
    """

    def give(function: _Function) -> _Function:
        function.says = sentence  # type: ignore[attr-defined]
        return function

    return give


def shows(text: Callable[[Any, Mapping[str, Any]], str]) -> Callable[[_Function], _Function]:
    """Give a verb's function what its command prints on standard output, before the closing line.

    Args:
        text: function of the result and of the arguments by name, which returns the text.
    """

    def give(function: _Function) -> _Function:
        function.shows = text  # type: ignore[attr-defined]
        return function

    return give


# Outputs.
Out = Annotated[Path, typer.Option(help="Folder of the result."), Form.FOLDER]
OutFile = Annotated[Path, typer.Option(help="File of the result."), Form.FILE]
OutTable = Annotated[Path, typer.Option(help="Path of the result without .csv, .md or .tex."), Form.TABLE]
ExclusionsOut = Annotated[Path, typer.Option(help="Table of the subjects left out; always written."), Form.FILE]

# Inputs.
COHORT = Table(("subject", "split", "batch"))
KEY = Table(("subject", "ecg", "cine"))
Sheet = Annotated[Path, typer.Option(help="Subjects of one batch: cohort/batches/{batch}.parquet."), COHORT]
Subjects = Annotated[Path, typer.Option(help="Subjects of the cohort: cohort/subjects.parquet."), COHORT]
Key = Annotated[Path, typer.Option(help="Key to the raw files: cohort/key.parquet."), KEY]
EcgTable = Annotated[Path, typer.Option(help="Parsed ECGs: ecg/{batch}.parquet."), Table(("subject", "signal"))]
BeatTable = Annotated[Path, typer.Option(help="Cycles of the ECGs: beats/{batch}.parquet."), Table(("subject", "beat"))]
CineBatch = Annotated[Path, typer.Option(help="Cines on native grids: cine/{batch}."), Batch(".nii", placed=False)]
LabelBatch = Annotated[Path, typer.Option(help="Labels of the cines: labels/{batch}."), Batch(".nii.gz")]
GridBatch = Annotated[Path, typer.Option(help="Cines on the canonical grid: grid/{batch}."), Batch(".nii", placed=True)]
Results = Annotated[Path, typer.Option(help="The results folder."), Folder()]
LabellerFolder = Annotated[Path, typer.Option(help="Folder of the trained nnU-Net.")]
Registration = Annotated[Path, typer.Option(help="Trained registration: registrations/{variant}.")]

# Settings of a step. `SettingsOf[EcgSettings]` are settings of that class.
SettingsOf = Annotated[
    T, typer.Option("--settings", help="Settings: inline JSON, or a YAML or JSON file."), SettingsText()
]
Seed = Annotated[int, typer.Option(help="Seed of everything random in this step.")]
Splits = Annotated[
    tuple[str, ...],
    typer.Option("--split", help="Splits of the subjects; repeatable. Default: test."),
    Read(list[str], lambda typed: tuple(typed) or ("test",)),
]
Work = Annotated[Path, typer.Option(help="Folder of checkpoints; a killed training resumes from it.")]
Curves = Annotated[Path | None, typer.Option(help="Folder for the training curves, read by TensorBoard.")]
Devices = Annotated[
    int | Literal["auto"],
    typer.Option(help="Processes on this node: a number, or auto for one per GPU. Ignored under torchrun and srun."),
    Read(str, number_of, "auto"),
]
ConfigHash = Annotated[str, typer.Option(help="Hash of the whole configuration.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace existing outputs that cof has made; refuse to replace others.")
]
