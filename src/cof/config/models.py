"""The settings of a model of any family, of this or of another package."""

from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from cof.config.families import FAMILIES, settings_of
from cof.config.family import FamilySettings


def _of_any_package(raw: Any, of_this_package: ValidatorFunctionWrapHandler) -> Any:
    """Validate the settings of a model of any family, also of families that other packages register."""
    name = raw.get("family") if isinstance(raw, dict) else getattr(raw, "family", None)
    kind = settings_of(name) if isinstance(name, str) else None
    if kind is None or name in FAMILIES:
        return of_this_package(raw)
    if isinstance(raw, kind):
        return raw
    try:
        return kind.model_validate(raw)
    except ValidationError as error:  # give the error the same location as for families of this package
        lines: list[Any] = [dict(line) | {"loc": (name, *line["loc"])} for line in error.errors()]
        raise ValidationError.from_exception_data(error.title, lines) from None


if TYPE_CHECKING:
    ModelSettings = FamilySettings
else:
    ModelSettings = Annotated[
        Union[tuple(map(settings_of, FAMILIES))],  # noqa: UP007 - made from the registry
        Field(discriminator="family"),
        WrapValidator(_of_any_package),
    ]
