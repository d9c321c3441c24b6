"""The model families by the name that `family:` has in the configuration."""

from importlib import import_module

from cof.errors import UsageError
from cof.families import from_outside
from cof.models.base import Family

# Module and class of each; nothing is imported of a family that is not asked for, as in `cof.families`.
FAMILIES = {
    "cof": "cof.models.flow.cof:CofFamily",
    "echopulse": "cof.models.video.echopulse:EchoPulseFamily",
    "lfdm": "cof.models.video.lfdm:LfdmFamily",
    "static": "cof.models.controls.motion:StaticFamily",
    "random": "cof.models.controls.motion:RandomFamily",
    "mean_motion": "cof.models.controls.motion:MeanMotionFamily",
    "scaled_motion": "cof.models.controls.scaled:ScaledMotionFamily",
    "shuffled": "cof.models.controls.shuffled:ShuffledFamily",
    "anchored": "cof.models.controls.anchored:AnchoredFamily",
    "ensemble": "cof.models.controls.ensemble:EnsembleFamily",
    "oracle": "cof.models.controls.motion:OracleFamily",
    "regression": "cof.models.flow.regression:RegressionFamily",
    "diffusion": "cof.models.flow.diffusion:DiffusionFamily",
    "echodiffusion": "cof.models.video.echodiffusion:EchoDiffusionFamily",
    "true_ef": "cof.models.controls.true_ef:TrueEfFamily",
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
