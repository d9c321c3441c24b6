"""Settings of controls, oracles and ensembles: models without a network of their own."""

from typing import Annotated, Literal

from pydantic import Field

from cof.config.base import Count
from cof.config.family import FamilySettings


class StaticSettings(FamilySettings):
    """Control: the anchor in every frame, without motion."""

    implementation = "cof.models.controls.motion:StaticFamily"
    learns_on = None

    family: Literal["static"] = "static"


class RandomSettings(FamilySettings):
    """The paper's Random Sample: the real cine of a random training subject."""

    implementation = "cof.models.controls.motion:RandomFamily"
    learns_from = frozenset({"cine"})

    family: Literal["random"] = "random"
    donors: Count = Field(64, description="training cines that the model keeps; each subject gets one of them")

    @property
    def kept_hearts(self) -> int:
        """The number of donors."""
        return self.donors


class MeanMotionSettings(FamilySettings):
    """Control: the mean velocity of the training hearts after affine alignment of the hearts."""

    implementation = "cof.models.controls.motion:MeanMotionFamily"
    learns_from = frozenset({"displacement"})
    anchors = "ed"

    family: Literal["mean_motion"] = "mean_motion"
    registration: str = Field("toppr", description="the registration whose motion is averaged")


class ScaledMotionSettings(FamilySettings):
    """Control: the mean motion, scaled so that the anchor's LV reaches an EF that a ridge regression predicts."""

    implementation = "cof.models.controls.scaled:ScaledMotionFamily"
    learns_from = frozenset({"displacement", "ef"})
    anchors = "ed"

    family: Literal["scaled_motion"] = "scaled_motion"
    registration: str = Field("toppr", description="the registration whose motion is averaged")
    predictors: Literal["ecg", "edv", "none"] = Field(
        "ecg",
        description="what the EF is predicted from: twelve features of the ECG; the anchor's EDV, for a prediction of "
        "ESV from EDV alone; or none, which gives everyone the mean EF, as a null model of stroke volume and cardiac "
        "output",
    )


class RidgeSettings(FamilySettings):
    """Baseline: ridge regression of the motion on the anchor's anatomy, the RR interval and the sex; no network."""

    implementation = "cof.models.controls.ridge:RidgeFamily"
    learns_from = frozenset({"displacement"})
    anchors = "ed"

    family: Literal["ridge"] = "ridge"
    registration: str = Field("toppr", description="the registration whose motion is predicted")
    components: Count = Field(
        10,
        description="principal components of the anchor's aligned labels, used as regressors beside volumes and size; "
        "always fewer than the training hearts",
    )


class ShuffledSettings(FamilySettings):
    """Control: a trained model that gets the ECG of another held-out participant."""

    implementation = "cof.models.controls.shuffled:ShuffledFamily"
    learns_on = "test"
    applies_family = "cof"

    family: Literal["shuffled"] = "shuffled"
    model: str = Field("cof", description="the model in `models` that is applied; it is not retrained")
    within: Literal["none", "sex_and_rate"] = Field(
        "none",
        description="none: exchange ECGs among all subjects; sex_and_rate: within strata of sex and decile of the "
        "heart rate",
    )
    permutation: int = Field(
        0, ge=0, description="number of the permutation; it determines the exchange together with the seed of the run"
    )


class AnchoredSettings(FamilySettings):
    """A trained model that gets another frame of the cycle as the anchor."""

    implementation = "cof.models.controls.anchored:AnchoredFamily"
    learns_on = None
    applies_family = "cof"

    family: Literal["anchored"] = "anchored"
    model: str = Field("cof", description="the model in `models` that is applied; it is not retrained")
    anchor_phase: float = Field(0.0, ge=0, lt=1, description="phase of the frame that is the anchor; 0 is ED")


class TrueEfSettings(FamilySettings):
    """Oracle: a trained EchoDiffusion that gets the EF of the real cine instead of the EF predicted from the ECG."""

    implementation = "cof.models.controls.true_ef:TrueEfFamily"
    learns_on = None
    sees = frozenset({"ef"})
    applies_family = "echodiffusion"

    family: Literal["true_ef"] = "true_ef"
    model: str = Field("echodiffusion", description="the model in `models` that is applied; it is not retrained")


class EnsembleSettings(FamilySettings):
    """An ensemble of trainings that differ in their seed: their mean motion, and the spread of its members."""

    implementation = "cof.models.controls.ensemble:EnsembleFamily"
    learns_on = None
    applies_family = "cof"

    family: Literal["ensemble"] = "ensemble"
    members: Annotated[tuple[str, ...], Field(min_length=2)] = Field(
        description="models in `models` of the family cof that differ in `seed` only"
    )


class OracleSettings(FamilySettings):
    """Oracle, the ceiling: the displacement that the registration finds on the subject's own real cine."""

    implementation = "cof.models.controls.motion:OracleFamily"
    learns_on = None
    sees = frozenset({"displacement"})
    anchors = "ed"

    family: Literal["oracle"] = "oracle"
    registration: str = Field(
        "toppr", description="name of a registration, or truth: the exact displacement of a synthetic cohort"
    )
