"""Artefacts that a run takes from another one (`trained`), with the settings of their training."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from cof.artefacts.contents import HASHES, read_learnt
from cof.artefacts.provenance import differences
from cof.config import Config
from cof.config.base import Settings
from cof.config.data import BeatSettings, GridSettings, LabelSettings
from cof.config.models import ModelSettings
from cof.config.motion import RegistrationSettings
from cof.errors import UsageError

# Settings that act when a trained artefact is used, not when it is trained. A run keeps its own values of them.
_IN_USE = frozenset(
    ("ode", "steps", "guidance", "temperature", "phases_at_once", "slices_at_once", "path", "mirroring")
)
_RECORDS = {"labeller": "labeller.json", "registrations": "settings.json", "models": "settings.json"}


@dataclass(frozen=True)
class _Borrowed:
    """One artefact that is taken from another run.

    Attributes:
        name: `labeller`, `registrations/{name}` or `models/{name}`.
        settings: settings of its training; for settings that act when it is used, the values of this run.
        differences: settings of its training that differ from this run's, such as `field.modes 32 (here 0)`.
        grid: `shape`, `spacing_mm` (z, y, x) and `frames` of its training, as far as they are recorded; empty for the
            labeller, which works on native slices.
        beat_samples: samples of an R-R cycle in its training; None where it does not use the ECG.
    """

    name: str
    settings: Settings
    differences: tuple[str, ...]
    grid: dict[str, Any]
    beat_samples: int | None


def trainable(config: Config) -> Iterator[str]:
    """Yield the names of everything that a configuration trains or takes from another run.

    Models that keep something of this cohort's held-out subjects are left out.
    """
    yield "labeller"
    yield from (f"registrations/{name}" for name in config.registrations)
    yield from (f"models/{name}" for name, model in config.models.items() if not model.of_this_cohort)


def _networks(config: Config) -> Iterator[str]:
    """Yield the names of the networks among everything trainable; their training takes hours."""
    controls = {f"models/{name}" for name, model in config.models.items() if model.training is None}
    yield from (name for name in trainable(config) if name not in controls)


def borrow(config: Config) -> tuple[Config, list[str], list[str]]:
    """Return the configuration with the settings of every artefact that the run `trained` provides.

    Each borrowed artefact brings the settings of its training. A borrowed registration or model also brings the
    settings of the grid and the beats, because it fits no others. If no network is left to train, subjects whose sheet
    names no split go into the test split, unless `cohort.split` is set.

    Args:
        config: the configuration; `trained` may name another run's results.

    Returns:
        The configuration, the names of the borrowed artefacts, and remarks: one per group of settings that differs from
        the configured one, and one on the artefacts that do not record which subjects they have learnt from.

    Raises:
        UsageError: the folder holds nothing of the configuration, or an artefact does not record its settings, is of
            another family than the configuration says, or was trained on another grid than the others.
    """
    if config.trained is None:
        return config, [], []
    folder = Path(config.trained)
    found = [_borrowed(config, folder, name) for name in trainable(config) if (folder / name).is_dir()]
    if not found:
        raise UsageError(
            f"trained: {folder} holds no labeller, registration or model of this configuration; name the results "
            "folder of a run that has trained some of them"
        )
    changed: dict[str, Any] = {"registrations": dict(config.registrations), "models": dict(config.models)}
    for artefact in found:
        group, _, name = artefact.name.partition("/")
        if name:
            changed[group][name] = artefact.settings
        else:
            changed["labels"] = artefact.settings
    on_grid = [artefact for artefact in found if artefact.grid]
    for artefact in on_grid[1:]:
        if any(artefact.grid[key] != on_grid[0].grid[key] for key in artefact.grid.keys() & on_grid[0].grid.keys()):
            raise UsageError(
                f"trained: {folder / artefact.name} and {folder / on_grid[0].name} were trained on different grids, "
                f"{artefact.grid} and {on_grid[0].grid}; borrow from one run"
            )
    remarks = {artefact.name: artefact.differences for artefact in found}
    if on_grid:
        changed |= (made_for := _made_for(config, folder, on_grid))
        remarks |= {group: _differences(settings, getattr(config, group)) for group, settings in made_for.items()}
    if config.cohort.sheet and config.cohort.split is None and not set(_networks(config)) - {one.name for one in found}:
        changed["cohort"] = config.cohort.model_copy(update={"split": {"test": 1.0}})
    said = [f"{name} as trained there, with {', '.join(others)}" for name, others in remarks.items() if others]
    if unknown := [artefact.name for artefact in found if read_learnt(folder / artefact.name) is None]:
        said.append(
            f"whether {', '.join(unknown)} learnt from held-out subjects of this cohort is unknown, since {folder} has "
            f"no {HASHES} of them"
        )
    if "cohort" in changed:
        said.append(
            "no network is trained here: subjects whose sheet names no split go into the test split (cohort.split)"
        )
    return config.model_copy(update=changed), [artefact.name for artefact in found], said


def _borrowed(config: Config, folder: Path, name: str) -> _Borrowed:
    """Return one artefact, as the record in its folder describes it."""
    group, _, key = name.partition("/")
    asked: dict[str, tuple[Any, Any]] = {
        "labeller": (LabelSettings, config.labels),
        "registrations": (RegistrationSettings, config.registrations.get(key)),
        "models": (ModelSettings, config.models.get(key)),
    }
    kind, ours = asked[group]
    file = folder / name / _RECORDS[group]
    if not file.is_file():  # the stage that uses the artefact reports what is wrong with it
        return _Borrowed(name, ours, (), {}, None)
    own = {key: value for key, value in ours.model_dump(mode="json").items() if key in _IN_USE}
    try:
        record = json.loads(file.read_text())
        family = record["settings"].get("family")
        grid = {key: record[key] for key in ("shape", "spacing_mm", "frames") if key in record}
        settings = TypeAdapter(kind).validate_python(record["settings"] | (own if family == _family(ours) else {}))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ValidationError) as error:
        raise UsageError(
            f"trained: {file} does not hold the settings of its training ({type(error).__name__}); train it again, or "
            "name another results folder"
        ) from None
    if family != _family(ours):
        raise UsageError(
            f"trained: {folder / name} is of the family '{family}', but this configuration asks for "
            f"'{_family(ours)}'; change one of them or rename the model"
        )
    return _Borrowed(name, settings, _differences(settings, ours), grid, record.get("beat_samples"))


def _differences(made_with: Settings, asked: Settings) -> tuple[str, ...]:
    return tuple(sorted(differences(made_with.model_dump(mode="json"), asked.model_dump(mode="json"))))


def _family(settings: Any) -> str | None:
    return getattr(settings, "family", None)


def _made_for(config: Config, folder: Path, on_grid: list[_Borrowed]) -> dict[str, Settings]:
    """Return the settings of grid and beats that borrowed registrations and models fit.

    They come from the configuration of their run if it is there, and else from their records.
    """
    grid = {key: value for artefact in on_grid for key, value in artefact.grid.items()}
    samples = [artefact.beat_samples for artefact in on_grid if artefact.beat_samples]
    beats = {"samples": samples[0]} if samples else {}
    file = folder / "config.json"
    if file.is_file():
        try:
            run = json.loads(file.read_text())
            grid, beats = run["grid"], run["beats"] if samples else {}
        except (OSError, ValueError, LookupError, TypeError):
            raise UsageError(f"trained: {file} is not the configuration of a run") from None
    return {
        "grid": GridSettings.model_validate(config.grid.model_dump() | grid),
        "beats": BeatSettings.model_validate(config.beats.model_dump() | beats),
    }
