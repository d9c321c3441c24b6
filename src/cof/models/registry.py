"""Look-up of model families by their name, the value of `family:` in the configuration."""

from cof.config.families import FAMILIES, imported, settings_of
from cof.errors import UsageError
from cof.models.base import Family


def family_of(name: str) -> Family:
    """Return the family called `name`, from this package or from another one that registers it.

    Raises:
        UsageError: there is no such family, or its package cannot be imported.
    """
    settings = settings_of(name)
    if settings is None:
        raise UsageError(f"no model family is called '{name}'; there are {', '.join(FAMILIES)}")
    family: Family = imported(name, settings.implementation)()
    return family
