"""The registry: every model family by the name that `family:` has in the configuration.

A family is named by the class of its settings, a `cof.config.family.FamilySettings`, which says all the rest: those of
this package in `FAMILIES`, those of others by entry points of the group `cof.families`. Nothing is imported of a
foreign family that is not asked for.
"""

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from cof.config.family import FamilySettings
from cof.errors import UsageError

GROUP = "cof.families"

# Module and class of the settings of each.
FAMILIES = {
    "cof": "cof.config.flow:CofSettings",
    "contracted": "cof.config.flow:ContractedSettings",
    "regression": "cof.config.baselines:RegressionSettings",
    "diffusion": "cof.config.baselines:DiffusionSettings",
    "echodiffusion": "cof.config.baselines:EchoDiffusionSettings",
    "echopulse": "cof.config.baselines:EchoPulseSettings",
    "lfdm": "cof.config.baselines:LfdmSettings",
    "static": "cof.config.controls:StaticSettings",
    "random": "cof.config.controls:RandomSettings",
    "mean_motion": "cof.config.controls:MeanMotionSettings",
    "scaled_motion": "cof.config.controls:ScaledMotionSettings",
    "shuffled": "cof.config.controls:ShuffledSettings",
    "anchored": "cof.config.controls:AnchoredSettings",
    "true_ef": "cof.config.controls:TrueEfSettings",
    "ensemble": "cof.config.controls:EnsembleSettings",
    "oracle": "cof.config.controls:OracleSettings",
}


def package(name: str) -> str:
    """Name and version of the package that registers a family; empty for the families of this package."""
    entry = None if name in FAMILIES else _entry(name)
    return "" if entry is None else _package_of(entry)


def settings_of(name: str) -> type[FamilySettings] | None:
    """The class of a family's settings, of this or of another package; None for an unknown family.

    Raises:
        UsageError: several packages register the family, it cannot be imported, or what they register is no family.
    """
    if place := FAMILIES.get(name):
        return _checked(name, named(place), "")
    entry = _entry(name)
    return None if entry is None else _checked(name, imported(name, entry.value), f" of {_package_of(entry)}")


def imported(family: str, place: str) -> Any:
    """What `module:Class` of a family names.

    Raises:
        UsageError: a foreign package cannot be imported, for whatever reason it has.
    """
    if family in FAMILIES:
        return named(place)
    try:
        return named(place)
    except Exception as error:
        raise UsageError(f"family '{family}' of {package(family)}: {type(error).__name__}: {error}") from error


def named(place: str) -> Any:
    """What `module:name` names."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def _checked(name: str, settings: Any, source: str) -> type[FamilySettings]:
    """The settings of a family, if they are a class that says so."""
    of_family = isinstance(settings, type) and issubclass(settings, FamilySettings)
    if not of_family or settings.model_fields["family"].default != name or not hasattr(settings, "implementation"):
        raise UsageError(
            f"family '{name}'{source}: what is registered must be its settings, a class of "
            f"cof.config.family.FamilySettings with `family: Literal['{name}'] = '{name}'` and `implementation`, "
            "module:Class of its model"
        )
    return settings


def _entry(name: str) -> EntryPoint | None:
    """The entry point of the family called `name`; None where no installed package has one."""
    found = {(entry.value, _package_of(entry)): entry for entry in entry_points(group=GROUP, name=name)}
    if len(found) > 1:
        raise UsageError(f"family '{name}': several packages register it: {', '.join(sorted(p for _, p in found))}")
    return next(iter(found.values()), None)


def _package_of(entry: EntryPoint) -> str:
    """Name and version of the package that an entry point comes from."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "a package without a name"
