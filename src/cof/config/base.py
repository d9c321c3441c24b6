"""Types and the base class that the settings of all stages share."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Triple = tuple[float, float, float]
Labelling = Literal["nnunet", "propagated"]
# Keys of `cof.twins.exports.formats.FORMATS`.
ExportFormat = Literal["stl", "vtp", "glb", "page"]

# Used in place of a registration's name: the exact motion of the simulator.
TRUTH = "truth"
# Used in place of a model's name: the real hearts.
REAL = "real"


class Settings(BaseModel):
    """A group of configuration keys; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)
