"""Chain of Flow: the velocity field, how it learns and how it is integrated."""

from collections.abc import Set
from typing import Literal, Self

from pydantic import Field, model_validator

from cof.config.base import Count, Positive, Settings
from cof.config.family import FamilySettings, Motion
from cof.config.training import AffineSettings, TrainingSettings


class VelocitySettings(Settings):
    """The velocity field v_theta of the paper's eq (8) and its encoders."""

    channels: tuple[Count, ...] = Field(
        (16, 32, 64), description="of each resolution level; all but the first halve rows and columns"
    )
    blocks: Count = Field(1, description="residual blocks per level on the way down, and again on the way up")
    embedding: Count = Field(128, description="width of the codes of phase and ECG")
    ecg_channels: tuple[Count, ...] = Field((32, 64, 128), description="of each level of the ECG encoder")
    time_harmonics: Count = Field(16, description="harmonics of the cycle by which the phase is encoded")
    modes: int = Field(
        32,
        ge=0,
        description="the velocity is a sum of so many spatial modes of the anatomy, each with its own course over the "
        "cycle; the network then runs once a heart. 0 lets the phase scale every residual block, as in the paper, and "
        "the network run once a phase",
    )
    anatomy: bool = Field(True, description="reference-anatomy features; off is the ablation w/o REA")
    ecg: Literal["temporal", "spatial", "features", "rate", "none"] = Field(
        "temporal",
        description="how the ECG enters: its cycle through the embedding of the phase or through the anatomy's maps; "
        "twelve scalar features; the RR interval alone; or none, a learned constant in its place (anchor only)",
    )
    anchor: Literal["ed", "any"] = Field(
        "ed",
        description="which frame the anchor may be: end diastole, or any of the cycle, drawn in training; the network "
        "is then told its phase",
    )
    ecg_local: bool = Field(
        True,
        description="the token of the ECG at the phase asked for joins the code of the whole cycle",
    )
    rr_scalar: bool = Field(True, description="the RR interval joins the code; off is the strict reading of the paper")
    ecg_features: bool = Field(
        False, description="the twelve scalar features join the code of the cycle, which a small cohort teaches slowly"
    )
    attention: bool = Field(False, description="self-attention at the coarsest level")
    ecg_dropout: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the training hearts, drawn anew in every iteration, whose ECG is withheld; above 0 the "
        "field has learnt what an absent ECG means, generates without one, and learns from hearts that have none",
    )

    @model_validator(mode="after")
    def _withheld(self) -> Self:
        if self.ecg_dropout and self.ecg not in ("temporal", "spatial"):
            raise ValueError(f"ecg_dropout withholds the ECG's cycle, which a field of ecg '{self.ecg}' does not see")
        return self


class OdeSettings(Settings):
    """Integration of the velocity field over the cycle."""

    method: Literal["simpson", "fourier", "rk4", "midpoint", "euler", "dopri5"] = Field(
        "simpson", description="quadrature over the cycle (simpson, fourier), or a solver of torchdiffeq"
    )
    closure: Literal["none", "project"] = Field(
        "none",
        description="project removes the residual displacement at the end of the cycle, linearly; none leaves it",
    )
    tolerance: Positive = Field(1e-4, description="absolute (mm) and relative tolerance of dopri5")
    harmonics: Count = Field(12, description="of the cycle that fourier keeps, at two evaluations each and one more")
    phases_at_once: Count = Field(
        16, description="phases that Simpson and fourier evaluate in one batch: memory against speed"
    )


class MotionSettings(TrainingSettings):
    """A field over position and phase, conditioned on anchor and ECG and trained on registered motion."""

    registration: str = Field("toppr", description="the registration variant whose motion supervises the field")
    field: VelocitySettings = VelocitySettings()
    phases: Count = Field(4, description="phases drawn per subject and step against one encoding")
    heart_weight: float = Field(4.0, ge=0, description="extra weight of heart voxels in the matching loss")
    augmentation: AffineSettings | None = AffineSettings(rotation_deg=10, scale=0.05, translation_mm=6)
    recompute: bool = Field(
        False, description="compute the network's blocks again in the backward pass: less memory for more time"
    )
    shuffled_ecg: bool = Field(
        False, description="train every heart with the ECG of another training participant, a fixed exchange"
    )
    seed: int | None = Field(None, ge=0, description="of this training; leave out for the seed of the run")

    @property
    def takes_absent_ecg(self) -> bool:
        """The field has been shown hearts without an ECG."""
        return self.field.ecg_dropout > 0

    @model_validator(mode="after")
    def _everybody_has_an_ecg(self) -> Self:
        if self.shuffled_ecg and self.takes_absent_ecg:
            raise ValueError("shuffled_ecg exchanges everybody's ECG, and field.ecg_dropout admits hearts without one")
        return self


class CofSettings(MotionSettings, FamilySettings):
    """Chain of Flow: a conditional velocity field trained by flow matching on registered motion."""

    implementation = "cof.models.flow.cof:CofFamily"
    learns_from = frozenset({"displacement"})

    family: Literal["cof"] = "cof"
    displacement_weight: float = Field(
        0.0,
        ge=0,
        description="of the error of the integrated velocity, the displacement, beside that of the velocity; 0 is the "
        "paper's eq (9)",
    )
    ode: OdeSettings = OdeSettings()

    @property
    def needs(self) -> Set[Motion]:
        """The motion, and where any frame of the cycle may be the anchor, its image and labels."""
        return self.learns_from | ({"cine", "labels"} if self.field.anchor == "any" else set())

    @property
    def learns_from_pairs(self) -> bool:
        """Pairs have no ECG, and a displacement alone."""
        return self.takes_absent_ecg and self.displacement_weight > 0

    @model_validator(mode="after")
    def _integrable(self) -> Self:
        if self.displacement_weight and not self.field.modes:
            raise ValueError("displacement_weight needs a field of modes, whose integral costs next to nothing")
        return self


class ContractedSettings(FamilySettings):
    """A trained model whose motion is scaled to the EF that size and shape of the anchor's ventricles tell."""

    implementation = "cof.models.contraction:ContractedFamily"
    learns_from = frozenset({"ef"})
    anchors = "ed"
    applies_family = "cof"

    family: Literal["contracted"] = "contracted"
    model: str = Field("cof", description="the model in `models` whose motion is scaled; it is not retrained")

    @property
    def takes_absent_ecg(self) -> bool:
        """The regression sees the anchor alone, so that it learns from hearts without an ECG too."""
        return True

    @property
    def learns_from_pairs(self) -> bool:
        """ED and ES tell an EF."""
        return True
