"""The model families by the name that `family:` has in the configuration."""

from cof.errors import UsageError
from cof.families import from_outside
from cof.models.anchored import AnchoredFamily
from cof.models.base import Family
from cof.models.cof import CofFamily
from cof.models.controls import MeanMotionFamily, OracleFamily, RandomFamily, StaticFamily
from cof.models.diffusion import DiffusionFamily
from cof.models.echodiffusion import EchoDiffusionFamily
from cof.models.echopulse import EchoPulseFamily
from cof.models.ensemble import EnsembleFamily
from cof.models.lfdm import LfdmFamily
from cof.models.regression import RegressionFamily
from cof.models.scaled import ScaledMotionFamily
from cof.models.shuffled import ShuffledFamily
from cof.models.true_ef import TrueEfFamily

FAMILIES: dict[str, Family] = {
    "cof": CofFamily(),
    "echopulse": EchoPulseFamily(),
    "lfdm": LfdmFamily(),
    "static": StaticFamily(),
    "random": RandomFamily(),
    "mean_motion": MeanMotionFamily(),
    "scaled_motion": ScaledMotionFamily(),
    "shuffled": ShuffledFamily(),
    "anchored": AnchoredFamily(),
    "ensemble": EnsembleFamily(),
    "oracle": OracleFamily(),
    "regression": RegressionFamily(),
    "diffusion": DiffusionFamily(),
    "echodiffusion": EchoDiffusionFamily(),
    "true_ef": TrueEfFamily(),
}


def family_of(name: str) -> Family:
    """The family called `name`, of this package or of another one that registers it.

    Raises:
        UsageError: there is none.
    """
    family = FAMILIES.get(name) or from_outside(name)
    if family is None:
        raise UsageError(f"no model family is called '{name}'; there are {', '.join(FAMILIES)}")
    return family
