"""The model families by the name that `family:` has in the configuration."""

from cof.errors import UsageError
from cof.models.base import Family
from cof.models.cof import CofFamily
from cof.models.controls import MeanMotionFamily, OracleFamily, RandomFamily, StaticFamily
from cof.models.echopulse import EchoPulseFamily
from cof.models.lfdm import LfdmFamily
from cof.models.scaled import ScaledMotionFamily
from cof.models.shuffled import ShuffledFamily

FAMILIES: dict[str, Family] = {
    "cof": CofFamily(),
    "echopulse": EchoPulseFamily(),
    "lfdm": LfdmFamily(),
    "static": StaticFamily(),
    "random": RandomFamily(),
    "mean_motion": MeanMotionFamily(),
    "scaled_motion": ScaledMotionFamily(),
    "shuffled": ShuffledFamily(),
    "oracle": OracleFamily(),
}


def family_of(name: str) -> Family:
    """The family called `name`.

    Raises:
        UsageError: there is none.
    """
    if name not in FAMILIES:
        raise UsageError(f"no model family is called '{name}'; there are {', '.join(FAMILIES)}")
    return FAMILIES[name]
