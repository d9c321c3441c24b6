"""The model families by the name that `family:` has in the configuration."""

from importlib import import_module

from cof.errors import UsageError
from cof.families import from_outside
from cof.models.base import Family

# Module and class of each; nothing is imported of a family that is not asked for, as in `cof.families`.
FAMILIES = {
    "cof": "cof.models.cof:CofFamily",
    "echopulse": "cof.models.echopulse:EchoPulseFamily",
    "lfdm": "cof.models.lfdm:LfdmFamily",
    "static": "cof.models.controls:StaticFamily",
    "random": "cof.models.controls:RandomFamily",
    "mean_motion": "cof.models.controls:MeanMotionFamily",
    "scaled_motion": "cof.models.scaled:ScaledMotionFamily",
    "shuffled": "cof.models.shuffled:ShuffledFamily",
    "anchored": "cof.models.anchored:AnchoredFamily",
    "ensemble": "cof.models.ensemble:EnsembleFamily",
    "oracle": "cof.models.controls:OracleFamily",
    "regression": "cof.models.regression:RegressionFamily",
    "diffusion": "cof.models.diffusion:DiffusionFamily",
    "echodiffusion": "cof.models.echodiffusion:EchoDiffusionFamily",
    "true_ef": "cof.models.true_ef:TrueEfFamily",
}


def family_of(name: str) -> Family:
    """The family called `name`, of this package or of another one that registers it.

    Raises:
        UsageError: there is none.
    """
    if place := FAMILIES.get(name):
        module, _, kind = place.partition(":")
        return getattr(import_module(module), kind)()
    family = from_outside(name)
    if family is None:
        raise UsageError(f"no model family is called '{name}'; there are {', '.join(FAMILIES)}")
    return family
