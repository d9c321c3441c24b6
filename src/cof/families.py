"""Model families of other packages, which register them under the entry point group `cof.families`."""

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pydantic import BaseModel

from cof.errors import UsageError

GROUP = "cof.families"


def _entry(name: str) -> EntryPoint | None:
    """The entry point of the family called `name`; None where no installed package has one."""
    found = {(entry.value, package_of(entry)): entry for entry in entry_points(group=GROUP, name=name)}
    if len(found) > 1:
        raise UsageError(f"family '{name}': several packages register it: {', '.join(sorted(p for _, p in found))}")
    return next(iter(found.values()), None)


def is_outside(name: str) -> bool:
    """Tell whether an installed package registers a family of this name."""
    return bool(entry_points(group=GROUP, name=name))


def package_of(entry: EntryPoint) -> str:
    """Name and version of the package that an entry point comes from."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "a package without a name"


def package(name: str) -> str:
    """Name and version of the package that registers a family; empty for the families of this package."""
    entry = _entry(name)
    return "" if entry is None else package_of(entry)


def from_outside(name: str) -> Any | None:
    """The family called `name` that an installed package registers: a `cof.models.base.Family` with `settings`.

    The entry point names its class; docs/how-to/add-a-system.md has an example. Nothing is imported of a family that is
    not asked for.

    Returns:
        The family, or None where no package registers one of this name.

    Raises:
        UsageError: several packages do, it cannot be imported, or its settings do not belong to it.
    """
    entry = _entry(name)
    if entry is None:
        return None
    try:
        family = entry.load()()
    except Exception as error:  # whatever a foreign package does when it is imported
        raise UsageError(f"family '{name}' of {package_of(entry)}: {type(error).__name__}: {error}") from error
    settings = getattr(family, "settings", None)
    named = issubclass(settings, BaseModel) and settings.model_fields.get("family") if settings else None
    if not named or named.default != name:
        raise UsageError(
            f"family '{name}' of {package_of(entry)}: its `settings` must be a class of cof.config.base.Settings with "
            f"`family: Literal['{name}'] = '{name}'`"
        )
    return family
