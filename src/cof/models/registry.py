"""The implementation of a model family, by the name that `family:` has in the configuration."""

from cof.config.families import FAMILIES, imported, settings_of
from cof.errors import UsageError
from cof.models.base import Family


def family_of(name: str) -> Family:
    """The family called `name`, of this package or of another one that registers it.

    Raises:
        UsageError: there is none, or its package cannot be imported.
    """
    settings = settings_of(name)
    if settings is None:
        raise UsageError(f"no model family is called '{name}'; there are {', '.join(FAMILIES)}")
    family: Family = imported(name, settings.implementation)()
    return family
