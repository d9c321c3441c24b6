"""Options of the command line, as annotations of the parameters of a verb's function.

An annotation holds what the help says (`typer.Option`, `typer.Argument`), what a path has to be (`cof.inputs`) or
becomes (`cof.outputs.Form`), and how what is typed becomes what the function takes (`Typed`). Those that several verbs
share are here. A parameter without `typer.Option` or `typer.Argument` is for Python alone.
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
    """A way from what is typed to what the function takes."""

    kind: Any  # type of what is typed

    def default(self, wanted: Any) -> Any:
        """What counts as typed where nothing is; None leaves it to the function, `TO_BE_TYPED` refuses."""

    def read(self, typed: Any, wanted: Any, given: Mapping[str, Any]) -> Any:
        """What the function takes.

        Args:
            typed: of the type `kind`.
            wanted: annotation of the parameter.
            given: the command's arguments, those before this one as the function takes them.

        Raises:
            UsageError: it is not valid.
        """


@dataclass(frozen=True)
class Read:
    """Something short, read by a function.

    Attributes:
        kind: type of what is typed.
        by: makes of it what the verb's function takes.
        unsaid: what counts as typed where nothing is; None leaves it to the verb's function.
    """

    kind: Any
    by: Callable[[Any], Any]
    unsaid: Any = None

    def default(self, wanted: Any) -> Any:
        """What counts as typed where nothing is."""
        return self.unsaid

    def read(self, typed: Any, wanted: Any, given: Mapping[str, Any]) -> Any:
        """What the function takes."""
        return self.by(typed)


@dataclass(frozen=True)
class SettingsText:
    """Settings as inline JSON or as a file, of the class that the parameter is annotated with."""

    kind: Any = str

    def default(self, wanted: Any) -> Any:
        """No settings, where the class has a default for every one of them."""
        plain = isinstance(wanted, type) and issubclass(wanted, BaseModel)
        return "{}" if plain and not any(one.is_required() for one in wanted.model_fields.values()) else TO_BE_TYPED

    def read(self, typed: str, wanted: Any, given: Mapping[str, Any]) -> Any:
        """The settings."""
        return config.read_settings(typed, wanted)


def number_of(devices: str) -> int | Literal["auto"]:
    """What `--devices` says."""
    if devices == "auto":
        return "auto"
    if not devices.isdecimal() or int(devices) < 1:
        raise UsageError(f"--devices: '{devices}' is neither auto nor a number from 1 on")
    return int(devices)


def says(sentence: Callable[[Any, Mapping[str, Any]], str]) -> Callable[[_Function], _Function]:
    """Give a verb's function its last sentence: what was made, where it lies, what to open.

    A function that returns text says that; without either, the command names `out` and counts the exclusions.

    Args:
        sentence: of what the function has returned, and of its arguments by name.
    """

    def give(function: _Function) -> _Function:
        function.says = sentence  # type: ignore[attr-defined]
        return function

    return give


# What is written.
Out = Annotated[Path, typer.Option(help="Folder of the result."), Form.FOLDER]
OutFile = Annotated[Path, typer.Option(help="File of the result."), Form.FILE]
OutTable = Annotated[Path, typer.Option(help="The result, without the suffixes .csv, .md and .tex."), Form.TABLE]
ExclusionsOut = Annotated[Path, typer.Option(help="Table of the subjects left out, always written."), Form.FILE]

# What is read.
COHORT = Table(("subject", "split", "batch"))
KEY = Table(("subject", "ecg", "cine"))
Sheet = Annotated[Path, typer.Option(help="cohort/batches/{batch}.parquet"), COHORT]
Subjects = Annotated[Path, typer.Option(help="cohort/subjects.parquet"), COHORT]
Key = Annotated[Path, typer.Option(help="cohort/key.parquet"), KEY]
EcgTable = Annotated[Path, typer.Option(help="ecg/{batch}.parquet"), Table(("subject", "signal"))]
BeatTable = Annotated[Path, typer.Option(help="beats/{batch}.parquet"), Table(("subject", "beat"))]
CineBatch = Annotated[Path, typer.Option(help="cine/{batch}"), Batch(".nii", placed=False)]
LabelBatch = Annotated[Path, typer.Option(help="labels/{batch}"), Batch(".nii.gz")]
GridBatch = Annotated[Path, typer.Option(help="grid/{batch}"), Batch(".nii", placed=True)]
Results = Annotated[Path, typer.Option(help="The results folder."), Folder()]
LabellerFolder = Annotated[Path, typer.Option(help="Folder of the trained nnU-Net.")]
Registration = Annotated[Path, typer.Option(help="registrations/{variant}")]

# How it is done. `SettingsOf[EcgSettings]` are settings of that class.
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
    typer.Option(help="Processes of this node: a number, or auto for one a GPU. torchrun and srun decide instead."),
    Read(str, number_of, "auto"),
]
ConfigHash = Annotated[str, typer.Option(help="Hash of the whole configuration.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace what exists, if cof made it; anything else is refused.")
]
