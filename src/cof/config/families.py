"""The registry of model families, by the name that the key `family` has in the configuration.

A family is registered by the class of its settings, a subclass of `cof.config.family.FamilySettings`, which holds all
other facts. `FAMILIES` lists the families of this package; other packages register theirs by entry points of the group
`cof.families`. A family of another package is imported only when it is used.
"""

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from cof.config.family import FamilySettings
from cof.errors import UsageError

GROUP = "cof.families"

# Module and class of the settings of each family.
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
    "ridge": "cof.config.controls:RidgeSettings",
    "shuffled": "cof.config.controls:ShuffledSettings",
    "anchored": "cof.config.controls:AnchoredSettings",
    "true_ef": "cof.config.controls:TrueEfSettings",
    "ensemble": "cof.config.controls:EnsembleSettings",
    "oracle": "cof.config.controls:OracleSettings",
}


def package(name: str) -> str:
    """Return name and version of the package that registers a family; empty for the families of this package."""
    entry = None if name in FAMILIES else _entry(name)
    return "" if entry is None else _package_of(entry)


def settings_of(name: str) -> type[FamilySettings] | None:
    """Return the class of a family's settings, of this or another package; None for an unknown family.

    Raises:
        UsageError: several packages register the family, it cannot be imported, or the registered object is not the
            settings of a family.
    """
    if place := FAMILIES.get(name):
        return _checked(name, named(place), "")
    entry = _entry(name)
    return None if entry is None else _checked(name, imported(name, entry.value), f" of {_package_of(entry)}")


def imported(family: str, place: str) -> Any:
    """Return the class that `module:Class` of a family names.

    Raises:
        UsageError: the import from another package fails, whatever the error.
    """
    if family in FAMILIES:
        return named(place)
    try:
        return named(place)
    except Exception as error:
        raise UsageError(
            f"family '{family}' of {package(family)}: cannot be imported: {type(error).__name__}: {error}"
        ) from error


def named(place: str) -> Any:
    """Return the object that `module:name` names."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def _checked(name: str, settings: Any, source: str) -> type[FamilySettings]:
    """Return the settings of a family if they are a valid class of settings.

    Raises:
        UsageError: they are not.
    """
    of_family = isinstance(settings, type) and issubclass(settings, FamilySettings)
    if not of_family or settings.model_fields["family"].default != name or not hasattr(settings, "implementation"):
        raise UsageError(
            f"family '{name}'{source}: the registered object must be its settings, a subclass of "
            f"cof.config.family.FamilySettings with `family: Literal['{name}'] = '{name}'` and `implementation`, "
            "module:Class of its model"
        )
    return settings


def _entry(name: str) -> EntryPoint | None:
    """Return the entry point of the family called `name`; None if no installed package has one.

    Raises:
        UsageError: several packages register it.
    """
    found = {(entry.value, _package_of(entry)): entry for entry in entry_points(group=GROUP, name=name)}
    if len(found) > 1:
        raise UsageError(
            f"family '{name}': several packages register it: {', '.join(sorted(p for _, p in found))}; uninstall all "
            "but one"
        )
    return next(iter(found.values()), None)


def _package_of(entry: EntryPoint) -> str:
    """Return name and version of the package that an entry point comes from."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "a package without a name"
