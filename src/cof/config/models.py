"""The settings of a model of any family, of this or of another package."""

from typing import Annotated, Any, get_args

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from cof.config.controls import (
    AnchoredSettings,
    EnsembleSettings,
    MeanMotionSettings,
    OracleSettings,
    RandomSettings,
    ScaledMotionSettings,
    ShuffledSettings,
    StaticSettings,
    TrueEfSettings,
)
from cof.config.flow import CofSettings
from cof.config.rivals import (
    DiffusionSettings,
    EchoDiffusionSettings,
    EchoPulseSettings,
    LfdmSettings,
    RegressionSettings,
)
from cof.families import from_outside


def _of_any_package(raw: Any, of_this_package: ValidatorFunctionWrapHandler) -> Any:
    """Settings of a model of any family, those that other packages register among them."""
    name = raw.get("family") if isinstance(raw, dict) else getattr(raw, "family", None)
    kind = settings_of(name) if isinstance(name, str) else None
    if kind is None or kind in _FAMILIES:
        return of_this_package(raw)
    if isinstance(raw, kind):
        return raw
    try:
        return kind.model_validate(raw)
    except ValidationError as error:  # located as the settings of this package are: below the name of the family
        lines: list[Any] = [dict(line) | {"loc": (name, *line["loc"])} for line in error.errors()]
        raise ValidationError.from_exception_data(error.title, lines) from None


ModelSettings = Annotated[
    CofSettings
    | RegressionSettings
    | DiffusionSettings
    | EchoDiffusionSettings
    | EchoPulseSettings
    | LfdmSettings
    | StaticSettings
    | RandomSettings
    | MeanMotionSettings
    | ScaledMotionSettings
    | ShuffledSettings
    | AnchoredSettings
    | TrueEfSettings
    | EnsembleSettings
    | OracleSettings,
    Field(discriminator="family"),
    WrapValidator(_of_any_package),
]
_FAMILIES: tuple[Any, ...] = get_args(get_args(ModelSettings)[0])


def settings_of(family: str) -> Any | None:
    """The class of the settings of a family, of this or of another package; None for an unknown one."""
    for settings in _FAMILIES:
        if settings.model_fields["family"].default == family:
            return settings
    outside = from_outside(family)
    return None if outside is None else outside.settings
